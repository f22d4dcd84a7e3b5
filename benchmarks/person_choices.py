"""What the numbers of a tracker of filmed people were chosen by: each of them changed alone, on clips it hasn't seen.

    python -m benchmarks.person_choices WEIGHTS --clips FOLDER [--dives 4] [--seed 4321]

WEIGHTS is what `tubeflow pretrain tracker --footage` made without the clips of the folders, any that `tubeflow tracks
evaluate` reads; `--dives` adds that many procedural ones. All are given the first true box and brought to 103 frames of
455 x 256. A line for each alternative, and in it the mean over clips of what `tracks evaluate` has: IoU, grid IoU, that
of the tracker's own masks where true ones are there, and the share of frames that are called lost.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.siammask_choices import CONFIG, dives, real
from models.trackers.siammask.person.person_search import PersonSearch, PersonSettings
from models.trackers.siammask.tracker import SiamMaskTracker
from tasks.assessment.one_pass import TrackingSample, run_clip

ALTERNATIVES: dict[str, tuple[Any, ...]] = {
    "penalty": (0.0, 0.2),
    "window": (0.25, 0.45),
    "rate": (0.4, 0.8, 1.0),
    "alike": (0.8, 1.0),
    "tighter": (0.0, 0.7),          # never the rectangle around the outline; where it is much the tighter one
    "agreement": (0.2, 0.6),
    "mask_threshold": (0.2, 0.5),
    "lost_below": (0.0, 0.05),
    "found_above": (0.1, 0.5),
}


def settings_tried() -> Iterator[tuple[str, PersonSettings]]:
    """What is kept, then each alternative to it."""
    kept = PersonSettings()
    yield "as kept", kept
    for name, values in ALTERNATIVES.items():
        for value in values:
            yield f"{name} {value:g} for {getattr(kept, name):g}", replace(kept, **{name: value})


def measured(tracker: SiamMaskTracker, samples: list[TrackingSample]) -> list[float]:
    """Means over clips: IoU, grid IoU, IoU of masks, share of frames called lost."""
    rows = []
    for sample in samples:
        figures = run_clip(sample, tracker, CONFIG).figures
        values = (figures.overlap, figures.grid, figures.mask_grid, figures.lost)
        rows.append([np.nan if value is None else value for value in values])
    return [float(np.nanmean(column)) if np.isfinite(column).any() else np.nan for column in np.transpose(rows)]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="folders of clips with ground truth")
    parser.add_argument("--dives", type=int, default=0)
    parser.add_argument("--seed", type=int, default=4321)
    options = parser.parse_args()
    groups = {
        "clips": [sample for folder in options.clips for sample in real(folder)],
        "dives": list(dives(options.dives, options.seed)) if options.dives else [],
    }
    tracker = SiamMaskTracker([options.weights])
    search = tracker.search
    if not isinstance(search, PersonSearch):
        parser.error(f"{options.weights} is not of the form that `tubeflow pretrain tracker --footage` makes")
    for group, samples in groups.items():
        if not samples:
            continue
        print(f"\n| {len(samples)} {group} | IoU | grid | masks | lost |\n|---|--:|--:|--:|--:|", flush=True)
        for says, settings in settings_tried():
            tracker.search = replace(search, settings=settings)
            figures = " | ".join(f"{value:.3f}" for value in measured(tracker, samples))
            print(f"| {says} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
