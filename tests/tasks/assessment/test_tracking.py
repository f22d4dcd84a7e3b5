"""One-Pass Evaluation on drawn clips, where the right answer is known."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data_catalog.tracks.benchmarks import TrackingClip, box_corners, find_tracking_clips
from models.trackers import TrackStep, Tube
from models.trackers.base import FrameLoopTracker, rectangle
from tasks.assessment.one_pass import EvaluationConfig, existing_tube, jittered, load_sample, measure_tube, run_clip

COUNT = 8
CONFIG = EvaluationConfig(length=6, size_wh=(80, 60))


class Sees(FrameLoopTracker):
    """Finds the white square; `late` frames behind."""

    def __init__(self, late: int = 0) -> None:
        self.late = late

    def init(self, frame, box) -> None:
        self.started_from = np.asarray(box, float)
        self.seen: list[np.ndarray] = [self.started_from]

    def update(self, frame) -> TrackStep:
        y, x = np.nonzero(frame[..., 0] > 128)
        self.seen.append(np.asarray([x.min(), y.min(), x.max() + 1, y.max() + 1], float))
        return TrackStep(rectangle(self.seen[max(len(self.seen) - 1 - self.late, 0)]), 1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """160 x 120 px; a square of 40 px moves by 8 px a frame. Its mask is returned too."""
    (tmp_path / "square").mkdir()
    rows, masks = ["frame,x,y,w,h"], np.zeros((COUNT, 120, 160), bool)
    for k in range(COUNT):
        frame = np.zeros((120, 160, 3), np.uint8)
        frame[40:80, 20 + 8 * k : 60 + 8 * k] = 255
        masks[k] = frame[..., 0] > 0
        cv2.imwrite(str(tmp_path / "square" / f"{k:03d}.png"), frame)
        rows.append(f"{k},{20 + 8 * k},40,40,40")
    (tmp_path / "square_gt.csv").write_text("\n".join(rows) + "\n")
    np.savez(tmp_path / "square_mask.npz", bits=np.packbits(masks, axis=-1), shape=masks.shape)
    return tmp_path


def test_a_perfect_tracker(folder):
    [clip] = find_tracking_clips(folder)
    sample = load_sample(clip, CONFIG)
    assert sample.frames.shape == (6, 60, 80, 3)
    np.testing.assert_array_equal(sample.boxes[:, 0], [20, 28, 44, 52, 68, 76])   # frames 0 1 3 4 6 7
    figures = run_clip(sample, Sees(), CONFIG).figures
    assert figures.overlap == pytest.approx(1)
    assert figures.rotated == pytest.approx(1)
    assert figures.grid == figures.grid_mask == 1
    assert figures.precision20 == 1
    assert figures.mask_grid is None
    assert figures.lost == 0


def test_a_late_tracker_is_measured_in_pixels_of_the_source(folder):
    [clip] = find_tracking_clips(folder)
    sample = load_sample(clip, EvaluationConfig(length=COUNT, size_wh=(80, 60)))
    result = run_clip(sample, Sees(late=1), CONFIG)
    # 8 of 40 px behind: 32 / 48 of the area are shared, in all frames but the first.
    assert result.figures.overlap == pytest.approx((1 + 7 * 32 / 48) / 8)
    assert result.curves.precision[7] == pytest.approx(1 / 8)
    assert result.curves.precision[8] == 1
    np.testing.assert_allclose(result.quads[2], box_corners(np.asarray([[28.0, 40, 40, 40]]))[0])


def test_it_begins_where_the_target_is_first_seen(folder):
    [clip] = find_tracking_clips(folder)
    boxes, quads = clip.boxes.copy(), clip.quads.copy()
    boxes[:2], quads[:2] = np.nan, np.nan
    boxes[5], quads[5] = np.nan, np.nan
    later = TrackingClip("later", clip.source, boxes, quads)
    sample = load_sample(later, EvaluationConfig(length=6, size_wh=None))
    assert sample.boxes[0].tolist() == [36, 40, 40, 40]
    assert "out_of_view" in sample.attributes
    figures = run_clip(sample, Sees(), CONFIG).figures
    assert figures.overlap == pytest.approx(1)
    assert figures.auc == pytest.approx(20 / 21 * 5 / 6)   # the toolkit divides by all frames


def test_the_trackers_own_masks_count_where_it_has_them(folder):
    [clip] = find_tracking_clips(folder)
    sample = load_sample(clip, EvaluationConfig(length=COUNT, size_wh=None))
    quads = box_corners(clip.boxes).astype(np.float32)
    half = [mask & (np.arange(160) % 2 == 0) for mask in clip.read_masks()]
    tube = Tube(quads, np.ones(COUNT, np.float32), np.zeros(COUNT, bool), [None, *clip.read_masks()[1:]])
    assert measure_tube(sample, tube).figures.mask_grid == 1
    thin = Tube(quads, np.ones(COUNT, np.float32), np.zeros(COUNT, bool), [None, *half[1:]])
    assert measure_tube(sample, thin).figures.mask_grid < 1
    # Lost from frame 4 on, with the last quad: the quad's cells stand in, so both sources then agree.
    kept = np.where(np.arange(COUNT)[:, None, None] < 4, quads, quads[3])
    shown = [None, *clip.read_masks()[1:4], None, np.zeros((120, 160), bool), None, None]
    lost = measure_tube(sample, Tube(kept, np.ones(COUNT, np.float32), np.arange(COUNT) > 3, shown)).figures
    assert lost.mask_grid == pytest.approx(lost.grid_mask)
    assert 0.4 < lost.mask_grid < 1


def test_jitter_moves_the_first_box_only_so_far(folder):
    box = np.asarray([20.0, 40, 40, 30])
    rng = np.random.default_rng(1)
    moved = np.stack([jittered(box, rng) for _ in range(200)])
    centres = moved[:, :2] + moved[:, 2:] / 2 - (box[:2] + box[2:] / 2)
    assert np.abs(centres / box[2:]).max() <= 0.05
    assert np.abs(moved[:, 2:] / box[2:] - 1).max() <= 0.08
    assert np.abs(moved[:, 2:] / box[2:] - 1).max() > 0.07
    [clip] = find_tracking_clips(folder)
    config = EvaluationConfig(length=6, jitter_runs=3)
    figures = run_clip(load_sample(clip, config), Sees(), config).figures
    assert figures.jitter.keys() == {"auc", "overlap", "rotated", "grid", "grid_mask"}   # no masks of its own
    assert [len(runs) for runs in figures.jitter.values()] == [3] * 5
    assert all(0.9 < value < 1 for value in figures.jitter["overlap"])


def test_truth_of_another_video_is_refused(folder):
    [clip] = find_tracking_clips(folder)
    other = TrackingClip("other", clip.source, clip.boxes[:5], clip.quads[:5])
    with pytest.raises(ValueError, match="'other' has 8 frames and ground truth for 5"):
        load_sample(other, CONFIG)
    nothing = TrackingClip("nothing", clip.source, clip.boxes * np.nan, clip.quads)
    with pytest.raises(ValueError, match="no true box in any frame"):
        load_sample(nothing, CONFIG)
    sample = load_sample(clip, CONFIG)
    with pytest.raises(ValueError, match="has 8 frames for clip 'square', evaluated are 6"):
        existing_tube(sample, clip.quads.astype(np.float32), np.zeros(8, bool), Path("theirs"))
