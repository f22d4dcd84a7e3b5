"""Stage `masks`: tubes of a clip → coverage of every frame and the tube mask of every segment (Eq. 1-3).

Reads `quads` of the track artifact, (A, L, 4, 2) in pixels of the normalised frame, and with `source: mask` its
pixel masks `rle` and `rle_offsets`. Writes `coverage` (L, Hf, Wf) float32, `mask` (N, T, Hf, Wf) bool and `omega`
(N,) int32, the positions selected in each segment. The grid lies over the network's centre crop, so quads and masks
move with the pixels that the network sees. Several athletes become one tube, the union of theirs. Coverage is stored
for all L frames: another tau, other segment starts, or a flip need it and nothing earlier.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from models.geometry import SEGMENT_STARTS, coverage, quads_to_crop, tube_mask, union_coverage
from models.geometry.mask_coverage import has_mask, tube_coverage
from models.geometry.released_masks import released_cells
from models.geometry.rle import Runs
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.job import Context, Job, Product
from tasks.engine.stage import Stage, each, read_parent

logger = logging.getLogger(__name__)

STAGE_VERSION = 1
"""1: exact coverage, convex hull of the corners."""


class MasksConfig(StageConfig):
    """How a tube is laid over the feature grid. Any change reruns masks and what follows, nothing before."""

    added: ClassVar[Mapping[str, Any]] = {"source": "quad"}

    source: Literal["quad", "mask"] = Field(
        "quad",
        description="The tracker's rotated box, as in the paper, or its pixel mask; frames without a mask (the first, "
        "lost ones) have the box.",
    )
    tau: float = Field(0.5, gt=0, le=1, description="Least fraction of a cell that the athlete must cover.")
    grid: tuple[int, int] = Field((14, 14), description="Feature map over the crop: rows, columns.")
    crop: int = Field(224, ge=1, description="Side in px of the centre crop of the normalised frame.")
    starts: tuple[int, ...] = Field(SEGMENT_STARTS, description="First frame of every segment.")
    segment_length: int = Field(16, ge=1, description="Frames of a segment.")
    stride: int = Field(4, ge=1, description="Frames that one feature time step sees.")
    geometry: Literal["paper", "released"] = Field(
        "paper", description="released: polygons filled on a grid over the whole, uncropped frame, as released."
    )

    @model_validator(mode="after")
    def _consistent(self) -> MasksConfig:
        if min(self.grid) < 1:
            raise ValueError(f"grid {self.grid} must have at least one row and one column")
        if not self.starts or min(self.starts) < 0:
            raise ValueError(f"starts {self.starts} must name at least one frame, counted from 0")
        if self.source == "mask" and self.geometry == "released":
            raise ValueError("source mask goes with geometry paper only; the released code fills polygons")
        if self.segment_length % self.stride:
            raise ValueError(f"stride {self.stride} must divide segment_length {self.segment_length}")
        return self


class TubeMasks(TypedDict):
    """What the stage stores for one clip."""

    coverage: NDArray[np.float32]
    mask: NDArray[np.bool_]
    omega: NDArray[np.int32]


class PixelMasks(NamedTuple):
    """Masks of A · L frames as run lengths (`models.geometry.rle.pack_runs`); athlete a, frame t at index a · L + t."""

    rle: Runs
    offsets: NDArray[np.int64]


def build_masks(
    quads: ArrayLike, frame_wh: tuple[int, int], config: MasksConfig, pixels: PixelMasks | None = None
) -> TubeMasks:
    """Coverage, mask and size of one clip's tube.

    Args:
        quads: (A, L, 4, 2), pixels of the normalised frame, one row an athlete.
        frame_wh: (W, H) of the normalised frame in pixels.
        config: the stage's configuration.
        pixels: the tracker's masks, for `config.source` "mask".

    Returns:
        coverage (L, Hf, Wf) float32 in [0, 1], the largest of the athletes' in each cell; mask (N, T, Hf,
        Wf) bool; omega (N,) int32, positions in each segment. A tube that selects no cell (a distant
        athlete, or one who left the crop) is legal: its mask is all False and omega all 0, which `is_empty`
        tells.

    Raises:
        ValueError: no athlete, a quad that is not finite, a crop larger than the frame, segments beyond
        L frames, or masks that are wanted and not there or of another size.
    """
    tubes = np.asarray(quads)
    if tubes.ndim != 4 or tubes.shape[2:] != (4, 2) or not tubes.shape[0]:
        raise ValueError(f"quads must have shape (A, L, 4, 2) with at least one athlete, got {tubes.shape}")
    if config.source == "mask":
        if pixels is None:
            raise ValueError("the tube is to be made from masks, and there are none")
        covered = union_coverage(tube_coverage(tubes, *pixels, frame_wh, config.grid, config.crop))
    elif config.geometry == "released":
        covered = union_coverage(released_cells(tubes, config.grid, frame_wh))
    else:
        seen = quads_to_crop(tubes, frame_wh, config.crop)
        covered = union_coverage(coverage(seen, config.grid, (config.crop, config.crop)))
    mask = tube_mask(covered, config.tau, config.starts, config.segment_length, config.stride)
    return TubeMasks(coverage=covered, mask=mask, omega=mask.sum(axis=(1, 2, 3), dtype=np.int32))


def is_empty(masks: TubeMasks) -> bool:
    """Whether no position at all was selected; attention then leaves the clip's features as they are."""
    return not masks["omega"].any()


def _masks_job(job: Job, config: MasksConfig, context: Context) -> Product:
    tracks = read_parent(job, "track", context)
    frame_wh = int(tracks.attrs["width"]), int(tracks.attrs["height"])
    pixels = _pixel_masks(tracks.arrays, job.clip_id) if config.source == "mask" else None
    try:
        built = build_masks(tracks.arrays["quads"], frame_wh, config, pixels)
    except ValueError as exc:
        raise BadClip(
            f"The tube of clip '{job.clip_id}' can't be laid over the grid: {exc}.",
            "Change masks.crop, masks.starts or normalize.length so that they fit together.",
        ) from exc
    empty = is_empty(built)
    if empty:
        logger.info("clip '%s': the tube selects no cell of the grid; attention leaves this clip as it is", job.clip_id)
    arrays = {"coverage": built["coverage"], "mask": built["mask"], "omega": built["omega"]}
    # Said where it can differ from 0 only, so that artifacts made from quads are as they were.
    by_quad = {} if pixels is None else {"frames_by_quad": int((~has_mask(*pixels)).sum())}
    return Product(arrays, {"empty": empty, **by_quad})


def _pixel_masks(tracks: Mapping[str, NDArray[Any]], clip_id: str) -> PixelMasks:
    """The track artifact's masks. Raises BadClip where its tracker made none in any frame."""
    pixels = PixelMasks(tracks["rle"], tracks["rle_offsets"]) if "rle" in tracks else None
    if pixels is None or not has_mask(*pixels).any():
        raise BadClip(
            f"masks.source is mask, and the tracker gave no mask in any frame of clip '{clip_id}'.",
            "Set masks.source=quad, or a track.tracker that segments: siammask or sam2.",
        )
    return pixels


STAGE = Stage("masks", STAGE_VERSION, ("track",), each(_masks_job))
