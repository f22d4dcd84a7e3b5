"""Run the flow in this process, with progress bars: what `run`, `demo`, `predict` and `experiment` share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig
from flows.console import err, stage_bars
from flows.datasets.clips import wanted_clips
from flows.execution.run_options import RunOptions
from flows.runs.summary import RunSummary
from flows.stages import Selection, StageName, make_plan, stages_there
from tasks.engine.plan import Planner

EVERYTHING = Selection()
AS_USUAL = RunOptions()
IN_PROCESS = ("local", "processes")  # a cluster is asked for by those who want it to be looked at


def run_pipeline(
    config: PipelineConfig,
    dataset: str,
    workspace: Path,
    selection: Selection = EVERYTHING,
    options: RunOptions = AS_USUAL,
) -> RunSummary:
    """Run the selected stages on a dataset. Raises CatalogError and ConfigError."""
    # Prefect takes a second or two, which a mistyped command and --help don't have.
    from flows.execution.temporary_server import server_is_named, temporary_server

    opened = Workspace.open(workspace)
    if not server_is_named() and _nothing_to_do(config, dataset, opened, selection.stages(), options):
        from flows.execution.execute import execute  # as above
        from flows.execution.task_runners import InThisProcess

        with stage_bars():
            return execute(config, dataset, opened, selection.stages(), options, InThisProcess())
    if options.make_procedural is None:  # a wrong dataset or clip is reported before a server is started
        wanted_clips(opened, dataset, options.where, options.clips)
    declare = partial(import_module, "flows.pipeline")
    with temporary_server(partial(err.print, markup=False), declare), stage_bars():
        from flows.pipeline import pipeline, stage  # here, as the server starts while they are declared

        if selection.only is not None:
            state = stage(
                selection.only, dataset, config, workspace=opened.root, options=options, return_state=True
            )
        else:
            state = pipeline(
                dataset,
                config,
                workspace=opened.root,
                options=options,
                start=selection.start,
                until=selection.until,
                return_state=True,
            )
    result = state.result(raise_on_failure=False)
    if isinstance(result, RunSummary):
        return result
    raise result if isinstance(result, BaseException) else RuntimeError(f"the run ended {state.name}: {state.message}")


def _nothing_to_do(
    config: PipelineConfig, dataset: str, workspace: Workspace, selected: Sequence[StageName], options: RunOptions
) -> bool:
    """Whether every artifact that a run of these stages wants is there, or known to be out of reach (quarantined).

    Raises:
        CatalogError, ConfigError: the run can't be begun; the message is for the user.
    """
    if config.engine.runner not in IN_PROCESS or options.verify or options.retry_quarantined:
        return False
    if options.make_procedural is not None and dataset not in workspace.datasets.names():
        return False
    clips = wanted_clips(workspace, dataset, options.where, options.clips)
    plans = make_plan(Planner(workspace, dataset, clips), config, stages_there(config, selected))
    return all(plan.jobs and not plan.reasons and not plan.damaged for plan in plans.values())
