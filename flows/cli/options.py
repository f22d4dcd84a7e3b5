"""What every command shares: its options, and how an error that the user can put right is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from data_catalog import notices
from data_catalog.foreign_text import visible
from flows.console import err
from flows.user_errors import USER_ERRORS, error_sentences

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
    """Turn what a user can put right into one sentence and exit status 2, without a traceback.

    Whatever the command found damaged and mended is said on the error stream when it ends.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        notices.take()  # of an earlier command of this process
        try:
            command(*args, **kwargs)
            _say(notices.take())
        except USER_ERRORS as exc:
            where = kwargs.get("workspace")
            _say(error_sentences(exc, where if isinstance(where, Path) else None))
            raise typer.Exit(2) from None

    return run


def _say(sentences: Iterable[str]) -> None:
    for one in sentences:
        err.print(visible(one), markup=False, soft_wrap=True)
