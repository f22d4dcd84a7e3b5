"""Runs through a Prefect server that is configured: the deployment of the pipeline, started and followed."""

from __future__ import annotations

import time
from typing import TypedDict
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags, FlowFilter, FlowFilterName
from prefect.exceptions import PrefectException
from prefect.settings import get_current_settings

from data_catalog.catalog import CatalogError
from flows.execution.prefect_setup import TAG, own_server
from flows.view.jobs import RerunJob, State

FLOW = "pipeline"
POLL_SECONDS = 1.0
ASK_SECONDS = 3.0


class PrefectState(TypedDict):
    """Address of the configured server, its deployment of the pipeline, or what is lacking; all None without one."""

    server: str | None
    deployment: str | None
    note: str | None


def prefect_json() -> PrefectState:
    """Whether runs can go through a Prefect server: its address, the deployment, or a sentence on what is lacking."""
    if own_server():
        return {"server": None, "deployment": None, "note": None}
    url = str(get_current_settings().api.url)
    try:
        _, name = _deployment()
    except CatalogError as exc:
        return {"server": url, "deployment": None, "note": str(exc)}
    return {"server": url, "deployment": name, "note": None}


def _client() -> SyncPrefectClient:
    return get_client(httpx_settings={"timeout": ASK_SECONDS}, sync_client=True)


def _deployment() -> tuple[UUID, str]:
    """Id and name of the pipeline's deployment. Raises CatalogError where there is none, or no server answers."""
    if own_server():  # asking would start a server of its own
        raise CatalogError("No Prefect server is named; set PREFECT_API_URL before tubeflow view, or run it here.")
    url = get_current_settings().api.url
    try:
        with _client() as client:
            found = client.read_deployments(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
                deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])),
            )
    except (httpx.HTTPError, PrefectException) as exc:
        raise CatalogError(f"The Prefect server {url} doesn't answer: {exc}") from exc
    if not found:
        raise CatalogError(f"The Prefect server {url} has no deployment of '{FLOW}'; make it: prefect deploy --all")
    first = min(found, key=lambda one: one.name)
    return first.id, f"{FLOW}/{first.name}"


def start_prefect(job: RerunJob, parameters: dict[str, object]) -> UUID:
    """Start the deployment with these parameters; returns the flow run's id.

    Raises:
        CatalogError: no server, no deployment, or it refuses.
    """
    deployment, _ = _deployment()
    try:
        with _client() as client:
            run = client.create_flow_run_from_deployment(deployment, parameters=parameters, tags=[TAG])
    except (httpx.HTTPError, PrefectException) as exc:
        raise CatalogError(f"The Prefect server refused the run: {exc}") from exc
    pages = get_current_settings().ui_url or str(get_current_settings().api.url).removesuffix("/api")
    job.url = f"{pages}/runs/flow-run/{run.id}"
    job.message = "Waiting for a worker"
    return run.id


def follow_prefect(job: RerunJob, run_id: UUID) -> None:
    """Ask the server how the run is until it has ended; a server that is away is asked again."""
    while job.state == "running":
        time.sleep(POLL_SECONDS)
        try:
            with _client() as client:
                state = client.read_flow_run(run_id).state
        except (httpx.HTTPError, PrefectException) as exc:
            job.message = f"The Prefect server doesn't answer: {exc}"
            continue
        if state is None:
            continue
        job.message = state.message or state.name
        if state.is_final():
            ended: State = "done" if state.is_completed() else "cancelled" if state.is_cancelled() else "failed"
            job.end(ended)
