"""Datasets of a workspace: ingesting, listing, checking, which of their clips a run takes, correcting labels."""
