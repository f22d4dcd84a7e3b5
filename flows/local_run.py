"""Run the flow in this process, with its progress shown: what the command line and the Python API share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from pathlib import Path

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig
from flows.console import err, stage_bars
from flows.datasets.clips import wanted_clips
from flows.execution.in_process import InThisProcess
from flows.execution.run_options import RunOptions
from flows.execution.server.named_server import server_is_named
from flows.runs.summary import RunSummary
from flows.stages import Selection, StageName, make_plan, stages_there
from tasks.engine.plan import Planner

EVERYTHING = Selection()
AS_USUAL = RunOptions()
Showing = Callable[[], AbstractContextManager[None]]
"""Shows the progress of what its block does."""
IN_PROCESS = ("local", "processes")  # a cluster is asked for by those who want it to be looked at


def say(sentence: str) -> None:
    """On the terminal's error stream."""
    err.print(sentence, markup=False)


def run_pipeline(
    config: PipelineConfig,
    dataset: str,
    workspace: Path,
    selection: Selection = EVERYTHING,
    options: RunOptions = AS_USUAL,
    showing: Showing = stage_bars,
    waiting: Callable[[str], None] = say,
) -> RunSummary:
    """Run the selected stages on a dataset.

    Args:
        config: what the stages are configured with.
        dataset: name of the dataset.
        workspace: folder of the workspace; made where there is none.
        selection: which stages.
        options: which clips, and how strictly.
        showing: shows the progress; by default bars or lines on the terminal.
        waiting: called with a sentence where Prefect's temporary server takes long to start.

    Raises:
        CatalogError, ConfigError: the run can't be begun; the message is for the user.
    """
    opened = Workspace.open(workspace)
    if not server_is_named() and _nothing_to_do(config, dataset, opened, selection.stages(), options):
        from flows.execution.execute import execute  # loads what a mistyped command doesn't need

        with showing():
            return execute(config, dataset, opened, selection.stages(), options, InThisProcess())
    if options.make_procedural is None:  # a wrong dataset or clip is reported before a server is started
        wanted_clips(opened, dataset, options.where, options.clips)
    from flows.execution.server.temporary_server import temporary_server  # loads Prefect, which takes seconds

    declare = partial(import_module, "flows.pipeline")
    with showing(), temporary_server(waiting, declare):
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
    # In a thread of its own: where a loop is running, as in a notebook, Prefect would return something to be awaited.
    with ThreadPoolExecutor(1) as beside:
        result = beside.submit(state.result, raise_on_failure=False).result()
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
