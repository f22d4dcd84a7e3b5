"""Damage to every kind of file that a workspace keeps: what notices it, and what heals it.

`python -m tests.support.damage FOLDER` makes a workspace in FOLDER, damages every kind in every way, prints a line of
JSON a cell, and the table of docs/artifacts.md at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.plain_file import clear, is_plain
from data_catalog.query import TABLES, query
from data_catalog.store import ArtifactDamaged, content_digest
from data_catalog.tables import source_marks
from data_catalog.tables.schemas import ARTIFACTS, CLIPS, REFERENCES, REJECTED, SOURCE_MARKS, SOURCES, read_table
from data_catalog.tables.tube_quality import WHOLE
from flows.config import ConfigError
from flows.datasets.labels import set_labels
from flows.maintenance.gc import find_garbage
from flows.maintenance.status import read_status
from flows.stages import STAGE_NAMES
from tests.support.file_damage import empty, folder, link, pipe, truncate
from tests.support.tiny_workspace import draw_clips, new_workspace, run

SPOILT, CORRECTED = "diving_0001", "diving_0000"
SCHEMAS = {
    "artifacts.parquet": ARTIFACTS,
    "sources.parquet": SOURCES,
    "clips.parquet": CLIPS,
    "rejected.parquet": REJECTED,
    "references.parquet": REFERENCES,
    "source_marks.parquet": SOURCE_MARKS,
    "tube_quality.parquet": WHOLE,
}
CATALOG, RUN = "catalog/datasets/*", "runs/*"
KINDS = {
    **{f"artifact of {stage}": f"artifacts/{stage}/??/*.h5" for stage in STAGE_NAMES},
    "checkpoint": "artifacts/train/??/*.work/checkpoints/*.ckpt",
    "digest of a checkpoint": "artifacts/train/??/*.work/checkpoints/*.sha256",
    "artifacts.parquet": "catalog/artifacts.parquet",
    "sources.parquet": "catalog/sources.parquet",
    "source_marks.parquet": "catalog/source_marks.parquet",
    "tube_quality.parquet": "catalog/tube_quality.parquet",
    "tube_truth.json": "catalog/tube_truth.json",
    "dataset.json": f"{CATALOG}/dataset.json",
    "clips.parquet": f"{CATALOG}/clips.parquet",
    "rejected.parquet": f"{CATALOG}/rejected.parquet",
    "edits.jsonl": f"{CATALOG}/edits.jsonl",
    "count of the edits": "catalog/edits/*.json",
    "quarantine": "catalog/quarantine/*/*.json",
    "run.json": f"{RUN}/run.json",
    "references.parquet": f"{RUN}/references.parquet",
    "metrics.json": f"{RUN}/metrics.json",
    "predictions.parquet": f"{RUN}/predictions.parquet",
    "report.html": f"{RUN}/report.html",
    "picture": f"{RUN}/*.png",
}


def flip(path: Path) -> None:
    """Change a bit that says something: many bits of a parquet file (statistics, padding) say nothing."""
    whole, schema = path.read_bytes(), SCHEMAS.get(path.name)
    for at in range(8 if schema else len(whole) // 2, len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 4
        path.write_bytes(changed)
        try:
            if schema is not None:
                read_table(path, schema)
            else:
                return
        except ArtifactDamaged:
            return


def rot(path: Path) -> None:
    """As `flip`, with the stat that the workspace remembers: a failing disk changes no time."""
    stat = path.stat()
    flip(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    if path.suffix == ".h5":
        workspace, now = Workspace(path.parents[3]), path.stat()
        row = workspace.index.rows[path.parts[-3], path.stem]
        workspace.index.add(row._replace(ctime_ns=now.st_ctime_ns, mtime_ns=now.st_mtime_ns, inode=now.st_ino))
        workspace.index.save()


WAYS: dict[str, Callable[[Path], None]] = {
    "flip": flip,
    "truncate": truncate,
    "empty": empty,
    "delete": Path.unlink,
    "rot": rot,
    "folder": folder,
    "link": link,
    "FIFO": pipe,
}


@dataclass(frozen=True)
class Cell:
    """What became of one damage: the command that noticed it first, what healed it, and whether it was used."""

    kind: str
    way: str
    noticed: str
    healed: str
    used: bool

    def __str__(self) -> str:
        noticed = "–" if self.noticed == "nothing" and self.way == "delete" else self.noticed
        return noticed if noticed == self.healed else f"{noticed}, {self.healed}"


def make_workspace(root: Path) -> Path:
    """A finished run of four clips, one of them quarantined, one with a corrected score."""
    videos = draw_clips(root.parent / "videos")
    os.truncate(videos / "videos" / f"{SPOILT}.mp4", 2000)
    workspace = new_workspace(root, videos)
    set_labels(workspace, "tiny", CORRECTED, ["score=61.5"], "tester")
    run(root)
    workspace = Workspace(root)
    for stage in STAGE_NAMES:
        workspace.index.check(stage, workspace.store.scan(stage))
    workspace.index.save()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_marks, "KEPT_FROM", 1)   # so few clips are not worth a table
        read_status(workspace)
    return root


def copied(reference: Path, root: Path) -> Path:
    """A copy whose index knows its files."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(reference, root)
    workspace = Workspace(root)
    for stage in STAGE_NAMES:
        assert not workspace.index.check(stage, workspace.store.scan(stage))[1]
    workspace.index.save()
    return root


def _run(root: Path) -> Iterator[str]:
    summary = run(root)
    yield from summary.notes
    yield from (row.reason for row in summary.troubles)
    yield from (f"{root} computed {stage}" for stage, count in summary.stages.items() if count.computed)


def _status(root: Path) -> Iterator[str]:
    workspace = Workspace(root)
    yield json.dumps(read_status(workspace), default=str)
    yield from workspace.notices


def _gc(root: Path) -> Iterator[str]:
    workspace = Workspace(root)
    find_garbage(workspace, keep=1)
    yield from workspace.notices


def _query(root: Path) -> Iterator[str]:
    workspace = Workspace(root)
    for table in TABLES:
        query(workspace, f"select count(*) from {table}")
    yield from workspace.notices


def _verify(root: Path) -> Iterator[str]:
    yield from run(root, verify=True).notes


COMMANDS: dict[str, Callable[[Path], Iterator[str]]] = {
    "run": _run,
    "status": _status,
    "gc": _gc,
    "query": _query,
    "run --verify": _verify,
}


def said(command: Callable[[Path], Iterator[str]], root: Path) -> list[str]:
    """The sentences that a command says, with the one that it ends with where it fails."""
    found = []
    try:
        found.extend(command(root))
    except (CatalogError, ConfigError, ArtifactDamaged) as exc:
        found.append(str(exc))
    return found


def state(root: Path) -> tuple[dict[str, str], str]:
    """What a run of the workspace says: the content of every artifact, and the newest run's metrics."""
    artifacts = {path.name: content_digest(path) for path in root.glob("artifacts/*/??/*.h5") if is_plain(path)}
    runs = query(Workspace(root), "select metrics from runs order by run_id").to_pylist()
    return artifacts, runs[-1]["metrics"] if runs else ""


def damage(reference: Path, root: Path, kind: str, way: str) -> Cell:
    """Damage one file of a copy of the workspace, and see which command notices and heals it."""
    copied(reference, root)
    path, expected = _choose(root, kind), state(reference)
    WAYS[way](path)
    whole = _is_whole(reference, root, path)
    noticed, healed = "nothing", "nothing"
    for name, command in COMMANDS.items():
        sentences = said(command, root)
        if noticed == "nothing" and any(_names(sentence, path, kind, way) for sentence in sentences):
            noticed = name
        if healed == "nothing" and whole() is not False:
            healed = name
        if noticed != "nothing" and healed != "nothing":
            break
    if healed == "nothing":
        _remedy(reference, root, path)
        said(_run, root)
        if whole() is not False and not any(str(path) in one for one in [*said(_status, root), *said(_gc, root)]):
            healed = "you"
    silently = noticed == "nothing" and state(root) != expected
    return Cell(kind, way, noticed, healed, silently)


def _choose(root: Path, kind: str) -> Path:
    path = sorted(root.glob(KINDS[kind]))[-1 if kind.startswith(("checkpoint", "digest")) else 0]
    if kind.startswith(("checkpoint", "digest")):  # read only while a training isn't finished
        for trained in root.glob("artifacts/train/??/*.h5"):
            trained.unlink()
    return path


def _names(sentence: str, path: Path, kind: str, way: str) -> bool:
    """Whether a sentence is about the file; of an artifact that was deleted, that it was computed."""
    if str(path) in sentence or (kind.startswith("digest") and path.stem in sentence):
        return True
    return way == "delete" and kind.startswith("artifact of") and sentence.endswith(f"computed {kind.split()[-1]}")


def _is_whole(reference: Path, root: Path, path: Path) -> Callable[[], bool | None]:
    """Asks whether the file is as it was, or is rightly gone with what it belonged to; None where it isn't needed."""
    original = reference / path.relative_to(root)

    def ask() -> bool | None:
        if path.suffix == ".h5":
            try:
                workspace = Workspace(root)
                workspace.store.verify(path.parts[-3], path.stem)
            except (ArtifactDamaged, FileNotFoundError):
                return False
            return content_digest(path) == content_digest(original)
        if path.parent.name == "checkpoints":
            return _trained_alike(reference, root)
        if not os.path.lexists(path):
            return None if path.suffix in (".html", ".png") or not path.parent.exists() else False
        if not is_plain(path):
            return False
        if path.suffix == ".parquet" and path.name in SCHEMAS:
            with contextlib.suppress(ArtifactDamaged):
                read_table(path, SCHEMAS[path.name])
                return True
            return False
        return path.read_bytes() == original.read_bytes() or _reads(path)

    return ask


def _reads(path: Path) -> bool:
    """A file that was made again may say when; its seal has to fit."""
    from data_catalog.json_file import read_record

    with contextlib.suppress(ArtifactDamaged, FileNotFoundError):
        return path.suffix == ".json" and path.name != "metrics.json" and bool(read_record(path))
    return False


def _trained_alike(reference: Path, root: Path) -> bool:
    one, other = (
        {path.name: content_digest(path) for path in folder.glob("artifacts/train/??/*.h5")}
        for folder in (reference, root)
    )
    return one == other


def _remedy(reference: Path, root: Path, path: Path) -> None:
    """What the sentences ask for: the corrections back from a backup, or the run's folder deleted."""
    if path.name == "edits.jsonl":
        clear(path)
        shutil.copy2(reference / path.relative_to(root), path)
    elif path.parent.parent.name == "runs":
        shutil.rmtree(path.parent)


def table(cells: Sequence[Cell]) -> str:
    """The table of the page, in Markdown."""
    found = {(cell.kind, cell.way): cell for cell in cells}
    lines = [f"| file | {' | '.join(WAYS)} |", f"|---|{'---|' * len(WAYS)}"]
    lines += [f"| {kind} | {' | '.join(str(found[kind, way]) for way in WAYS)} |" for kind in KINDS]
    return "\n".join(lines) + "\n"


def main() -> None:
    """As the module says."""
    base = Path(sys.argv[1])
    base.mkdir(parents=True, exist_ok=True)
    reference = base / "reference"
    if not reference.exists():
        make_workspace(reference)
    cells = []
    for kind in KINDS:
        for way in WAYS:
            cells.append(damage(reference, base / "work", kind, way))
            sys.stdout.write(json.dumps(cells[-1].__dict__) + "\n")
            sys.stdout.flush()
    sys.stdout.write(table(cells))


if __name__ == "__main__":
    main()
