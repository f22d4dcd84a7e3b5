"""The files of networks' weights of a workspace: what there is, and fetching what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from data_catalog.weights.download import ByteProgress
from data_catalog.weights.registry import WeightsError, find_entry, load_registry
from data_catalog.weights.resolve import WeightStatus, pull
from data_catalog.weights.saved_networks import is_repository, pull_repository
from flows.console import sentence


@dataclass(frozen=True)
class WeightRow:
    """One file of weights.

    Attributes:
        name: of the weights that it belongs to.
        state: see `WeightStatus`.
        bytes: the size found, else the published one; None where neither is known.
        path: where it is, or would be.
        purpose: what the weights are for; "your own" for files that aren't registered.
        page: where they are published, with `url` of the file where it can be fetched from.
        sha256: published digest or the beginning of one.
        note: what is wrong with it.
    """

    name: str
    file: str
    state: str
    bytes: int | None
    path: str
    purpose: str
    licence: str
    page: str
    citation: str
    url: str | None
    sha256: str | None
    note: str


@dataclass(frozen=True)
class PullRecord:
    """The files that are here now, and a sentence for each of the weights that could not be fetched."""

    files: tuple[str, ...]
    failed: tuple[str, ...]


def weight_rows(found: Sequence[WeightStatus]) -> list[WeightRow]:
    """One row a file."""
    return [_row(status) for status in found]


def _row(status: WeightStatus) -> WeightRow:
    entry = status.entry
    published = next((file for file in entry.files if file.file == status.file), None) if entry else None
    size = status.path.stat().st_size if status.path.is_file() else published.size if published else None
    return WeightRow(
        name=status.name,
        file=status.file,
        state=status.state,
        bytes=size,
        path=str(status.path),
        purpose=entry.purpose if entry else "your own",
        licence=entry.licence if entry else "",
        page=entry.page if entry else "",
        citation=entry.citation if entry else "",
        url=published.url if published else None,
        sha256=published.sha256 or published.sha256_prefix if published else None,
        note=status.note,
    )


def pull_all(
    names: Sequence[str], folder: Path, watch: Callable[[str], AbstractContextManager[ByteProgress]]
) -> PullRecord:
    """Fetch weights into the weights folder; those that can't be had don't keep the others from being fetched.

    Args:
        names: of registered weights, or of a hub's repositories, OWNER/NAME.
        folder: the workspace's weights folder.
        watch: opened with each name while that is fetched; what it yields is called with the bytes so far.

    Raises:
        WeightsError: one of the names is unknown; nothing was fetched.
    """
    registry = load_registry()
    entries = [name if is_repository(name) else find_entry(name, registry).name for name in names]
    files: list[Path] = []
    failed: list[str] = []
    for name in entries:
        try:
            with watch(name) as progress:
                if is_repository(name):
                    files += pull_repository(name, folder, progress=progress)
                else:
                    files += pull(name, folder, registry=registry, progress=progress)
        except WeightsError as exc:
            failed.append(sentence(str(exc)))
    return PullRecord(tuple(map(str, files)), tuple(failed))
