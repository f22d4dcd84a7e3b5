"""The file that a network starts from."""

from __future__ import annotations

from pathlib import Path

from data_catalog.weights.resolve import resolve_weights
from tasks.training.config import ModelConfig, names_file


def model_weights(config: ModelConfig, folder: Path) -> dict[str, Path]:
    """The file that the network starts from, unless it is a name that the backbone itself knows.

    Raises:
        WeightsError: the file is not there, or the registered weights were not pulled yet.
    """
    name = config.weights
    if name is None or not names_file(name):
        return {}
    file = resolve_weights(name, folder)
    return {file.name: file}
