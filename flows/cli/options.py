"""What every command shares: its options, and how an error that the user can put right is reported."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from data_catalog.catalog import CatalogError
from data_catalog.errors import os_sentence
from data_catalog.foreign_text import visible
from data_catalog.weights.registry import WeightsError
from flows.config import ConfigError
from flows.console import err, sentence

P = ParamSpec("P")

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", envvar="TUBEFLOW_WORKSPACE", help="Where everything is kept.")
]
DatasetOption = Annotated[str, typer.Option("--dataset", "-d", help="Name of the dataset in the workspace.")]
OverrideOption = Annotated[
    list[str], typer.Option("--override", "-o", help="Change one field: section.field=value. Repeatable.")
]
OnlyOption = Annotated[str | None, typer.Option("--only", help="Run this stage alone.")]
FromOption = Annotated[str | None, typer.Option("--from", help="Run from this stage on.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Run up to and with this stage.")]
EngineOption = Annotated[str | None, typer.Option("--engine", help="local, processes, dask or ray.")]
WhereOption = Annotated[
    str | None, typer.Option("--where", help="Only these clips: a condition in SQL on `tubeflow catalog schema clips`.")
]
ClipOption = Annotated[list[str], typer.Option("--clip", help="Only the clip of this id. Repeatable.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
CompareOption = Annotated[
    tuple[str, str] | None,
    typer.Option("--compare", help='Two trackers, as "mil" or, with weights, "nano nanotrack_v2".'),
]
NO_OVERRIDES: list[str] = []
NO_CLIPS: list[str] = []


def plain_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a user can put right into one sentence and exit status 2, without a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (CatalogError, ConfigError, WeightsError, OSError) as exc:
            text = os_sentence(exc) if isinstance(exc, OSError) else sentence(str(exc))
            err.print("\n".join(map(visible, text.split("\n"))), markup=False, soft_wrap=True)
            raise typer.Exit(2) from None

    return run
