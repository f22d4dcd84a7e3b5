"""The command line: one file a group of commands, each with its own Typer; `main` puts them together.

What the commands print is in `flows.tables`.
"""

from flows.execution.stopping import stop_cleanly


def app() -> None:
    """The `tubeflow` program. The commands are imported only here, when a Ctrl-C already ends it in good order."""
    stop_cleanly()
    from flows.cli.main import app as program

    program()
