"""Networks as `transformers` saves them: a folder of weights and what says their size, or the name of a repository.

A repository of a hub (`MCG-NJU/videomae-base`) is fetched when it is asked for, by `tubeflow weights pull`, into a
folder of its own in the weights folder; a run takes what is there and never asks the network.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from data_catalog.weights.download import ByteProgress, DownloadError, Patience
from data_catalog.weights.registry import REPOSITORY_MARK, WeightFile, Weights, WeightsError
from data_catalog.weights.resolve import pull, resolve_weights

CONFIG = "config.json"
PREPROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")
TENSORS = ("model.safetensors", "pytorch_model.bin")
"""Files of weights in the order in which they are looked for; tensors alone are read of either."""

ENDPOINT = "HF_ENDPOINT"
_NOT_FOUND = 404
_PUBLIC = "https://huggingface.co"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def is_repository(name: str) -> bool:
    """Whether a name has the form of a hub's repository, OWNER/NAME; no hub allows two dashes or dots in a row."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name and REPOSITORY_MARK not in name


def repository_folder(name: str, folder: Path) -> Path:
    """Where a repository's files lie in the weights folder."""
    return folder / name.replace("/", REPOSITORY_MARK)


def saved_network(name_or_path: str, folder: Path) -> tuple[Path, ...]:
    """The files of a saved network, that of the weights first.

    Args:
        name_or_path: a folder or file of the user's or in `folder`, or a repository that was pulled; a config by itself
            stands for random weights of its form.
        folder: the weights folder.

    Raises:
        WeightsError: there is none; says what to type.
    """
    given = Path(name_or_path).expanduser()
    places = [given, folder / given] if not given.is_absolute() else [given]
    if is_repository(name_or_path):
        places.append(repository_folder(name_or_path, folder))
    for place in places:
        if place.is_dir():
            return _files_in(place)
        if place.is_file():
            return place, *_beside(place)
    if is_repository(name_or_path):
        raise WeightsError(
            f"weights '{name_or_path}' are no folder and were not pulled to {places[-1]}; run `tubeflow weights pull "
            f"{name_or_path}`, or give the path of a folder with {CONFIG} and {TENSORS[0]}"
        )
    return (resolve_weights(name_or_path, folder),)


def _files_in(place: Path) -> tuple[Path, ...]:
    tensors = next((place / name for name in TENSORS if (place / name).is_file()), None)
    if tensors is None:
        raise WeightsError(
            f"the folder {place} holds no {' or '.join(TENSORS)}; save the network there with save_pretrained, or give "
            f"{place / CONFIG} for random weights of its form"
        )
    return tensors, *_beside(tensors)


def _beside(file: Path) -> tuple[Path, ...]:
    """What says how large a file's network is, and what its input is."""
    others = (file.with_name(name) for name in (CONFIG, *PREPROCESSORS))
    return tuple(other for other in others if other.is_file() and other.name != file.name)


def pull_repository(
    name: str, folder: Path, *, patience: Patience | None = None, progress: ByteProgress | None = None
) -> list[Path]:
    """Fetch config, preprocessor and weights of a hub's repository; digests of what came are recorded beside them.

    The hub is that of the environment's HF_ENDPOINT, else Hugging Face's. A preprocessor may be absent.

    Args:
        name: OWNER/NAME.
        folder: the weights folder.
        patience: when to give up.
        progress: called with bytes so far and bytes in all.

    Raises:
        WeightsError: it can't be had, is private, or holds no weights; says what was asked, where it would be put, and
            how to give a path.
        OSError: the folder cannot be written.
    """
    endpoint = os.environ.get(ENDPOINT, "").rstrip("/") or _PUBLIC
    page, own = f"{endpoint}/{name}", repository_folder(name, folder)

    def get(file: str, absent: bool) -> Path | None:
        entry = Weights(name, "", page, "", "", (WeightFile(file, f"{page}/resolve/main/{file}"),))
        try:
            return pull(name, own, registry={name: entry}, patience=patience, progress=progress)[0]
        except WeightsError as exc:
            cause = exc.__cause__
            if absent and isinstance(cause, DownloadError) and cause.status == _NOT_FOUND:
                return None
            raise WeightsError(
                f"{file} of '{name}' could not be fetched from {endpoint} to {own} ({cause or exc}); download the "
                f"repository's {CONFIG} and {TENSORS[0]} on a connected machine and give the path of their folder as "
                "model.weights"
            ) from exc

    found = [get(CONFIG, False), *(get(file, True) for file in PREPROCESSORS)]
    tensors = get(TENSORS[0], True) or get(TENSORS[1], False)
    return [file for file in (tensors, *found) if file is not None]
