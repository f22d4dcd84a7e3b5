"""How `tubeflow ingest` and `tubeflow datasets …` are shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from data_catalog.foreign_text import visible
from flows.console import out
from flows.datasets.dataset_records import CheckRecord, DatasetRow, IngestRecord


def print_ingested(record: IngestRecord) -> None:
    """Everything that is to be said of the dataset, then how many clips it has."""
    _print_sentences(record.remarks)
    out.print(f"Dataset '{record.dataset}': {record.clips} clips, {len(record.rejected)} rows left out.")


def print_datasets(rows: Sequence[DatasetRow]) -> None:
    """A line a dataset, or how to add the first."""
    for row in rows:
        out.print(f"{row.name}: {row.clips} clips, {row.adapter}, {row.root}", markup=False, soft_wrap=True)
    if not rows:
        out.print("No datasets yet; add one with: tubeflow ingest, or tubeflow datasets make procedural")


def print_checks(record: CheckRecord) -> None:
    """Published figures beside the ones found, then what the adapter warns of, then the splits."""
    table = Table(record.dataset, "published", "found", "")
    for check in record.checks:
        table.add_row(check.name, check.expected, check.found, "✓" if check.ok else "✗ differs")
    out.print(table)
    _print_sentences(record.warnings)
    agreeing = sum(check.ok for check in record.checks)
    out.print(f"{agreeing} of {len(record.checks)} figures agree.")
    _print_sentences(record.splits)


def _print_sentences(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        out.print(visible(sentence), markup=False, soft_wrap=True)
