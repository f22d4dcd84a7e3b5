"""How many clips of their own kind, and how many others, runs call unlike what they were trained on.

    python -m benchmarks.unlike RUN … --workspace W                      # held-out clips of each run's own pack
    python -m benchmarks.unlike RUN … --workspace W --videos shared/real-train/videos --every 4

A row a run: the share of its test clips that are beyond the bound (5 % is meant), once with the bound of folds of the
training clips and once with that of split validation where it is large enough; and the same of other videos, whose
athlete is taken to stand in the middle. The workspace is only read.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import Workspace
from data_catalog.pack.file import PackReader
from flows.config import PipelineConfig
from flows.runs.finished import FinishedRun, find_run, trained_state
from models.clip_kind import Kind, conformal_bound, fewest, fit_kind
from tasks.masks import build_masks
from tasks.normalize import normalize_clip
from tasks.novelty import NoveltySettings, cross_distances, vectors_of
from tasks.pack import PackClip, write_pack
from tasks.training.splits import split_clips

HEADER = (
    "| run | training clips | bound by | test clips unlike | other videos unlike | nearest of them, in bounds |",
    "|---|---|---|---|---|---|",
)
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Measured:
    """Pooled features of a run's clips, each (n, F) float32, and the training clips' names."""

    train: Floats
    validation: Floats
    test: Floats
    others: Floats
    names: list[str]
    seed: int


def measure(workspace: Workspace, run: FinishedRun, videos: Sequence[Path], folder: Path) -> Measured:
    """The features of a run's last epoch."""
    config, state = run.config, trained_state(workspace, run, "last")
    pack = PackReader(workspace.store.path("pack", run.artifact(workspace, "pack")))
    parts = split_clips(pack, config.train, config.model)

    def features(clips: PackReader, indices: Sequence[int] | None) -> Floats:
        if indices is not None and not indices:
            return np.zeros((0, 1), np.float32)
        return vectors_of(clips, state, config.model, config.train, "cpu", indices)

    none = np.zeros((0, 1), np.float32)
    others = features(PackReader(pack_videos(videos, config, folder / f"{run.run_id}.h5")), None) if videos else none
    names = [pack.labels.clip_id[index] for index in parts.train]
    train, validation, test = (features(pack, one) for one in (parts.train, parts.validation, parts.test))
    return Measured(train, validation, test, others, names, config.train.seed)


def pack_videos(videos: Sequence[Path], config: PipelineConfig, path: Path) -> Path:
    """The videos as the run's network takes them, the middle third of the frame as the tube."""
    width, height, length = config.normalize.width, config.normalize.height, config.normalize.length
    left, right, top, bottom = width / 3, 2 * width / 3, height / 4, 3 * height / 4
    quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    masks = build_masks(np.broadcast_to(quad, (1, length, 4, 2)), (width, height), config.masks)

    def clips() -> Iterable[PackClip]:
        for video in videos:
            frames = normalize_clip(video, config.normalize).frames
            tube = masks["coverage"], masks["mask"]
            yield PackClip(video.stem, "test", "", partial(np.asarray, frames), *tube, score=1.0, difficulty=1.0)

    write_pack(path, clips(), config.pack, config.masks)
    return path


def rows(run_id: str, found: Measured) -> Iterable[str]:
    """A row for each way to the bound."""
    settings, kind = NoveltySettings(), fit_kind(found.train)
    bounds = {
        "folds": conformal_bound(
            cross_distances(found.train, found.names, found.seed, settings.folds), settings.coverage
        )
    }
    if len(found.validation) >= fewest(settings.coverage):
        bounds["validation"] = conformal_bound(kind.distance(found.validation), settings.coverage)
    for way, bound in bounds.items():
        if bound is None:
            yield f"| {run_id} | {len(found.train)} | {way} | too few training clips | | |"
            continue
        own, other = (_beyond(kind, clips, bound) for clips in (found.test, found.others))
        nearest = f"{kind.distance(found.others).min() / bound:.2f}" if len(found.others) else ""
        yield f"| {run_id} | {len(found.train)} | {way} | {own} | {other} | {nearest} |"


def _beyond(kind: Kind, clips: Floats, bound: float) -> str:
    if not len(clips):
        return ""
    beyond = int((kind.distance(clips) > bound).sum())
    return f"{beyond} of {len(clips)}, {beyond / len(clips):.1%}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--videos", type=Path, help="a folder of videos of another kind")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th of them")
    words = parser.parse_args()
    videos = sorted(words.videos.glob("*.mp4"))[:: words.every] if words.videos else []
    workspace = Workspace(words.workspace)
    print("\n".join(HEADER))
    with tempfile.TemporaryDirectory() as folder:
        for name in words.runs:
            run = find_run(workspace, name)
            for row in rows(run.run_id, measure(workspace, run, videos, Path(folder))):
                print(row, flush=True)


if __name__ == "__main__":
    main()
