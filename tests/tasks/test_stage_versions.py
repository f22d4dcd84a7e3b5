"""A core whose output changes must raise its STAGE_VERSION, or old artifacts would pass for new ones.

A fixed clip goes through every stage, and what comes out is compared with `stage_outputs.json`: names, types and
shapes exactly, values at a few places of each array within a tolerance. The tolerance is there because the same
version may differ a little between machines (JPEG, OpenCV and torch builds round differently; a bit-exact digest would
fail on the next machine and be switched off); it is far below what any change of meaning makes. After raising a
version: `TUBEFLOW_RECORD=1 pytest tests/tasks/test_stage_versions.py`, and look at the difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data_catalog.catalog import Workspace
from data_catalog.media.frame_codec import decode_frames
from data_catalog.store import Store
from flows.datasets.ingest import ingest
from flows.stages import CLIP_STAGES, DATASET_STAGES, IN_ORDER
from models.geometry import quads as geometry
from tasks import features, masks, normalize, pack
from tests.support.fixed_clip import write_clips
from tests.support.tiny_workspace import run, tiny_config

RECORD = Path(__file__).with_name("stage_outputs.json")
PLACES = 60
VERSIONS = {stage.name: stage.version for stage in (*CLIP_STAGES, features.STAGE, *DATASET_STAGES)}
# Said in full, so that a preset or a default may change without any core having changed.
OVERRIDES = (
    "normalize.window=uniform", "normalize.jpeg_quality=95", "detect.detector=annotation", "track.tracker=mil",
    "masks.tau=0.5", "masks.grid=[14, 14]", "masks.segment_length=16", "masks.stride=4", "masks.geometry=paper",
    "pack.input_size=112", "pack.compression=none", "model.backbone=i3d_small", "model.attention=tsa",
    "model.stacks=1", "model.head=regression", "model.head_options={}", "model.compat=paper", "train.epochs=1",
    "train.seed=0", "train.lr=0.001", "train.weight_decay=0.00001", "train.schedule=constant", "train.flip=0",
    "train.shift=[0, 0]", "train.eval_shift=0", "train.score_range=all", "train.difficulty=false",
    "train.accumulate=1", "train.validation=0", "train.freeze_batchnorm=false", "train.clip_gradient=",
    "evaluate.splits=[test]",
)  # fmt: skip
# Greatest difference that another machine may make: grey levels, pixels, shares of a cell, network values.
TOLERANCE = {
    "normalize": 3.0, "detect": 0.01, "track": 1.5, "masks": 0.05, "features": 0.05, "pack": 4.0, "train": 0.02,
    "evaluate": 0.5,
}  # fmt: skip
Values = dict[str, Any]


def places(array: np.ndarray) -> list[float | None]:
    """Values at places spread evenly over an array."""
    flat = array.ravel().astype(np.float64)
    chosen = flat[np.linspace(0, len(flat) - 1, PLACES).astype(int)] if len(flat) else flat
    return [None if np.isnan(value) else round(float(value), 4) for value in chosen]


def described(arrays: dict[str, np.ndarray]) -> Values:
    """What is compared of each array; of text (metrics, history) only that it is there."""
    found: Values = {}
    for name, array in sorted(arrays.items()):
        if array.dtype == object:
            found[name] = {"type": "text", "shape": list(array.shape)}
            continue
        found[name] = {"type": str(array.dtype), "shape": list(array.shape), "values": places(array)}
    return found


def outputs(store: Store) -> dict[str, Values]:
    """Stage → arrays of its first clip's artifact, frames decoded."""
    found: dict[str, Values] = {}
    for stage in IN_ORDER:
        kept = {}
        for key in store.scan(stage):
            artifact = store.read(stage, key)
            arrays = dict(artifact.arrays)
            if stage == "normalize":
                arrays = {"frames": decode_frames(arrays)[::6, ::16, ::16], "source_index": arrays["source_index"]}
            if stage == "train":
                arrays = {name: array for name, array in arrays.items() if name.startswith("last/")}
                arrays = {name: arrays[name] for name in sorted(arrays)[:: max(1, len(arrays) // 8)]}
            kept[artifact.lineage.clip_id] = arrays
        found[stage] = described(kept[sorted(kept)[0]])
    return found


def differences(stage: str, expected: Values, found: Values) -> Iterator[str]:
    if expected.keys() != found.keys():
        yield f"arrays {sorted(expected.keys() ^ found.keys())}"
        return
    for name, old in expected.items():
        new = found[name]
        if (old["type"], old["shape"]) != (new["type"], new["shape"]):
            yield f"{name}: {old['type']} {old['shape']} → {new['type']} {new['shape']}"
        elif "values" in old:
            before, now = np.array(old["values"], float), np.array(new["values"], float)
            far = np.where(np.isnan(before) & np.isnan(now), 0.0, np.nan_to_num(np.abs(before - now), nan=np.inf))
            exact = old["type"].startswith(("int", "bool")) and stage not in ("masks", "pack")
            limit = 0.0 if exact else 0.5 if old["type"] == "bool" else TOLERANCE[stage]
            # One cell of a mask may tip at tau; more may not.
            if np.sum(far > limit) > (1 if stage in ("masks", "pack") else 0):
                yield f"{name}: differs by up to {far.max():.4g}"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Values]:
    folder = tmp_path_factory.mktemp("fixed")
    workspace = Workspace.open(folder / "w")
    ingest(workspace, "tiny", "folder", write_clips(folder / "clips"))
    assert run(workspace.root, *OVERRIDES).failures == []
    assert run(workspace.root, *OVERRIDES, "features.mode=cut", selected=["features"]).failures == []
    made = outputs(Workspace(workspace.root).store)
    if os.environ.get("TUBEFLOW_RECORD"):
        record = {stage: {"version": VERSIONS[stage], "arrays": made[stage]} for stage in IN_ORDER}
        RECORD.write_text(json.dumps(record) + "\n")
    return made


@pytest.mark.parametrize("stage", IN_ORDER)
def test_the_output_is_that_of_the_version(found: dict[str, Values], stage: str) -> None:
    record = json.loads(RECORD.read_text())[stage]
    assert record["version"] == VERSIONS[stage], (
        f"{stage} has a new version: record its outputs with TUBEFLOW_RECORD=1, and look at the difference"
    )
    changed = list(differences(stage, record["arrays"], found[stage]))
    assert not changed, f"raise STAGE_VERSION of tasks/{stage}.py (and record again): {changed}"


@pytest.mark.parametrize(
    ("stage", "name", "change"),
    [
        ("normalize", "frames", lambda values: [value + 4 for value in values]),
        ("normalize", "source_index", lambda values: [*values[:-1], values[-1] + 1]),
        ("track", "quads", lambda values: [value + 2 for value in values]),
        ("masks", "coverage", lambda values: [min(1.0, value * 1.2 + 0.06) for value in values]),
        ("features", "features", lambda values: [value + 0.1 for value in values]),
        ("evaluate", "predictions/predicted", lambda values: [value + 1 for value in values]),
        ("train", None, lambda values: [value * 1.5 + 0.05 for value in values]),
    ],
)
def test_a_change_of_meaning_is_noticed(found: dict[str, Values], stage: str, name: str | None, change: Any) -> None:
    changed = json.loads(json.dumps(found[stage]))
    for array in [name] if name else list(changed):
        changed[array]["values"] = change(changed[array]["values"])
    assert list(differences(stage, found[stage], changed))
    assert list(differences(stage, found[stage], found[stage])) == []


def test_real_changes_of_cores_are_noticed(found: dict[str, Values], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three one-line changes that somebody might make without thinking of the version."""
    quads = np.array([[[40.0, 40], [90, 40], [90, 110], [40, 110]]] * 24, np.float32)[None]
    settings = tiny_config().masks
    before = masks.build_masks(quads, (228, 128), settings)
    monkeypatch.setattr(masks, "quads_to_crop", lambda quads, wh, crop: geometry.quads_to_crop(quads, wh, crop) + 1)
    after = masks.build_masks(quads, (228, 128), settings)
    assert list(differences("masks", described(dict(before)), described(dict(after))))

    index = normalize.select_frames(0, 30, 24, "uniform")
    rounded = np.round((np.arange(24) + 0.5) * 30 / 24).astype(np.int64).clip(0, 29)  # another rule for the same thing
    assert list(differences("normalize", described({"i": index}), described({"i": rounded})))

    picture = np.kron(np.indices((12, 12)).sum(0) % 2, np.ones((10, 10)))[None, :, :, None].repeat(3, 3) * 255
    sharp = pack.network_frames(picture.astype(np.uint8), 112, 70)
    monkeypatch.setattr(cv2, "INTER_AREA", cv2.INTER_NEAREST)
    nearest = pack.network_frames(picture.astype(np.uint8), 112, 70)
    assert list(differences("pack", described({"f": sharp}), described({"f": nearest})))
