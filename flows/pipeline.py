"""The pipeline: normalize → detect → track → masks → (features) → pack → train → evaluate.

Up to the pack they work on one clip at a time, from there on on the whole dataset. Every flow here is the same run over
another selection of stages, so `pipeline`, `preprocess`, `experiment` and `stage` share all artifacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import deployment, flow_run
from prefect.states import Completed, Crashed, Failed

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.errors import os_sentence
from flows.config import ConfigError, PipelineConfig, apply_overrides
from flows.datasets.ingest import make_procedural
from flows.execution.execute import execute
from flows.execution.prefect_page import progress_on_page, show_run
from flows.execution.prefect_setup import make_own_gpu_slot
from flows.execution.run_options import RunOptions
from flows.execution.server.named_server import server_is_named
from flows.execution.server.temporary_server import end_prefects_server_with_us
from flows.execution.stopping import SENTENCE, farewell
from flows.runs.quality import suspicious_sentence
from flows.runs.summary import RunSummary
from flows.stages import EXPERIMENT, PREPROCESS, Selection, StageName

Outcome = RunSummary | CatalogError | ConfigError
"""What a flow run's state holds: what the run did, or why it wasn't begun."""

DEFAULT_CONFIG = PipelineConfig()
DEFAULT_OPTIONS = RunOptions()
NO_OVERRIDES: list[str] = []


def run_stages(
    config: PipelineConfig,
    overrides: Sequence[str],
    dataset: str,
    workspace: Path,
    selection: Selection,
    options: RunOptions,
) -> State[Outcome]:
    """Execute inside a flow run, show what happened on its page, and end it in the state that says so."""
    end_prefects_server_with_us()
    with farewell(partial(_report_stopped, flow_run.id)):
        try:
            if overrides:
                config = apply_overrides(config.model_dump(mode="json"), overrides)
            opened = Workspace.open(_lasting(workspace))
            make_own_gpu_slot()
            if options.make_procedural is not None and dataset not in opened.datasets.names():
                make_procedural(opened, dataset, options.make_procedural)
            with progress_on_page():
                summary = execute(config, dataset, opened, selection.stages(), options)
        except (CatalogError, ConfigError) as exc:
            return Failed(message=str(exc), data=exc)
        except OSError as exc:
            trouble = CatalogError(os_sentence(exc))
            return Failed(message=str(trouble), data=trouble)
        show_run(summary, opened)
        return _end_state(summary, options)


def _report_stopped(run_id: str | None) -> None:
    """Tell a server that outlives this process that the run was stopped; it would show it as running for ever."""
    if run_id is not None and server_is_named():
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(run_id), Crashed(message=SENTENCE), force=True)


def _end_state(summary: RunSummary, options: RunOptions) -> State[Outcome]:
    """The state that says how the run went, with its summary."""
    if summary.failed and (options.strict or summary.nothing_left):
        return Failed(message=f"{summary.failed} clips failed", data=summary)
    if summary.suspicious and options.strict:
        return Failed(message=suspicious_sentence(summary.suspicious), data=summary)
    done = f"completed with {summary.failed} quarantined" if summary.failed else "completed"
    return Completed(message=f"{done}: {summary.report or summary.run_id}", data=summary)


def _lasting(workspace: Path) -> Path:
    """A worker starts each run in a folder that is removed afterwards: there, a relative path would lose everything."""
    if deployment.id and not workspace.is_absolute():
        raise CatalogError(f"A worker needs the whole path of the workspace, got '{workspace}'; set it and run again.")
    return workspace


@flow(flow_run_name="{dataset}", persist_result=False)
def pipeline(
    dataset: str,
    config: PipelineConfig = DEFAULT_CONFIG,
    overrides: list[str] = NO_OVERRIDES,
    workspace: Path = Path("workspace"),
    options: RunOptions = DEFAULT_OPTIONS,
    start: StageName | None = None,
    until: StageName | None = None,
) -> State[Outcome]:
    """Raw clips to a scored report: all stages, or those from `start` until `until`."""
    return run_stages(config, overrides, dataset, workspace, Selection(start=start, until=until), options)


@flow(flow_run_name="{dataset}", persist_result=False)
def preprocess(
    dataset: str,
    config: PipelineConfig = DEFAULT_CONFIG,
    overrides: list[str] = NO_OVERRIDES,
    workspace: Path = Path("workspace"),
    options: RunOptions = DEFAULT_OPTIONS,
) -> State[Outcome]:
    """Everything that needs no training: normalize … pack."""
    return run_stages(config, overrides, dataset, workspace, PREPROCESS, options)


@flow(flow_run_name="{dataset}", persist_result=False)
def experiment(
    dataset: str,
    config: PipelineConfig = DEFAULT_CONFIG,
    overrides: list[str] = NO_OVERRIDES,
    workspace: Path = Path("workspace"),
    options: RunOptions = DEFAULT_OPTIONS,
) -> State[Outcome]:
    """Training and evaluation on a pack that is there."""
    return run_stages(config, overrides, dataset, workspace, EXPERIMENT, options)


@flow(flow_run_name="{stage} {dataset}", persist_result=False)
def stage(
    stage: StageName,
    dataset: str,
    config: PipelineConfig = DEFAULT_CONFIG,
    overrides: list[str] = NO_OVERRIDES,
    workspace: Path = Path("workspace"),
    options: RunOptions = DEFAULT_OPTIONS,
) -> State[Outcome]:
    """One stage alone, for the clips that are ready for it."""
    return run_stages(config, overrides, dataset, workspace, Selection(only=stage), options)
