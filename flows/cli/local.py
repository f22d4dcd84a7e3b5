"""Run the flow in this process, with progress bars: what `run`, `demo`, `predict` and `experiment` share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig
from flows.console import err, stage_bars
from flows.datasets.clips import wanted_clips
from flows.runs.summary import RunSummary
from flows.stages import select_stages


def run_pipeline(
    config: PipelineConfig, dataset: str, workspace: Path, selection: dict[str, Any], options: dict[str, Any]
) -> RunSummary:
    """Run the flow in this process with progress bars. Raises CatalogError and ConfigError."""
    # Declaring the flows takes pandas and SciPy, a second or two that a mistyped command and --help don't need.
    from flows.execution.execute import RunOptions
    from flows.execution.temporary_server import temporary_server
    from flows.pipeline import pipeline, stage

    select_stages(**selection)  # a wrong name is told before a server is started, and a wrong dataset or clip
    opened = Workspace.open(workspace)
    if "make_procedural" not in options:
        wanted_clips(opened, dataset, options.get("where"), options.get("clips", ()))
    root = opened.root
    shared = {"dataset": dataset, "config": config, "workspace": root, "options": RunOptions(**options)}
    with temporary_server(partial(err.print, markup=False)), stage_bars():
        if selection["only"] is not None:
            state = stage(stage=selection["only"], return_state=True, **shared)
        else:
            ends = {name: selection[name] for name in ("start", "until")}
            state = pipeline(return_state=True, **ends, **shared)
    result = state.result(raise_on_failure=False)
    if isinstance(result, RunSummary):
        return result
    raise result if isinstance(result, BaseException) else RuntimeError(f"the run ended {state.name}: {state.message}")
