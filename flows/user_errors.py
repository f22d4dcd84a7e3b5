"""What a user can put right, in sentences: the same ones on the command line and in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from data_catalog import notices
from data_catalog.catalog import CatalogError, Workspace
from data_catalog.errors import os_sentence
from data_catalog.store import ArtifactDamaged
from data_catalog.weights.registry import WeightsError
from flows.config import ConfigError
from flows.console import sentence

USER_ERRORS: Final = (ArtifactDamaged, CatalogError, ConfigError, WeightsError, OSError)
"""What is said in sentences; everything else is a fault of the program."""


def error_sentences(exc: Exception, workspace: Path | None) -> list[str]:
    """What went wrong and what to do; of a damaged artifact of `workspace`, that it was removed.

    What was found damaged and mended on the way, and nobody has been told yet, comes first.
    """
    if isinstance(exc, ArtifactDamaged):
        text = str(exc) if workspace is None else Workspace(workspace).discard(exc)
        return [*notices.take(), text]
    text = os_sentence(exc) if isinstance(exc, OSError) else sentence(str(exc))
    notices.told([str(exc)])
    return [*notices.take(), *text.split("\n")]
