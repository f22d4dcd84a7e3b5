"""What siammask-s's numbers were chosen by: which quad it returns, and when a lost target is found again.

    python -m benchmarks.siammask_choices [--dives 10] [--seed 0] [--clips FOLDER]

Dives are the first of `tubeflow datasets make procedural --seed`, `--clips` any folder that `tubeflow tracks evaluate`
reads. Everything is given the first true box and brought to 103 frames of 455 x 256.

Quads: grid IoU as `tracks evaluate` has it, frames in which nobody is to be seen left out, of the rectangle around its
outline, of its upright box, and of either by the preset's rule. Bounds, measured in the same run: the rectangle around
the true pixels at the tracked size, the upright box around the true rotated one, and the first box, never moved.

Loss, dives only: of the frames after the athlete has gone into the water, the share in which the tube claims to hold
somebody; of those in which the athlete is seen, the share that is called lost; by the score from which a lost target
counts as found again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.media.video import probe, read_frames
from data_catalog.synthetic.sport import make_dataset, read_ground_truth
from data_catalog.tracks.benchmarks import find_tracking_clips
from data_catalog.weights.resolve import resolve_weights
from models.geometry import box_to_quad, quad_to_box
from models.trackers import Tube
from models.trackers.siammask.checkpoint import load_siammask
from models.trackers.siammask.outline import mask_to_rectangle, rectangle_to_quad
from models.trackers.siammask.settings import find_preset, lost_settings
from models.trackers.siammask.tracker import SiamMaskTracker
from tasks.assessment.one_pass import (
    EvaluationConfig,
    TrackingSample,
    load_sample,
    measure_tube,
    quad_boxes,
    run_clip,
    true_tube,
)

CONFIG = EvaluationConfig()
ALWAYS, NEVER = 0.0, 1.1  # sureness from which the outline decides


def dives(count: int, seed: int) -> Iterator[TrackingSample]:
    """Procedural dives in the evaluation's form."""
    with tempfile.TemporaryDirectory(prefix="dives-") as name:
        folder = make_dataset(Path(name), clips=count, seed=seed)
        for path in sorted((folder / "videos").glob("*.mp4")):
            truth, info = read_ground_truth(folder / "ground_truth" / f"{path.stem}.npz"), probe(path)
            index = np.rint(np.linspace(0, info.num_frames - 1, CONFIG.length)).astype(np.int64)
            quads = truth.quads[0, index].astype(np.float64)
            boxes, hidden = quad_boxes(quads), ~truth.visible[0, index]
            boxes[hidden], quads[hidden] = np.nan, np.nan
            yield TrackingSample(
                name=path.stem,
                attributes=frozenset(),
                frames=read_frames(path, index, CONFIG.size_wh or (info.width, info.height)),
                source_wh=(info.width, info.height),
                boxes=boxes,
                quads=quads,
                masks=truth.masks[0, index],
            )


def real(folder: Path) -> Iterator[TrackingSample]:
    """Clips with ground truth in the evaluation's form."""
    for clip in find_tracking_clips(folder):
        yield load_sample(clip, CONFIG)


def with_quads(change: Callable[[Tube], NDArray[np.float32] | None]) -> Callable[[TrackingSample], float | None]:
    """Grid IoU of quads that are made from the true tube; None where they can't be."""

    def figure(sample: TrackingSample) -> float | None:
        tube = true_tube(sample)
        quads = change(tube)
        return None if quads is None else measure_tube(sample, replace(tube, quads=quads)).figures.grid

    return figure


def around_pixels(tube: Tube) -> NDArray[np.float32] | None:
    """The true quad where too few pixels are to be seen, as a tracker's box stands in there."""
    if tube.masks is None:
        return None
    least = find_preset("small").min_area
    found = [None if mask is None else mask_to_rectangle(mask, least) for mask in tube.masks]
    return np.stack(
        [quad if one is None else rectangle_to_quad(one) for one, quad in zip(found, tube.quads, strict=True)]
    )


def upright(tube: Tube) -> NDArray[np.float32]:
    return box_to_quad(quad_to_box(tube.quads))


def still(tube: Tube) -> NDArray[np.float32]:
    return np.repeat(upright(tube)[:1], len(tube.quads), axis=0)


def siammask_s(min_confidence: float | None = None, found_above: float | None = None) -> SiamMaskTracker:
    """The shipped tracker with another sureness from which the outline decides, or another score of who is found."""
    loaded = load_siammask(resolve_weights("siammask-s", Path("weights")))
    settings, lost = find_preset(loaded.preset), lost_settings(loaded.preset)
    settings = settings if min_confidence is None else replace(settings, min_confidence=min_confidence)
    lost = lost if found_above is None else replace(lost, found_above=found_above)
    return SiamMaskTracker.around(loaded.network, settings, lost)


def tracked(tracker: SiamMaskTracker) -> Callable[[TrackingSample], float | None]:
    return lambda sample: run_clip(sample, tracker, CONFIG).figures.grid


def losses(samples: Iterable[TrackingSample], found_above: float) -> tuple[float, float]:
    """Share of frames after the last true one that are claimed, and of true ones that are called lost."""
    tracker, claimed, missed = siammask_s(found_above=found_above), [], []
    for sample in samples:
        tubes: list[Tube] = []
        run_clip(sample, tracker, CONFIG, look=tubes.append)
        seen = np.asarray(np.isfinite(sample.quads).all(axis=(1, 2)))
        gone = np.arange(len(seen)) > np.flatnonzero(seen)[-1]
        claimed.append(~tubes[0].lost[gone])
        missed.append(tubes[0].lost[seen])
    return float(np.concatenate(claimed).mean()), float(np.concatenate(missed).mean())


def print_quads(group: str, samples: Iterable[TrackingSample]) -> None:
    """A line a way to make a quad."""
    ways = {
        "bound: rectangle around the true pixels": with_quads(around_pixels),
        "bound: true upright box": with_quads(upright),
        "bound: first box, never moved": with_quads(still),
        "siammask-s, rectangle around its outline": tracked(siammask_s(min_confidence=ALWAYS)),
        "siammask-s, upright box": tracked(siammask_s(min_confidence=NEVER)),
        "siammask-s, by the preset's rule": tracked(siammask_s()),
    }
    figures: dict[str, list[float | None]] = {way: [] for way in ways}
    for sample in samples:
        for way, figure in ways.items():
            figures[way].append(figure(sample))
    for way, values in figures.items():
        known = [value for value in values if value is not None]
        print(f"{group:6} {way:42} grid IoU {np.mean(known):.3f} of {len(known)}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dives", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=Path, help="folder of clips with ground truth")
    parser.add_argument("--found-above", type=float, nargs="*", default=[0.05, 0.3])
    options = parser.parse_args()
    if options.dives:
        samples = list(dives(options.dives, options.seed))
        print_quads("dives", samples)
        for found_above in options.found_above:
            claimed, missed = losses(samples, found_above)
            print(f"found again from {found_above}: claimed after the end {claimed:.3f}, lost while seen {missed:.3f}")
    if options.clips:
        print_quads("clips", real(options.clips))


if __name__ == "__main__":
    main()
