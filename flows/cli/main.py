"""`tubeflow …`: the commands of every file of this folder, put together."""

from __future__ import annotations

import flows.cli.quiet  # noqa: F401  # isort: skip  # before anything that imports Prefect

import typer

from flows.cli import catalog, datasets, inspect, labels, models, run, view, workspace
from flows.cli.networks import detect, pretrain, tracks, weights

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="From raw sport clips to a trained and evaluated action-quality model; every stage cached and resumable.",
)
for commands in (datasets, run, workspace, inspect, models, view):
    app.add_typer(commands.app)
for name, group in (
    ("catalog", catalog),
    ("labels", labels),
    ("weights", weights),
    ("detect", detect),
    ("tracks", tracks),
    ("pretrain", pretrain),
):
    app.add_typer(group.app, name=name)

__all__ = ["app"]
