"""`python -m flows.cli`, as the `tubeflow` program."""

from flows.cli.main import app

app()
