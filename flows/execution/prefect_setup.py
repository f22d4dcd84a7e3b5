"""What must be there before the first run: the GPU's slots, a work pool, and who notices a killed run.

`tubeflow setup` puts it on the Prefect server that `PREFECT_API_URL` names. A run without a server brings its own
for as long as it lasts, and makes the slots itself. `prefect deploy` asks `deployment_values` for what a form shows,
so that the presets in `presets/*.yaml` stay the only place where the settings are written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from data_catalog.catalog import CatalogError
from flows.config import load_config
from flows.execution.server.named_server import server_is_named
from tasks.engine.task_run import GPU_LIMIT

WORK_POOL = "tubeflow"
TAG = "tubeflow"  # of every deployment in prefect.yaml; the automation looks at the runs that bear it
SILENT_RUNS = "tubeflow: mark runs without heartbeat Crashed"
HEARTBEAT_SECONDS = 30  # prefect.yaml sets it for every run, and Prefect allows no less
SILENCE_SECONDS = 100  # three heartbeats missed


@dataclass(frozen=True)
class SetUp:
    """What `set_up` did: the server it did it on, and a sentence for each thing."""

    server: str
    done: tuple[str, ...]


def own_server() -> bool:
    """Whether no server is named, so that this process has one for itself alone."""
    return not server_is_named()


def set_up(gpu_slots: int = 1, pool: str = WORK_POOL) -> SetUp:
    """Create, or bring up to date, everything that workers need on the server; again and again is harmless.

    Args:
        gpu_slots: how many shards may compute on GPUs at once, over all machines.
        pool: name of the work pool, of type process.

    Raises:
        CatalogError: no server is named, or it doesn't answer.
    """
    url = get_current_settings().api.url
    if not url:
        raise CatalogError(
            "No Prefect server is named; start one with 'prefect server start', then set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api and repeat. Runs without a server need no set-up."
        )
    try:
        with get_client(sync_client=True) as client:
            done = (_gpu_limit(client, gpu_slots), _work_pool(client, pool), _watch_heartbeats(client))
    except httpx.HTTPError as exc:
        raise CatalogError(f"The Prefect server {url} doesn't answer as it should: {exc}") from exc
    return SetUp(url, done)


def make_own_gpu_slot() -> None:
    """Give the server of this process a GPU slot; where a server is named, its `tubeflow setup` decides."""
    if own_server():
        with get_client(sync_client=True) as client:
            _gpu_limit(client, 1)


def _gpu_limit(client: SyncPrefectClient, slots: int) -> str:
    client.upsert_global_concurrency_limit_by_name(GPU_LIMIT, slots)
    return f"concurrency limit '{GPU_LIMIT}': {slots} slot{'s' if slots > 1 else ''}"


def _work_pool(client: SyncPrefectClient, name: str) -> str:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        return f"work pool '{name}': created"
    if pool.is_paused:
        client.update_work_pool(name, WorkPoolUpdate(is_paused=False))
    return f"work pool '{name}': there, type {pool.type}"


def _watch_heartbeats(client: SyncPrefectClient) -> str:
    """A run whose process and worker are both gone reports nothing more; this has the server say so.

    The trigger waits, from each heartbeat on, for the next one or for the run's end.
    """
    ends = ("Completed", "Failed", "Cancelled", "Crashed")
    automation = AutomationCore(
        name=SILENT_RUNS,
        description="The process of the run was killed, or its machine is gone. Run it again: what is done is kept.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat"} | {f"prefect.flow-run.{end}" for end in ends},
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENCE_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {SILENCE_SECONDS} s. Run it again: what is done is kept.",
            )
        ],
    )
    there = client.read_automations_by_name(SILENT_RUNS)
    if there:
        client.update_automation(there[0].id, automation)
    else:
        client.create_automation(automation)
    return f"automation: runs without heartbeat for {SILENCE_SECONDS} s become Crashed"


def deployment_values(preset: str) -> dict[str, object]:
    """The parameters that prefect.yaml fills in (a build step): every field of a preset, and where the workspace is.

    The path is made absolute, since a worker starts each run in a folder of its own.

    Raises:
        ConfigError: there is no such preset, or it isn't valid.
    """
    workspace = Path(os.environ.get("TUBEFLOW_WORKSPACE") or "workspace").absolute()
    return {"config": load_config(preset).model_dump(mode="json"), "workspace": str(workspace)}
