"""One-Pass Evaluation: a tracker starts from the true box of the first frame, runs to the end, and is measured.

Clips are brought to `length` frames, evenly from their first to their last, and to the size that the pipeline tracks
at. Quads go back to the source's pixels before they are measured, so that 20 px mean what they mean elsewhere. Reads
no workspace and writes nothing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_catalog.media.video import probe, read_frames
from data_catalog.tracks.benchmarks import TrackingClip
from models.geometry import quad_to_box
from models.geometry.raster_overlap import raster_overlap
from models.metrics.tracking import (
    Grid,
    OnePass,
    attributes_of,
    box_overlap,
    mean_grid_iou,
    mean_overlap,
    one_pass,
)
from models.trackers import Tracker, Tube
from tasks.assessment.truth import quad_overlaps


class EvaluationConfig(BaseModel):
    """How clips are brought into form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int = Field(103, ge=2, description="Frames of a clip.")
    size_wh: tuple[int, int] | None = Field((455, 256), description="Size tracked at; None is the source's.")
    jitter_runs: int = Field(0, ge=0, description="Further runs from boxes moved by 5 % and resized by 8 %.")


@dataclass(frozen=True, eq=False)
class TrackingSample:
    """A clip in the evaluation's form.

    Attributes:
        name, attributes: see `TrackingClip`; attributes by OTB's definitions are added.
        frames: (L, H, W, 3) uint8 RGB.
        source_wh: size in pixels that truth is given in.
        boxes: (L, 4) x, y, w, h.
        quads: (L, 4, 2).
        masks: (L, H, W) bool, or None.
    """

    name: str
    attributes: frozenset[str]
    frames: NDArray[np.uint8]
    source_wh: tuple[int, int]
    boxes: NDArray[np.float64]
    quads: NDArray[np.float64]
    masks: NDArray[np.bool_] | None

    def to_source(self, quads: NDArray[np.floating]) -> NDArray[np.float64]:
        """Quads (L, 4, 2) in pixels of the tracked frames → of the source."""
        height, width = self.frames.shape[1:3]
        return quads.astype(np.float64) * (np.asarray(self.source_wh) / [width, height])

    def to_tracked(self, quads: NDArray[np.floating]) -> NDArray[np.float64]:
        """Quads (L, 4, 2) in pixels of the source → of the tracked frames."""
        height, width = self.frames.shape[1:3]
        return quads.astype(np.float64) * (np.asarray([width, height]) / self.source_wh)


@dataclass(frozen=True)
class ClipFigures:
    """What came out for one clip. Shares and overlaps lie in [0, 1]; None where the clip has nothing to measure.

    Attributes:
        auc, precision20, norm_precision20: as pysot-toolkit computes them.
        overlap: mean IoU of upright boxes; without the toolkit's habits this is the area under the success curve.
        rotated, rotated_raster: mean IoU of rotated boxes, exact and as the VOT toolkit counts pixels.
        grid, grid_mask: mean IoU of the cells that the quads cover, against true quads and against true masks.
        mask_grid: the same for cells of the tracker's own masks against true masks, its quad where it has none: what
            `masks.source=mask` selects, as `grid_mask` is for `quad`.
        lost: share of frames marked lost.
        fps: frames a second, without decoding.
        jitter: of the runs from moved boxes, the figures of `SPREAD` that the clip has, one a run.
    """

    clip: str
    frames: int
    attributes: tuple[str, ...]
    auc: float
    precision20: float
    norm_precision20: float
    overlap: float
    rotated: float | None
    rotated_raster: float | None
    grid: float | None
    grid_mask: float | None
    mask_grid: float | None
    lost: float
    fps: float | None
    jitter: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


SPREAD = ("auc", "overlap", "rotated", "grid", "grid_mask", "mask_grid")


@dataclass(frozen=True, eq=False)
class ClipResult:
    """Figures, the quads (L, 4, 2) in pixels of the source that they are of, and the curves."""

    figures: ClipFigures
    quads: NDArray[np.float64]
    curves: OnePass = field(repr=False)


def load_sample(clip: TrackingClip, config: EvaluationConfig) -> TrackingSample:
    """Decode a clip and bring it into form; it begins with its first frame that has a true box.

    Raises:
        BadVideo: the source cannot be read.
        ValueError: ground truth and video have different lengths, or no frame has a box.
    """
    info = probe(clip.source)
    end = clip.first + len(clip.boxes)
    if end > info.num_frames or (end < info.num_frames and not clip.part):
        raise ValueError(
            f"clip '{clip.name}' has {info.num_frames - clip.first} frames and ground truth for {len(clip.boxes)}; "
            "give the ground truth of this video"
        )
    seen = np.flatnonzero(np.isfinite(clip.boxes).all(axis=1))
    if not len(seen):
        raise ValueError(f"clip '{clip.name}' has no true box in any frame")
    index = np.rint(np.linspace(seen[0], len(clip.boxes) - 1, config.length)).astype(np.int64)
    masks = clip.read_masks()[index] if clip.read_masks else None
    return TrackingSample(
        name=clip.name,
        attributes=clip.attributes | attributes_of(clip.boxes),
        frames=read_frames(clip.source, index + clip.first, config.size_wh or (info.width, info.height)),
        source_wh=(info.width, info.height),
        boxes=clip.boxes[index],
        quads=clip.quads[index],
        masks=masks,
    )


def run_clip(
    sample: TrackingSample, tracker: Tracker, config: EvaluationConfig, look: Callable[[Tube], None] = lambda tube: None
) -> ClipResult:
    """Track a clip from its first true box, and `jitter_runs` times from boxes nearby.

    `look` is given the first of these tubes, in pixels of the tracked frames.

    Raises:
        ValueError: the first true box is outside the frame.
    """
    start = time.perf_counter()
    tube = _track(sample, tracker, sample.boxes[0])
    seconds = time.perf_counter() - start
    look(tube)
    rng = np.random.default_rng(0)
    nearby = [
        measure_tube(sample, _track(sample, tracker, jittered(sample.boxes[0], rng))).figures
        for _ in range(config.jitter_runs)
    ]
    runs = {name: [getattr(one, name) for one in nearby] for name in SPREAD}
    spread = {name: tuple(values) for name, values in runs.items() if values and None not in values}
    result = measure_tube(sample, tube, fps=(len(sample.frames) - 1) / seconds)
    return replace(result, figures=replace(result.figures, jitter=spread))


def _track(sample: TrackingSample, tracker: Tracker, box: NDArray[np.float64]) -> Tube:
    height, width = sample.frames.shape[1:3]
    scale = np.asarray([width, height]) / sample.source_wh
    corners = np.concatenate([box[:2], box[:2] + box[2:]]) * np.tile(scale, 2)
    [tube] = tracker.track(sample.frames, corners[None].astype(np.float32))
    return tube


def jittered(box: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A box (4,) x, y, w, h moved by up to 5 % of its sides, each side changed by up to 8 %; evenly drawn."""
    centre = box[:2] + box[2:] * (0.5 + rng.uniform(-0.05, 0.05, 2))
    sides = box[2:] * rng.uniform(0.92, 1.08, 2)
    return np.concatenate([centre - sides / 2, sides])


def measure_tube(sample: TrackingSample, tube: Tube, fps: float | None = None, in_source: bool = False) -> ClipResult:
    """Compare a tube with the truth. `in_source`: its quads are in pixels of the source already."""
    quads = tube.quads.astype(np.float64) if in_source else sample.to_source(tube.quads)
    known = np.asarray(np.isfinite(sample.boxes).all(axis=1))
    curves = one_pass(np.where(known[:, None], sample.boxes, 0), quad_boxes(quads), known)
    grid = Grid(sample.source_wh)
    covered = grid.selected(quads)
    true_cells = None if sample.masks is None else grid.selected_by_mask(sample.masks)
    own = None if tube.masks is None else _cells_by_mask(grid, tube, covered)
    figures = ClipFigures(
        clip=sample.name,
        frames=len(quads),
        attributes=tuple(sorted(sample.attributes)),
        auc=curves.auc,
        precision20=curves.precision20,
        norm_precision20=curves.norm_precision20,
        overlap=_mean_box_overlap(sample, quads),
        rotated=mean_overlap(sample.quads, quads),
        rotated_raster=float(raster_overlap(sample.quads[known], quads[known], sample.source_wh).mean()),
        grid=mean_grid_iou(grid.selected(sample.quads), covered),
        grid_mask=None if true_cells is None else mean_grid_iou(true_cells, covered),
        mask_grid=None if own is None or true_cells is None else mean_grid_iou(true_cells, own),
        lost=float(tube.lost.mean()),
        fps=fps,
    )
    return ClipResult(figures, quads, curves)


def quad_boxes(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upright boxes (L, 4) x, y, w, h around quads (L, 4, 2)."""
    corners = quad_to_box(quads).astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _mean_box_overlap(sample: TrackingSample, quads: NDArray[np.float64]) -> float:
    known = np.isfinite(sample.boxes).all(axis=1)
    return float(box_overlap(sample.boxes[known], quad_boxes(quads)[known]).mean())


def _cells_by_mask(grid: Grid, tube: Tube, by_quad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells (L, Hf, Wf) of the tracker's masks; `by_quad` where it has none, as `masks.source=mask` has it."""
    cells = by_quad.copy()
    for number, mask in enumerate(tube.masks or ()):
        if mask is not None and mask.any():
            cells[number] = grid.selected_by_mask(mask[None])[0]
    return cells


def overlap_by_frame(sample: TrackingSample, tube: Tube) -> NDArray[np.float64]:
    """IoU (L,) of true and found quad, of a tube in pixels of the tracked frames; NaN where nothing is true."""
    known = np.asarray(np.isfinite(sample.quads).all(axis=(1, 2)))
    [overlaps] = quad_overlaps(sample.to_source(tube.quads)[None], sample.quads[None], known[None])
    return np.asarray(overlaps)


def true_tube(sample: TrackingSample) -> Tube:
    """The truth as a tube in pixels of the tracked frames: the most that a tracker could reach there.

    A frame without a true quad has the one before, marked lost. Masks are brought to the tracked size.
    """
    import cv2  # whoever decoded the clip has loaded it

    known = np.asarray(np.isfinite(sample.quads).all(axis=(1, 2)))
    last = np.maximum.accumulate(np.where(known, np.arange(len(known)), int(np.argmax(known))))
    quads = sample.to_tracked(sample.quads)[last].astype(np.float32)
    masks: list[NDArray[np.bool_] | None] | None = None
    if sample.masks is not None:
        size_wh = sample.frames.shape[2], sample.frames.shape[1]
        grey = (mask.astype(np.uint8) * 255 for mask in sample.masks)
        masks = [np.asarray(cv2.resize(mask, size_wh, interpolation=cv2.INTER_AREA) >= 128) for mask in grey]
    return Tube(quads, known.astype(np.float32), np.asarray(~known), masks)


def existing_tube(sample: TrackingSample, track: NDArray[np.float32], absent: NDArray[np.bool_], name: Path) -> Tube:
    """Somebody else's track (L, 4, 2) in pixels of the source, for `measure` with `in_source`.

    Raises:
        ValueError: it is of another length than the sample.
    """
    if len(track) != len(sample.frames):
        raise ValueError(
            f"{name} has {len(track)} frames for clip '{sample.name}', evaluated are {len(sample.frames)}; "
            f"set --length {len(track)} if it was made on all frames"
        )
    return Tube(track, np.where(absent, 0, 1).astype(np.float32), absent)
