"""The files that a network starts from."""

from __future__ import annotations

from pathlib import Path

from data_catalog.weights.registry import WeightsError
from data_catalog.weights.resolve import resolve_weights
from data_catalog.weights.saved_networks import saved_network
from models.backbones import backbone_form, has_form
from tasks.training.config import ModelConfig


def model_weights(config: ModelConfig, folder: Path) -> dict[str, Path]:
    """The files that the network starts from, that of the weights first; none of a name that the backbone itself knows.

    What lies beside an encoder's weights and says how large it is counts as they do.

    Raises:
        WeightsError: a file is not there, the weights that are meant were not pulled yet, or what says how large an
            encoder is says nothing of such a network.
    """
    name = config.weights
    if name is None or not config.weights_are_files:
        return {}
    if not has_form(config.backbone):
        file = resolve_weights(name, folder)
        return {file.name: file}
    files = saved_network(name, folder)
    _form_of(config.backbone, files[0])  # told before hours of tracking, not by the training behind them
    return {file.name: file for file in files}


def first_file(config: ModelConfig, folder: Path) -> Path | None:
    """The file of weights that the network starts from, None where there is none. Raises WeightsError."""
    return next(iter(model_weights(config, folder).values()), None)


def model_form(config: ModelConfig, folder: Path) -> str | None:
    """What the weights that the network starts from say of its sizes; None where its name says all.

    Raises:
        WeightsError: as `model_weights`.
    """
    return _form_of(config.backbone, first_file(config, folder)) if has_form(config.backbone) else None


def _form_of(backbone: str, file: Path | None) -> str | None:
    try:
        return backbone_form(backbone, file)
    except (ValueError, FileNotFoundError) as exc:
        raise WeightsError(str(exc)) from exc
