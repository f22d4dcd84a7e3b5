"""SiamMask as a tracker: targets that leave and come back, several at a time, wrong files. Numbers: tests/golden."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.geometry import polygon_iou
from models.trackers import ManyTracker, build_tracker
from models.trackers.siammask import NEVER_LOST, PRESETS, LostSettings, SiamMask, SiamMaskTracker
from models.trackers.siammask.anchors import map_side
from models.trackers.siammask.network import Response, Template

SIDE = 30.0
HEIGHT, WIDTH = 240, 320


class SeesRed:
    """A network's stand-in that finds the middle of what is red, and draws a square there of the target's size."""

    def template(self, crop: Tensor) -> Template:
        nothing = crop.new_zeros(len(crop), 1, 1, 1)
        return Template(nothing, nothing, nothing)

    def search(self, crop: Tensor, template: Template) -> Response:
        side, middle = map_side(crop.shape[-1]), crop.shape[-1] // 2
        red = (crop[:, 2:] - crop[:, :2].amax(dim=1, keepdim=True)).clamp(min=0) / 255
        # A square of 65 px around every eighth pixel: 8 x 8 px first, then 8 x 8 of those.
        first = middle - 8 * (side // 2) - 32
        cells = functional.avg_pool2d(functional.pad(red, (-first,) * 4) if first < 0 else red[..., first:, first:], 8)
        spread = functional.avg_pool2d(cells, 8, 1)[..., :side, :side]
        logits = 8 * (spread - 0.6)
        cls = torch.full((len(crop), 10, side, side), -20.0)
        cls[:, :5], cls[:, 7:8] = 0, logits   # the third anchor is square, 64 x 64
        empty = crop.new_zeros(len(crop), 1, side, side)
        return Response(cls, torch.zeros(len(crop), 20, side, side), empty, None)

    def outline(self, response: Response, positions: Tensor) -> Tensor:
        square = torch.full((len(positions), 63, 63), -10.0)
        square[:, 16:47, 16:47] = 10
        return square


def draw(corners: list[tuple[float, float] | None], seed: int = 0) -> NDArray[np.uint8]:
    """Frames of grey noise with a red square whose upper left corner is given for each, or None where it is away."""
    grey = np.random.default_rng(seed).integers(60, 120, (HEIGHT, WIDTH, 1), np.uint8).repeat(3, axis=2)
    frames = np.stack([grey] * len(corners))
    for frame, corner in zip(frames, corners, strict=True):
        if corner is not None:
            x, y = (int(value) for value in corner)
            frame[max(y, 0) : y + int(SIDE), max(x, 0) : x + int(SIDE)] = (230, 0, 0)
    return frames


def box(corner: tuple[float, float]) -> NDArray[np.float32]:
    return np.asarray([corner[0], corner[1], corner[0] + SIDE, corner[1] + SIDE], np.float32)


def tracker(**lost: float) -> SiamMaskTracker:
    return SiamMaskTracker.around(SeesRed(), PRESETS["vot"], LostSettings(**lost))  # type: ignore[arg-type]


# 6 frames in sight, 5 away, then back 90 px from where it was last seen.
AWAY = slice(6, 11)
PATH = [*((40.0 + 5 * t, 100.0) for t in range(6)), *[None] * 5, *[(155.0, 100.0)] * 4]


def test_a_target_that_leaves_is_marked_and_found_again():
    [tube] = tracker().track(draw(PATH), box(PATH[0])[None])
    assert tube.lost.tolist() == [False] * 6 + [True] * 5 + [False] * 4
    for t in (*range(6), *range(11, 15)):
        corner = PATH[t]
        assert corner is not None
        x1, y1, x2, y2 = box(corner)
        assert polygon_iou(tube.quads[t], [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) > 0.7, f"frame {t}"
    for quad in tube.quads[AWAY]:
        np.testing.assert_array_equal(quad, tube.quads[5])
    assert (tube.scores[AWAY] < 0.5).all()
    assert (tube.scores[11:] > 0.8).all()
    assert tube.masks is not None
    assert [mask is None for mask in tube.masks] == [True, *[False] * 5, *[True] * 5, *[False] * 4]


def test_without_a_wider_search_it_stays_lost():
    [tube] = tracker(search_px=255).track(draw(PATH), box(PATH[0])[None])
    assert tube.lost[6:].all()


def test_a_half_seen_target_ends_no_loss():
    """Between the two thresholds: enough to stay found, too little to be found again."""
    [kept] = tracker(below=0.2, found_above=0.2).track(draw(PATH), box(PATH[0])[None])
    [wary] = tracker(found_above=0.999999).track(draw(PATH), box(PATH[0])[None])
    assert not kept.lost[11:].any()
    assert wary.lost[6:].all()


def test_athletes_in_one_clip_do_not_mix():
    """One of two is lost: the two then have crops of different sizes."""
    still = [(220.0, 40.0)] * len(PATH)
    frames = draw(PATH)
    frames[:, 40:70, 220:250] = (230, 0, 0)
    together = tracker().track(frames, np.stack([box(PATH[0]), box(still[0])]))
    apart = [tracker().track(frames, one[None])[0] for one in (box(PATH[0]), box(still[0]))]
    assert together[0].lost[AWAY].any()
    assert not together[1].lost.any()
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one.quads, other.quads, atol=1e-3)


def test_frame_by_frame_is_the_same_as_the_whole_clip():
    frames = draw(PATH)
    one = tracker()
    one.init(frames[0], box(PATH[0]))
    steps = [one.update(frame) for frame in frames[1:]]
    [tube] = tracker().track(frames, box(PATH[0])[None])
    np.testing.assert_array_equal(np.stack([step.quad for step in steps]), tube.quads[1:])
    assert [step.lost for step in steps] == tube.lost[1:].tolist()


def test_many_clips_of_any_size_and_length_and_a_bad_one():
    short = draw(PATH[:4], seed=1)[:, :200, :300]
    clips = [
        (draw(PATH), box(PATH[0])[None]),
        (short, box(PATH[0])[None]),
        (draw(PATH), np.asarray([[400, 10, 430, 40]], np.float32)),
        (draw(PATH, seed=2), np.zeros((0, 4), np.float32)),
    ]
    many = tracker()
    assert isinstance(many, ManyTracker)
    first, second, bad, nobody = many.track_many(clips)
    assert isinstance(bad, ValueError)
    assert "has less than 4 px" in str(bad)
    assert nobody == []
    for tubes, (frames, boxes) in zip((first, second), clips, strict=False):
        assert not isinstance(tubes, ValueError)
        [alone] = tracker().track(frames, boxes)
        np.testing.assert_allclose(tubes[0].quads, alone.quads, atol=1e-3)
        assert len(alone.quads) == len(frames)


def test_more_targets_than_fit_together(monkeypatch):
    monkeypatch.setattr("models.trackers.siammask.tracker.MAX_TOGETHER", 2)
    corners = [(20.0, 20.0), (120.0, 20.0), (220.0, 20.0), (20.0, 150.0), (220.0, 150.0)]
    frames = draw([None] * 3)
    for x, y in corners:
        frames[:, int(y) : int(y + SIDE), int(x) : int(x + SIDE)] = (230, 0, 0)
    tubes = tracker().track(frames, np.stack([box(corner) for corner in corners]))
    for tube, (x, y) in zip(tubes, corners, strict=True):
        np.testing.assert_allclose(tube.quads[-1].mean(axis=0), [x + SIDE / 2, y + SIDE / 2], atol=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(3)
    network = SiamMask(sharp=True)
    file = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(network.state_dict(), file)
    return file


def test_lockstep_is_clip_by_clip_with_the_real_network(checkpoint):
    """Wherever untrained weights lead, they lead there alone and together."""
    one = build_tracker("siammask", weights=checkpoint, preset="vot")
    assert isinstance(one, SiamMaskTracker)
    together = SiamMaskTracker.around(one.search.network, PRESETS["vot"], NEVER_LOST)
    rng = np.random.default_rng(5)
    clips = [
        (rng.integers(0, 256, (3, 120, 160, 3), np.uint8), np.asarray([[40, 30, 90, 100]], np.float32)),
        (rng.integers(0, 256, (3, 120, 160, 3), np.uint8), np.asarray([[10, 5, 60, 50]], np.float32)),
    ]
    many = together.track_many(clips)
    for tubes, (frames, boxes) in zip(many, clips, strict=True):
        assert not isinstance(tubes, ValueError)
        [alone] = together.track(frames, boxes)
        np.testing.assert_allclose(tubes[0].quads, alone.quads, atol=1e-3)
        np.testing.assert_allclose(tubes[0].scores, alone.scores, atol=1e-5)


def test_files_that_are_no_siammask(checkpoint, tmp_path):
    tensors = torch.load(checkpoint, weights_only=True)
    damaged = {name: value for name, value in tensors.items() if name != "refine.post2.bias"} | {"extra": torch.ones(1)}
    torch.save(damaged, tmp_path / "damaged.pth")
    with pytest.raises(ValueError, match=r"1 missing \(refine.post2.bias\); 1 unexpected \(extra\)"):
        build_tracker("siammask", weights=tmp_path / "damaged.pth")
    torch.save({"fc.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"SiamMask \(base form\): 271 missing \(backbone.conv1.weight"):
        build_tracker("siammask", weights=tmp_path / "other.pth")
    with pytest.raises(ValueError, match="no preset 'otb'; it has base, davis"):
        build_tracker("siammask", weights=checkpoint, preset="otb")
    with pytest.raises(ValueError, match="tracker mil has no preset 'vot'; it has none"):
        build_tracker("mil", preset="vot")


@pytest.mark.parametrize("values", [{"below": 0.9}, {"search_px": 500}, {"search_px": 247}, {"found_above": 1.5}])
def test_lost_settings_that_mean_nothing(values):
    with pytest.raises(ValueError, match=r"lost settings need|127 \+ 8 n"):
        LostSettings(**values)
