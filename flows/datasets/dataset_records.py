"""What ingesting, listing and checking a dataset come to: records that the commands print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import Check, RejectedRow
from data_catalog.tables.shared_content import SharedContent
from flows.datasets.ingest import check_dataset, ingest
from flows.datasets.shared_content import MOST_AT_INGEST, compare_splits


@dataclass(frozen=True)
class DatasetRow:
    """One dataset of a workspace: its adapter, how many clips it has, bad ones included, and its folder."""

    name: str
    adapter: str
    clips: int
    root: str


@dataclass(frozen=True)
class IngestRecord:
    """A dataset as it was ingested.

    Attributes:
        dataset: its name in the workspace.
        clips: how many there are.
        rejected: rows of the label file that were left out.
        shared_content: clips of different splits that show the same.
        remarks: everything that is to be said of it, one sentence each.
    """

    dataset: str
    clips: int
    rejected: tuple[RejectedRow, ...]
    shared_content: tuple[SharedContent, ...]
    remarks: tuple[str, ...]

    def as_json(self) -> Mapping[str, object]:
        """What `--json` prints: the record without the sentences."""
        return {name: value for name, value in asdict(self).items() if name != "remarks"}


@dataclass(frozen=True)
class CheckRecord:
    """A dataset beside its published figures.

    Attributes:
        dataset: its name in the workspace.
        checks: each published figure and the one found.
        without_video: clips that are annotated and have no video.
        shared_content: clips of different splits that show the same.
        warnings: what the adapter warns of, one sentence each.
        splits: what comparing the splits found, one sentence each.
    """

    dataset: str
    checks: tuple[Check, ...]
    without_video: int
    shared_content: tuple[SharedContent, ...]
    warnings: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every figure agrees."""
        return all(check.ok for check in self.checks)

    def as_json(self) -> Mapping[str, object]:
        """What `--json` prints: the record without the sentences."""
        wanted = ("checks", "without_video", "shared_content")
        return {name: value for name, value in asdict(self).items() if name in wanted}


def list_datasets(workspace: Workspace) -> list[DatasetRow]:
    """Every dataset of a workspace. Raises CatalogError."""
    found = []
    for name in workspace.datasets.names():
        info = workspace.datasets.info(name)
        found.append(DatasetRow(name, info.adapter, workspace.datasets.count(name), info.root))
    return found


def ingest_and_compare(
    workspace: Workspace,
    name: str,
    adapter: str,
    root: Path,
    labels: Path | None = None,
    steps: Path | None = None,
    poses: Path | None = None,
) -> IngestRecord:
    """Read a dataset folder into the catalog, see `ingest`, and compare its splits with each other.

    Raises:
        CatalogError: nothing could be read.
    """
    listing = ingest(workspace, name, adapter, root, labels, steps, poses)
    splits = compare_splits(workspace, name, MOST_AT_INGEST)
    remarks = (*listing.notes, *listing.warnings, *map(str, listing.rejected), *splits.sentences)
    return IngestRecord(name, len(listing.records), listing.rejected, splits.rows, remarks)


def check_and_compare(workspace: Workspace, name: str) -> CheckRecord:
    """Compare a dataset with its published figures, and its splits with each other.

    Raises:
        CatalogError: no such dataset, or its folder can't be read any more.
    """
    checks, listing = check_dataset(workspace, name)
    splits = compare_splits(workspace, name)
    return CheckRecord(name, tuple(checks), len(listing.missing), splits.rows, listing.warnings, splits.sentences)
