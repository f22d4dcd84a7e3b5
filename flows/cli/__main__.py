"""`python -m flows.cli`, as the `tubeflow` program."""

from flows.cli import app

app()
