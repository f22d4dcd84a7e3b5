"""Claim: an epoch on cut features takes a fifth of one on pixels with the same frozen part, on pooled ones a fiftieth.

    python -m benchmarks.features                 # 128 clips of 103 frames, ten segments, i3d_small, two threads
    python -m benchmarks.features --clips 32      # sooner
    python -m benchmarks.features --into docs/features.md       # puts the table there

Each pair is the same training twice (`tasks.train.train`: Lightning, checkpoints, a CSV log, the held-out quarter
scored after every epoch): on a pack's frames with `train.freeze`, and on features that the same frozen part made of
them before. Both take turns in one process, `--repeats` times, and the ratio is of the medians of an epoch that isn't
the first one, in which checksums are compared. The losses must be the same to 1e-5, or the pair is no pair. The frames
are drawn by chance: nothing that is computed depends on what they show.

CPU seconds of the process, which a busy machine disturbs less than the clock; wall seconds stand beside. Last, the rate
at which features come out of the page cache, batches put together, beside that of copying memory in the same run; and
where the time of an epoch on `cut` goes, as PyTorch's profiler sees it.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import torch

from data_catalog.features.mapped_features import FeatureReader, Version, write_features
from data_catalog.pack.file import PackReader
from models.score_network import ScoreNetwork
from models.tsanet import FrozenPart
from tasks.masks import MasksConfig, build_masks
from tasks.pack import PackClip, PackConfig, write_pack
from tasks.train import train
from tasks.training.config import EpochRow, ModelConfig, TrainConfig
from tasks.training.network import build_network

FLOORS = {"cut": 5.0, "pooled": 50.0}
FROZEN: dict[str, FrozenPart] = {"cut": "stage1", "pooled": "backbone"}
VERSIONS: tuple[Version, ...] = ((False, 0), (True, 0))
LENGTH, CROP = 103, 112
GIGABYTE = 1e9
WORK = {
    "convolutions": ("convolution",),
    "products of the attention and the head": ("mm", "tube_dot"),
    "moving and clearing memory": ("copy_", "fill_", "index_select", "aten::cat", "stack", "DataLoader"),
    "max pooling": ("max_pool3d",),
    "BatchNorm and ReLU": ("batch_norm", "threshold", "clamp_min"),
}
"""What an operator's name has in it, by what it does."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch took, in seconds of all threads and of the clock."""

    cpu: float
    wall: float


def draw_pack(path: Path, clips: int) -> Path:
    """A pack of clips of noise with a tube of a fifth of the picture, a quarter of them held out."""
    masks = MasksConfig(crop=CROP)
    quad = np.array([[40, 20], [80, 20], [80, 90], [40, 90]], np.float32)
    tube = build_masks(np.broadcast_to(quad, (1, LENGTH, 4, 2)), (CROP, CROP), masks)
    rng = np.random.default_rng(0)

    def clip(number: int) -> PackClip:
        frames = rng.integers(0, 256, (LENGTH, CROP, CROP, 3), dtype=np.uint8)
        split = "test" if number % 4 == 3 else "train"
        return PackClip(f"c{number}", split, "", lambda: frames, tube["coverage"], tube["mask"], score=float(number))

    write_pack(path, (clip(number) for number in range(clips)), PackConfig(input_size=CROP), masks)
    return path


def make_features(pack: Path, folder: Path, mode: str) -> dict[str, Path]:
    """Files of all clips' features, by clip id."""
    reader, found = PackReader(pack), {}
    network = ScoreNetwork(build_network(model_of(mode), 0, FROZEN[mode]), reader.geometry.starts).eval()
    for index, clip_id in enumerate(reader.labels.clip_id):
        frames = reader.read(index).frames
        versions = (frames[:, :, ::-1] if flip else frames for flip, _ in VERSIONS)
        path = found[clip_id] = folder / f"{mode}-{clip_id}.h5"
        write_features(
            path,
            VERSIONS,
            (network.features(torch.from_numpy(np.ascontiguousarray(one))[None])[0].numpy() for one in versions),
        )
    return found


def model_of(mode: str) -> ModelConfig:
    """The network: with attention where there is a place for it."""
    return ModelConfig(backbone="i3d_small", attention="tsa" if mode == "cut" else "none", head="regression")


def epochs_of(
    pack: Path, mode: str, features: Mapping[str, Path] | None, workdir: Path, epochs: int
) -> tuple[list[Epoch], list[float]]:
    """What each epoch but the first took, and the loss of each."""
    ends: list[tuple[float, float]] = []
    losses: list[float] = []

    def ended(row: EpochRow) -> None:
        ends.append((cpu_seconds(), time.perf_counter()))
        losses.append(float(row["train/loss"] or 0.0))

    config = TrainConfig(epochs=epochs, lr=1e-3, freeze=FROZEN[mode], loggers=("csv",), accelerator="cpu")
    train(pack, model_of(mode), config, workdir, ended, features=features)
    return [Epoch(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(ends)], losses


def cpu_seconds() -> float:
    """Seconds that this process has kept processors busy, in the program and in the system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compare(pack: Path, folder: Path, mode: str, repeats: int) -> list[str]:
    """Run the pair in turns; a row of the table each, with the ratio of CPU seconds."""
    features = make_features(pack, folder, mode)
    taken: dict[str, list[Epoch]] = {"pixels": [], mode: []}
    losses: dict[str, list[float]] = {}
    for turn in range(repeats):
        for name, given, epochs in (("pixels", None, 2), (mode, features, 6)):
            found, losses[name] = epochs_of(pack, mode, given, folder / f"{mode}-{name}-{turn}", epochs)
            taken[name] += found
    np.testing.assert_allclose(losses[mode][:2], losses["pixels"], rtol=1e-5)
    cpu = {name: median(one.cpu for one in epochs) for name, epochs in taken.items()}
    wall = {name: median(one.wall for one in epochs) for name, epochs in taken.items()}
    ratio, floor = cpu["pixels"] / cpu[mode], FLOORS[mode]
    said = f"{floor:.0f} ×: {'met' if ratio >= floor else 'not met'}"
    rows = [(f"pixels, {FROZEN[mode]} frozen", "pixels", "1.0 ×", ""), (f"`{mode}`", mode, f"{ratio:.1f} ×", said)]
    return [f"| {label} | {cpu[name]:.2f} | {wall[name]:.2f} | {one} | {floor} |" for label, name, one, floor in rows]


def shares(pack: Path, features: Mapping[str, Path], folder: Path) -> str:
    """Where the time of training on `cut` goes: the share of each kind of work in the time of all operators."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        epochs_of(pack, "cut", features, folder / "profiled", 2)
    spent = dict.fromkeys([*WORK, "all else"], 0.0)
    for row in seen.key_averages():
        kinds = (kind for kind, names in WORK.items() if any(name in row.key for name in names))
        spent[next(kinds, "all else")] += row.self_cpu_time_total
    total = sum(spent.values())
    said = ", ".join(f"{kind} {time / total:.0%}" for kind, time in spent.items())
    return f"Of the time on `cut`: {said}."


def reading(features: Mapping[str, Path]) -> str:
    """How fast batches of four clips are put together, beside copying as many bytes within memory."""
    reader = FeatureReader(list(features.values()))
    clips = [reader.read(index, flip, 0) for index in range(len(features)) for flip in (False, True)]
    groups = [clips[i : i + 4] for i in range(0, len(clips) - 3, 4)]
    batch = torch.stack(groups[0])
    source = torch.zeros_like(batch)

    def batches() -> None:
        for group in groups:
            torch.stack(group, out=batch)

    def copies() -> None:
        for _ in groups:
            batch.copy_(source)

    size = batch.numel() * batch.element_size() * len(groups)
    rates = {name: size / fastest(work) / GIGABYTE for name, work in (("features", batches), ("memory", copies))}
    cache, memory = rates["features"], rates["memory"]
    return f"Batches come out of the page cache at {cache:.0f} GB/s; memory is copied at {memory:.0f} GB/s."


def fastest(work: Callable[[], None], times: int = 5) -> float:
    """Wall seconds of the fastest of several runs: what the others add is other programs' work."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--into", type=Path, help="a page with a place for the table, e.g. docs/features.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pack = draw_pack(folder / "pack.h5", options.clips)
        lines = [
            f"i3d_small, {options.clips} clips of {LENGTH} frames, ten segments, {options.threads} threads:",
            "",
            "| an epoch on | CPU s | wall s | ratio | floor |",
            "|---|--:|--:|--:|---|",
        ]
        for mode in FLOORS:
            lines += compare(pack, folder, mode, options.repeats)
        stored = {path.stem.removeprefix("cut-"): path for path in sorted(folder.glob("cut-c*.h5"))}
        lines += ["", shares(pack, stored, folder), "", reading(stored)]
    print("\n".join(lines))
    if options.into:
        from benchmarks.procedural_tables import write_block  # loads Prefect

        write_block(options.into, "epochs", "\n".join(lines))


if __name__ == "__main__":
    main()
