"""Is this tube to be trusted? Scene cuts, lost athletes, drift, leaps, tubes that leave the crop or select nothing.

`measure_series` looks at the frames once, and its result is kept. `judge_series` turns that into frames, reasons and a
suspicion by thresholds, in well under a millisecond and without a frame. Nothing here enters an artifact or a key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_catalog.tables.tube_quality import TubeQuality, TubeSeries
from models.geometry import coverage, quad_area, quads_to_crop
from models.trackers.flags import at_border
from models.video.scene_cuts import find_cuts, scene_changes
from tasks.engine.config import StageConfig

MEASURE_VERSION = 1  # 1: first
JUDGE_VERSION = 2  # 2: frames in which the tracker is lost are no falls of its score, and no drift
SCENE_WIDTH = 114  # of the frames that are compared for cuts
PAST = 10  # frames whose median score a fall is measured against


class QualityConfig(StageConfig):
    """When a tube is suspicious. Nothing here changes an artifact, so nothing here enters a key."""

    suspicious: float = Field(0.5, ge=0, le=1, description="Suspicion, 0 to 1, from which --strict fails.")
    cut_change: float = Field(0.2, gt=0, description="Change of the whole picture from which on a frame is a cut.")
    cut_contrast: float = Field(1.6, gt=0, description="How many times its neighbours' change a cut's is, at least.")
    drift_likeness: float = Field(0.42, description="Likeness below which a tube holds something else.")
    drift_frames: int = Field(10, ge=1, description="Frames in a row for which it has to hold something else.")
    drift_share: float = Field(
        0.3, ge=0, lt=1, description="Share of frames that may drift or be lost unsuspected: a dive ends under water."
    )
    lost_likeness: float = Field(0.25, description="Likeness below which nothing of the athlete is in the tube.")
    lost_frames: int = Field(4, ge=1, description="Frames in a row for which nothing of the athlete has to be in it.")
    score_drop: float = Field(0.4, gt=0, lt=1, description="Part of its usual score by which the tracker's falls.")
    jump: float = Field(0.5, gt=0, description="Step in one frame, in square roots of the quad's area.")
    growth: float = Field(2.0, gt=1, description="Change of the area in one frame, either way.")
    outside: float = Field(0.5, gt=0, le=1, description="Share of the quad that has to be in the network's crop.")

    def digest(self) -> str:
        """Names the thresholds that a judgement was made by; `suspicious` only reads it."""
        thresholds = self.model_dump(mode="json", exclude={"suspicious"})
        text = json.dumps([MEASURE_VERSION, JUDGE_VERSION, thresholds], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class TubeKeys:
    """Which tube: the keys of its artifacts, and whose it is."""

    track_key: str
    masks_key: str
    dataset: str
    clip_id: str


def measure_series(
    frames: NDArray[np.uint8],
    source_index: NDArray[np.integer],
    frame_wh: tuple[int, int],
    track: Mapping[str, NDArray[Any]],
    omega: NDArray[np.integer],
    crop: int,
) -> TubeSeries:
    """Measure the tubes of one clip.

    Args:
        frames: (L, h, w, 3) uint8 RGB, the normalised frames at their own or half their size.
        source_index: (L,) the source frame behind each of them.
        frame_wh: (W, H) of the normalised frames in pixels, which the quads are in.
        track: `quads` (A, L, 4, 2), `scores` (A, L) and `lost` (A, L) of the track artifact.
        omega: (N,) positions of each segment, of the masks artifact.
        crop: side of the network's crop in pixels of the normalised frame.

    Raises:
        ValueError: frames and quads speak of different lengths.
    """
    # Both here, as judging looks at no frame, and the config of a run names this module.
    import cv2

    from models.video.appearance import appearance_similarity

    quads = np.asarray(track["quads"], np.float32)
    if quads.ndim != 4 or quads.shape[1] != len(frames):
        raise ValueError(f"a tube of {quads.shape[1:2]} quads can't be judged by {len(frames)} frames")
    height, width = frames.shape[1:3]
    scale = np.asarray([width / frame_wh[0], height / frame_wh[1]], np.float32)
    small = (SCENE_WIDTH, max(1, round(SCENE_WIDTH * height / width)))
    scenes = np.stack([cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in frames])
    area = quad_area(quads)
    covered = coverage(quads_to_crop(quads, frame_wh, crop), (1, 1), (crop, crop))[..., 0, 0] * float(crop) ** 2
    return TubeSeries(
        change=scene_changes(scenes),
        elapsed=np.diff(source_index, prepend=source_index[:1]).astype(np.float32),
        likeness=appearance_similarity(frames, quads * scale),
        scores=np.asarray(track["scores"], np.float32),
        lost=np.asarray(track["lost"], np.float32),
        step=_steps(quads, area),
        area=area.astype(np.float32),
        inside=np.minimum(covered / np.maximum(area, 1.0), 1.0).astype(np.float32),
        border=at_border(quads, frame_wh).astype(np.float32),
        omega=np.asarray(omega, np.float32),
    )


def _steps(quads: NDArray[np.float32], area: NDArray[np.float64]) -> NDArray[np.float32]:
    way = np.linalg.norm(np.diff(quads.mean(axis=-2), axis=-2), axis=-1)
    sides = np.sqrt(np.maximum(np.maximum(area[:, 1:], area[:, :-1]), 1.0))
    return np.asarray(np.pad(way / sides, ((0, 0), (1, 0))), np.float32)


def judge_series(subject: TubeKeys, series: TubeSeries, config: QualityConfig) -> TubeQuality:
    """What the measured numbers mean by these thresholds."""
    athletes, length = series.likeness.shape
    reported = series.lost > 0
    gone = np.stack([_runs(row < config.lost_likeness, config.lost_frames) for row in series.likeness])
    other = np.stack([_runs(row, config.drift_frames) for row in (series.likeness < config.drift_likeness) & ~reported])
    growth = np.maximum(series.area[:, 1:], 1.0) / np.maximum(series.area[:, :-1], 1.0)
    grown = np.pad(np.maximum(growth, 1 / growth) > config.growth, ((0, 0), (1, 0)))
    found = {
        "cuts": [int(t) for t in find_cuts(series.change, series.elapsed, config.cut_change, config.cut_contrast)],
        "score_drops": sorted(
            {t for row, lost in zip(series.scores, reported, strict=True) for t in _falls(row, lost, config.score_drop)}
        ),
        "jumps": _any(series.step > config.jump),
        "area_changes": _any(grown),
        "lost_frames": _any(reported | gone),
        "outside_frames": _any(series.inside < config.outside),
        "border_frames": _any(series.border > 0),
        "empty_segments": [int(n) for n in np.flatnonzero(series.omega == 0)],
        "drift_frames": _any(other),
    }
    findings = _weigh(found, length, len(series.omega), config)
    named: dict[str, Any] = vars(subject) | found
    return TubeQuality(
        **named,
        suspicion=1.0 - float(np.prod([1.0 - weight for weight, _ in findings])),
        reasons=[sentence for _, sentence in sorted(findings, key=lambda one: -one[0])],
        drift=len(found["drift_frames"]) / length,
        athletes=athletes,
        frames=length,
        settings=config.digest(),
        version=MEASURE_VERSION,
    )


def _runs(low: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """Only the True stretches of at least so many frames."""
    kept = np.zeros(len(low), bool)
    for begin, end in runs_of(low):
        kept[begin:end] = end - begin >= least
    return kept


def runs_of(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end of each stretch of True in flags (L,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _falls(scores: NDArray[np.float32], lost: NDArray[np.bool_], part: float) -> list[int]:
    """Frames in which the score falls below (1 - part) of its median in the ten before; the first of each fall.

    Frames in which the tracker says that it is lost have a score of nobody, and count on neither side; a fall that
    ends in them is that loss.
    """
    low = np.zeros(len(scores), bool)
    for t in np.flatnonzero(~lost)[1:]:
        before = slice(max(0, t - PAST), t)
        held = scores[before][~lost[before]]
        low[t] = len(held) > 0 and scores[t] < (1 - part) * np.median(held)
    return [begin for begin, end in runs_of(low) if end == len(lost) or not lost[end]]


def _any(flags: NDArray[np.bool_]) -> list[int]:
    """Frames in which it holds for any athlete: (A, L) bool → indices."""
    return [int(t) for t in np.flatnonzero(flags.any(axis=0))]


def _ramp(value: float, low: float, high: float) -> float:
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def _weigh(found: dict[str, list[int]], length: int, segments: int, config: QualityConfig) -> list[tuple[float, str]]:
    """Weight in [0, 1] and sentence of everything that is odd; independent oddities add up as chances do."""
    usual = config.drift_share
    of = f" of {length} frames"
    share = {name: len(frames) / length for name, frames in found.items()}
    empty = found["empty_segments"]
    say: list[tuple[str, float, Callable[[list[int]], str]]] = [
        ("cuts", 0.8 * bool(found["cuts"]), lambda at: f"The scene changes at {_frames(at)}."),
        (
            "drift_frames",
            0.9 * _ramp(share["drift_frames"], usual, min(2 * usual, 1.0) or 1.0),
            lambda at: f"The tube holds something else than in the first frame in {len(at)}{of}, from {at[0]} on.",
        ),
        (
            "lost_frames",
            0.7 * _ramp(share["lost_frames"], usual, min(2 * usual, 1.0) or 1.0),
            lambda at: f"The athlete is lost, or nothing of them is in the tube, in {len(at)}{of}, from {at[0]} on.",
        ),
        ("jumps", 0.6 * _few(found["jumps"]), lambda at: f"The tube leaps in {_frames(at)}."),
        ("area_changes", 0.4 * _few(found["area_changes"]), lambda at: f"Its area changes at once in {_frames(at)}."),
        ("score_drops", 0.4 * _few(found["score_drops"]), lambda at: f"The tracker's score falls in {_frames(at)}."),
        (
            "outside_frames",
            0.7 * _ramp(share["outside_frames"], 0.2, 0.7),
            lambda at: f"The tube is mostly outside the network's crop in {len(at)}{of}.",
        ),
        (
            "empty_segments",
            min(1.0, 0.2 + len(empty) / max(segments, 1)) * bool(empty),
            lambda at: f"{len(at)} of {segments} segments have an empty tube mask.",
        ),
        (
            "border_frames",
            0.3 * _ramp(share["border_frames"], 0.3, 0.9),
            lambda at: f"The tube touches the frame's border in {len(at)}{of}.",
        ),
    ]
    return [(weight, sentence(found[name])) for name, weight, sentence in say if weight > 0]


def _few(frames: Sequence[int]) -> float:
    """One is odd, four are as odd as it gets."""
    return min(len(frames), 4) / 4


def _frames(frames: Sequence[int]) -> str:
    """`frame 7`, `frames 7, 9 and 2 more`."""
    shown = ", ".join(map(str, frames[:3]))
    more = f" and {len(frames) - 3} more" if len(frames) > 3 else ""
    return f"frame{'s' if len(frames) > 1 else ''} {shown}{more}"
