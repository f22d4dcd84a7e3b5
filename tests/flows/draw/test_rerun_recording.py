"""`tubeflow inspect --rerun`: what Rerun's own reader finds in the file is what the workspace holds."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rerun.chunk import RrdReader

from data_catalog.catalog import CatalogError, Workspace
from flows.cli.main import app
from flows.draw.rerun_recording import write_recording
from flows.runs.clip_tube import find_clip
from tests.support.tiny_workspace import DATASET

CLIP = "diving_0000"


def columns(path: Path) -> dict[str, dict[str, list[Any]]]:
    """Entity → column → values in the order of the frames."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for chunk in RrdReader(str(path)).stream().to_chunks():
        rows.setdefault(chunk.entity_path, []).extend(
            row for row in chunk.to_record_batch().to_pylist() if "frame" in row
        )
    found = {}
    for entity, kept in rows.items():
        kept.sort(key=lambda row: row["frame"])
        found[entity] = {name: [row.get(name) for row in kept] for name in {name for row in kept for name in row}}
    return found


def grid(values: list[Any], dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels of images (n, rows, columns)."""
    return np.stack([np.frombuffer(bytes(value[0]), dtype).reshape(shape) for value in values])


def test_what_the_file_holds_is_what_the_workspace_holds(finished_workspace: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.rrd"
    words = ["inspect", CLIP, "--dataset", DATASET, "--rerun", path, "--out", tmp_path, "-w", finished_workspace]
    app([str(word) for word in words], standalone_mode=False)
    tube, _, config = find_clip(Workspace(finished_workspace), CLIP, DATASET, None, [])
    view, length = tube.view, len(tube.view.frames)
    found = columns(path)

    frames = found["/clip/frame"]
    assert frames["frame"] == list(range(length))
    shown = np.asarray(Image.open(io.BytesIO(bytes(frames["EncodedImage:blob"][3][0]))).convert("RGB"), int)
    assert shown.shape == view.frames[3].shape
    assert np.abs(shown - view.frames[3]).mean() < 6  # JPEG

    quads = np.array([strips[0][:4] for strips in found["/clip/quads/0"]["LineStrips2D:strips"]])
    np.testing.assert_allclose(quads, view.quads[0], atol=1e-4)
    cells = view.coverage.shape[1:]
    np.testing.assert_allclose(
        grid(found["/grid/coverage"]["DepthImage:buffer"], np.float32, cells), view.coverage, atol=1e-6
    )
    selected = grid(found["/grid/selected"]["SegmentationImage:buffer"], np.uint8, cells)
    np.testing.assert_array_equal(selected, view.coverage >= config.masks.tau)
    for segment, start in enumerate(config.masks.starts):  # 16 frames of 4 steps each
        found_mask = found[f"/grid/mask/{segment}"]
        assert found_mask["frame"] == [start, start + 4, start + 8, start + 12]
        masks = grid(found_mask["SegmentationImage:buffer"], np.uint8, cells)
        np.testing.assert_array_equal(masks, tube.mask[segment])
    assert view.tracker_scores is not None
    scores = [value[0] for value in found["/score/tracker/0"]["Scalars:scalars"]]
    np.testing.assert_allclose(scores, view.tracker_scores[0], atol=1e-6)
    assert "/clip/truth/0" in found


def test_without_rerun_it_is_one_sentence(
    finished_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    tube, _, _ = find_clip(Workspace(finished_workspace), CLIP, DATASET, None, [])
    with pytest.raises(CatalogError, match=r'needs the package rerun-sdk: pip install "tubeflow\[rerun\]"\.'):
        write_recording(tube.view, tube.mask, (0, 8), tmp_path / "x.rrd", 16, 25.0)
    assert not (tmp_path / "x.rrd").exists()
