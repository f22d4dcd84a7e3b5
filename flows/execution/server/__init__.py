"""The Prefect server that a run reports to: the one that the user named, or one of our own for as long as it takes."""
