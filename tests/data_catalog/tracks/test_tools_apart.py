"""Files that Datumaro (of CVAT's authors), Label Studio's SDK and FiftyOne wrote, and what these read of ours.

They want other versions of NumPy, pandas and Pillow than Tubeflow, so they get an environment of their own, made by
name from the package index; tests/data/tracks/with_other_tools.py runs there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uv import find_uv_bin

from data_catalog.tracks.formats import read_videos, write_videos
from data_catalog.tracks.video_tracks import quad_boxes
from tests.data_catalog.tracks.test_formats import turned_clip, upright_clip
from tests.support import REPO

PACKAGES = ("datumaro>=1.13,<2", "label-studio-sdk>=2.1,<3", "fiftyone>=1.22,<2")
SCRIPT = REPO / "tests" / "data" / "tracks" / "with_other_tools.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def call(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, timeout=800)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("apart")
    clips = [upright_clip(), turned_clip()]
    for style in ("cvat_xml", "mot", "fiftyone"):
        write_videos(made / "ours" / style, clips, style)
    write_videos(made / "ours" / "cvat_one", clips[1:], "cvat_xml", "polygon")  # it merges the frames of two files
    write_videos(made / "ours" / "label_studio.json", clips, "label_studio", "polygon")
    call(find_uv_bin(), "venv", "--quiet", "--python", sys.executable, made / "venv")
    python = made / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    try:
        call(find_uv_bin(), "pip", "install", "--quiet", "--python", python, *PACKAGES)
    except subprocess.CalledProcessError:
        pytest.skip(f"{', '.join(PACKAGES)} can't be installed here: no package index, or no wheels of theirs")
    call(python, SCRIPT, made)
    return made


@pytest.fixture(scope="module")
def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "read.json").read_text())
    return found


def boxes_of(rows: list[list[Any]], first: int) -> dict[tuple[int, int], list[float]]:
    """(Frame from 0, target) → numbers, out of rows of a frame's name or number, a target and numbers."""
    frames = [int(Path(str(row[0])).stem.rpartition("_")[2]) - first for row in rows]
    return {(frame, row[1]): row[2:] for frame, row in zip(frames, rows, strict=True)}


def test_datumaros_cvat_is_read(folder: Path) -> None:
    (clip,) = read_videos(folder / "theirs" / "cvat", "cvat_xml")
    assert (clip.labels, clip.frame_wh, clip.quads.shape[1]) == (("athlete", "coach"), (160, 120), 6)
    t = np.arange(6)
    np.testing.assert_allclose(clip.quads[0].mean(axis=1), np.stack([50 + t, np.full(6, 40)], axis=1))
    upper = clip.quads[0, :, 1] - clip.quads[0, :, 0]
    np.testing.assert_allclose(np.rad2deg(np.arctan2(upper[:, 1], upper[:, 0])), 10 * t, atol=1e-9)
    assert clip.drawn is not None
    assert np.flatnonzero(clip.drawn).tolist() == [0, 2, 3, 4, 5]
    assert np.flatnonzero(clip.present[1]).tolist() == [2, 3, 4]
    np.testing.assert_allclose(quad_boxes(clip.quads[1, 3]), [100, 23, 20.5, 30.25])


def test_datumaros_motchallenge_is_read_from_pixel_zero(folder: Path) -> None:
    (clip,) = read_videos(folder / "theirs" / "mot", "mot")
    assert (clip.name, clip.labels) == ("dive", ("athlete",))
    np.testing.assert_allclose(quad_boxes(clip.quads[0]), [[10 + 2 * t, 20, 30, 40.5] for t in range(6)])


def test_datumaro_reads_ours(read: dict[str, Any]) -> None:
    turned = boxes_of(read["datumaro_cvat"], 0)
    t = np.arange(30)
    # What turned_clip says: centre, size, degrees.
    expected = np.stack([80 + 2 * t, 125 + t, 40 + 0 * t, 90 + 0 * t, (24 * t + 5) % 360], axis=1)
    np.testing.assert_allclose([turned[frame, 0] for frame in t.tolist()], expected, atol=0.011)
    upright = boxes_of(read["datumaro_mot"], 1)
    clip = upright_clip()
    assert upright.keys() == {(frame, target + 1) for target, frame in np.argwhere(clip.present).tolist()}
    for (frame, target), numbers in upright.items():
        x, y, width, height = quad_boxes(clip.quads[target - 1, frame])
        np.testing.assert_allclose(numbers, [x + 1, y + 1, x + width + 1, y + height + 1], atol=1e-3)


def test_label_studio_takes_ours_and_its_json_min_is_read(folder: Path, read: dict[str, Any]) -> None:
    assert read["label_studio_errors"] == [[], []]
    found = read_videos(folder / "theirs" / "json_min" / "result.json", "label_studio", (320, 240))
    for clip, back in zip((upright_clip(), turned_clip()), found, strict=True):
        assert (back.name, back.labels) == (clip.name, clip.labels)
        np.testing.assert_allclose(back.quads.mean(axis=2), clip.quads.mean(axis=2), atol=0.01)


def test_fiftyone_reads_ours(read: dict[str, Any]) -> None:
    clip = upright_clip()
    there = {(frame, target) for target, frame in np.argwhere(clip.present).tolist()}
    low, high = clip.quads.min(axis=2), clip.quads.max(axis=2)
    cvat, own = boxes_of(read["fiftyone"]["cvat"], 0), boxes_of(read["fiftyone"]["own"], 1)
    assert cvat.keys() == there
    assert own.keys() == {(frame, target + 1) for frame, target in there}
    for frame, target in there:
        corners = np.concatenate([low[target, frame], high[target, frame]])
        np.testing.assert_allclose(cvat[frame, target], corners, atol=0.51)  # to whole pixels
        np.testing.assert_allclose(own[frame, target + 1], corners / np.tile([320, 240], 2), atol=1e-6)
