"""A dataset's tubes against its ground truth, where it has one: measured once a tube, remembered in the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from data_catalog.catalog import Workspace
from data_catalog.datasets.procedural_folder import ground_truth_file
from data_catalog.errors import DatasetError
from data_catalog.store import Store
from flows.stages import planned_config
from tasks.assessment.truth import read_truth
from tasks.assessment.truth_figures import MEASURE_VERSION, TruthFigures, compare_with_truth
from tasks.engine.job import Job
from tasks.engine.plan import StagePlan
from tasks.masks import MasksConfig

THREADS = 4  # reading a clip's truth is unpacking and disk; NumPy lets go of the interpreter for most of the rest
NEEDED = ("normalize", "track", "masks")
Plans = Mapping[str, StagePlan]


def against_truth(workspace: Workspace, dataset: str, plans: Plans) -> dict[str, TruthFigures]:
    """Clip → figures, for every clip that has tubes and a known truth; empty for datasets without ground truth.

    Raises:
        ArtifactDamaged, FileNotFoundError: an artifact that the plan counts on can't be read.
    """
    info = workspace.datasets.info(dataset)
    if not info.procedural or not set(NEEDED) <= plans.keys():
        return {}
    names = _names(workspace.store, Path(info.root), plans)
    known = workspace.tube_truth.read() if names else {}
    figures = {clip: TruthFigures(**known[name]) for clip, name in names.items() if name in known}
    todo = [clip for clip in names if clip not in figures]
    masks = planned_config(plans, "masks", MasksConfig)

    def measured(clip: str) -> TruthFigures | None:
        jobs = {name: plans[name].jobs[clip] for name in NEEDED}
        return _measure(workspace.store, Path(info.root), clip, jobs, masks)

    with ThreadPoolExecutor(THREADS) as pool:
        new = {clip: found for clip, found in zip(todo, pool.map(measured, todo), strict=True) if found is not None}
    there = workspace.store.scan("masks") if new else {}
    workspace.tube_truth.add(
        {names[clip]: asdict(found) for clip, found in new.items()}, keep=lambda name: name.split(":")[0] in there
    )
    return {clip: (figures | new)[clip] for clip in names if clip in figures or clip in new}


def _names(store: Store, root: Path, plans: Plans) -> dict[str, str]:
    """Clip → what decides its figures: the masks artifact (which stands on the track's), the truth's file, the version.

    Only clips whose three artifacts are there, and whose truth is.
    """
    there = {name: store.scan(name) for name in NEEDED}
    names = {}
    for clip, masks in plans["masks"].jobs.items():
        jobs = [plans[name].jobs.get(clip) for name in NEEDED]
        if any(job is None or job.key not in there[job.stage] for job in jobs):
            continue
        try:
            stat = ground_truth_file(root, clip).stat()
        except (DatasetError, OSError):
            continue
        names[clip] = f"{masks.key}:{stat.st_size}:{stat.st_mtime_ns}:{MEASURE_VERSION}"
    return names


def _measure(
    store: Store, root: Path, clip: str, jobs: Mapping[str, Job], config: MasksConfig
) -> TruthFigures | None:
    """None where the truth can't be read. Raises ArtifactDamaged, FileNotFoundError where an artifact can't be."""
    source = store.read("normalize", jobs["normalize"].key, ["source_index"])
    track = store.read("track", jobs["track"].key, ["quads", "lost"])
    masks = store.read("masks", jobs["masks"].key, ["coverage", "mask"])
    index = source.arrays["source_index"]
    try:
        truth = read_truth(root, clip, index, source.attrs, with_masks=config.source == "mask")
    except (DatasetError, OSError, ValueError):
        return None
    frame_wh = int(source.attrs["width"]), int(source.attrs["height"])
    arrays = {**track.arrays, **masks.arrays}
    return compare_with_truth(
        arrays["quads"], arrays["coverage"], arrays["mask"], arrays["lost"], truth, frame_wh, config
    )
