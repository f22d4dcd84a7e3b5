"""The command line: one file a group of commands, each with its own Typer; `main` puts them together."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`flows.cli:app` is the program; loaded when asked for, so that `flows.cli.quiet` alone costs nothing."""
    if name == "app":
        from flows.cli.main import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
