"""`masks.source=mask` through the engine: a tracker's masks become tubes; a tracker without any is one sentence."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from data_catalog.catalog import Workspace
from flows.config import ConfigError, load_config
from models.trackers import TRACKERS, FrameLoopTracker, TrackerEntry, TrackStep
from models.trackers.base import rectangle
from tests.support.tiny_workspace import copy_workspace, plan, run


class Ellipses(FrameLoopTracker):
    """Stays where it began; its mask is the ellipse inside the box. `seen`: whether it draws any."""

    seen = True

    def __init__(self, files: list[Path], device: str) -> None:
        self._box = np.zeros(4)

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        self._box = np.asarray(box, np.float64)

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        x1, y1, x2, y2 = self._box
        rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]] + 0.5
        inside = ((2 * columns - x1 - x2) / (x2 - x1)) ** 2 + ((2 * rows - y1 - y2) / (y2 - y1)) ** 2 < 1
        return TrackStep(rectangle(self._box), 0.9, mask=inside if self.seen else None)


class Blind(Ellipses):
    """Says that it returns masks, and returns none."""

    seen = False


@pytest.fixture
def copied(finished_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("Ellipses", "Blind"):
        monkeypatch.setitem(TRACKERS, name.lower(), TrackerEntry(f"{__name__}:{name}", segments=True))
    return copy_workspace(finished_workspace, tmp_path / "w")


def test_tubes_of_masks_are_smaller_than_those_of_their_boxes(copied: Path) -> None:
    upto = ("normalize", "detect", "track", "masks")
    change = ("track.tracker=ellipses", "masks.source=mask", "masks.tau=0.01")
    summary = run(copied, *change, selected=upto)
    assert (summary.failures, summary.stages["masks"].computed) == ([], 4)
    boxed = (*change[:1], "masks.source=quad", *change[2:])
    assert run(copied, *boxed, selected=upto).stages["track"].computed == 0
    store = Workspace(copied).store
    shares = []
    for clip, job in plan(copied, *change)["masks"].jobs.items():
        by_mask = store.read("masks", job.key)
        by_quad = store.read("masks", plan(copied, *boxed)["masks"].jobs[clip].key)
        assert by_mask.attrs["frames_by_quad"] == 1
        assert "frames_by_quad" not in by_quad.attrs
        np.testing.assert_array_equal(by_mask.arrays["coverage"][0], by_quad.arrays["coverage"][0])
        shares.append(by_mask.arrays["coverage"][1:].sum() / by_quad.arrays["coverage"][1:].sum())
    assert np.mean(shares) == pytest.approx(np.pi / 4, abs=0.05)


def test_a_tracker_that_gives_no_mask_is_one_sentence_a_clip(copied: Path) -> None:
    upto = ("normalize", "detect", "track", "masks")
    summary = run(copied, "track.tracker=blind", "masks.source=mask", selected=upto)
    assert len(summary.quarantined) == 4
    row = summary.quarantined[0]
    expected = f"masks.source is mask, and the tracker gave no mask in any frame of clip '{row.clip_id}'."
    assert (row.stage, row.reason) == ("masks", expected)
    assert row.remedy == "Set masks.source=quad, or a track.tracker that segments: siammask or sam2."


@pytest.mark.parametrize("tracker", ["mil", "nano", "vit", "published"])
def test_trackers_of_boxes_are_told_before_anything_runs(tracker: str) -> None:
    with pytest.raises(ConfigError, match=f"and {tracker} returns none; set track.tracker to .*siammask") as caught:
        load_config("folder", ["masks.source=mask", f"track.tracker={tracker}"])
    assert "\n" not in str(caught.value)
