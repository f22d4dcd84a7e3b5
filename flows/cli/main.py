"""`tubeflow …`: the front page, and where each command is; a command's file is imported when the command is called."""

from __future__ import annotations

import flows.quiet  # noqa: F401  # isort: skip  # before anything that imports Prefect

from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

if TYPE_CHECKING:  # Typer brings a Click of its own under a private name
    from typer._click import Command, Context

LOOK: Final = "markdown"


class CliEntry(NamedTuple):
    """Where a command is.

    Attributes:
        file: its module in this folder.
        panel: under which heading the front page has it.
        help: what the front page says of it: the beginning of its own help, which would have to be imported.
        group: whether it is the whole file, a command with commands of its own.
    """

    file: str
    panel: str
    help: str
    group: bool = False


DATA, RUN, LOOKING, MODELS = "Data", "Run", "Look", "Models"
TRACKING, UPKEEP = "Tracking", "Upkeep"

# In the order of use: the front page shows the panels, and the commands in them, as they stand here.
COMMANDS = {
    "ingest": CliEntry("datasets", DATA, "Read a dataset folder into the catalog."),
    "datasets": CliEntry("datasets", DATA, "List datasets, or make a procedural one."),
    "labels": CliEntry("labels", DATA, "Correct the labels of clips; everything is kept with its history.", group=True),
    "demo": CliEntry("run", RUN, "Draw the procedural dataset, then run the whole pipeline on it."),
    "plan": CliEntry("run", RUN, "Say what a run would do, and why, and do nothing."),
    "run": CliEntry("run", RUN, "Run the pipeline on a dataset; what is already there is not made again."),
    "status": CliEntry("workspace", RUN, "Datasets, the state of their stages, quarantined clips, and the last runs."),
    "inspect": CliEntry(
        "inspect",
        LOOKING,
        "Print a clip's tube mask; write a contact sheet, a picture of how its tube comes about, and an overlay MP4.",
    ),
    "view": CliEntry(
        "view",
        LOOKING,
        "Look at the tubes in a browser: the most suspicious first; compare, correct and run again.",
    ),
    "explain": CliEntry("workspace", LOOKING, "Print the chain from the source video to an artifact."),
    "catalog": CliEntry("catalog", LOOKING, "Datasets, clips, stages and sizes; or SQL over all of it.", group=True),
    "flops": CliEntry(
        "inspect",
        LOOKING,
        "Count what attention costs on the real tubes, beside the dense Non-local block.",
    ),
    "experiment": CliEntry(
        "models",
        MODELS,
        "Run every combination of a matrix of configs; what combinations share is made once.",
    ),
    "compare": CliEntry(
        "models",
        MODELS,
        "Put runs beside each other and beside published figures, with intervals and paired tests.",
    ),
    "predict": CliEntry(
        "models",
        MODELS,
        "Score new videos with the weights of a run, and draw each one's tube into an MP4.",
    ),
    "export": CliEntry(
        "models",
        MODELS,
        "Write a run's model, whose outputs were compared with the run's and agree to 1e-4, as a folder with its card.",
    ),
    "detect": CliEntry("networks.detect", TRACKING, "Measure detectors of the first frame's athlete.", group=True),
    "tracks": CliEntry("networks.tracks", TRACKING, "Evaluate trackers; import and export tracks.", group=True),
    "pretrain": CliEntry(
        "networks.pretrain",
        TRACKING,
        "Train the small networks that come with Tubeflow, from synthetic data.",
        group=True,
    ),
    "weights": CliEntry(
        "networks.weights",
        UPKEEP,
        "Weights of detectors, trackers and backbones, by name.",
        group=True,
    ),
    "plugins": CliEntry(
        "plugins", UPKEEP, "List the trackers, detectors, backbones, heads and datasets that other packages bring."
    ),
    "plugin": CliEntry("plugins", UPKEEP, "Begin a package with a part of your own."),
    "gc": CliEntry("workspace", UPKEEP, "Say which artifacts no recent run needs, or delete them."),
    "reindex": CliEntry(
        "workspace",
        UPKEEP,
        "Verify every artifact and make the catalog's index again from the artifacts alone.",
    ),
    "setup": CliEntry(
        "workspace",
        UPKEEP,
        "Make the Prefect server of PREFECT_API_URL ready: GPU slots, work pool, and who notices a killed run.",
    ),
}


def load_command(name: str) -> Command:
    """The command of that name, with all of its options and commands; imports its file."""
    place = COMMANDS[name]
    whole = typer.Typer(rich_markup_mode=LOOK)
    whole.add_typer(import_module(f"flows.cli.{place.file}").app, name=name if place.group else None)
    return get_group(whole).commands[name]


class FrontPage(TyperGroup):
    """Lists the commands of `COMMANDS` as they stand there, and loads the one that is called."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # Typer's own settings, passed on as they come
        for name, place in COMMANDS.items():
            self.add_command(TyperCommand(name, help=place.help, rich_help_panel=place.panel))

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """The loaded command that the first of `args` names, and the other words."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else command, rest

    def load_all(self) -> None:
        """Put every command itself in its place, for who walks through them all: a reference, a test."""
        for name in COMMANDS:
            self.add_command(load_command(name))


app = typer.Typer(
    cls=FrontPage,
    no_args_is_help=True,
    rich_markup_mode=LOOK,
    pretty_exceptions_enable=False,
    help="Start with `tubeflow demo`, or with your own clips: `tubeflow ingest`, then `tubeflow run`.\n\n"
    "From raw sport clips to a trained and evaluated action-quality model; every stage cached and resumable.",
)


@app.callback()
def _front_page() -> None:
    """Typer makes a group of an app with a callback, also where no command is registered with it."""


__all__ = ["COMMANDS", "app", "load_command"]
