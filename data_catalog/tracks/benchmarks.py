"""Clips with the target's true place in every frame, in the layouts that tracking benchmarks come in.

    csv    NAME.mp4 (or another container, or a folder of images) and NAME_gt.csv: frame, x, y, w, h and, where known,
           x1 … y4; NAME_mask.npz with `bits` (packed along x) and `shape` where there are pixel masks
    otb    NAME/img/*.jpg and NAME/groundtruth_rect.txt, which counts pixels from 1; groundtruth_rect.K.txt where
           several targets are annotated, clip NAME-K then; of some sequences only a part is (`OTB_FIRST_IMAGE`)
    vot    NAME/color/*.jpg (or NAME/*.jpg) and NAME/groundtruth.txt with polygons, boxes or masks;
           NAME/ATTRIBUTE.tag or .label with a number a frame
    davis  JPEGImages/SIZE/NAME/*.jpg and Annotations/SIZE/NAME/*.png; every object counts as foreground

Which one a folder has shows in its files.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.media.frame_folder import list_images, read_image
from data_catalog.npy import read_npz
from data_catalog.tracks.text import TextFormat, TrackFileError, read_text_track
from data_catalog.tracks.vot_masks import holds_masks, read_regions, whole_masks

CONTAINERS = (".mp4", ".avi", ".mkv", ".mov", ".webm")
Masks = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TrackingClip:
    """One clip with ground truth.

    Attributes:
        name: unique in its folder.
        source: video file or folder of images.
        boxes: (F, 4) float64 x, y, w, h, continuous pixels of the source, NaN where the target is not in sight.
        quads: (F, 4, 2) float64 corners, clockwise; the boxes' own where nothing better is known.
        attributes: what the benchmark says of the clip.
        first: frame of the source that the first of these is; as many follow as there are boxes.
        part: the source may have frames after the last of these.
        read_masks: returns (F, H, W) bool pixels of the target, or None where only boxes are known.
    """

    name: str
    source: Path
    boxes: NDArray[np.float64]
    quads: NDArray[np.float64]
    attributes: frozenset[str] = frozenset()
    first: int = 0
    part: bool = False
    read_masks: Callable[[], Masks] | None = field(default=None, repr=False)


def find_tracking_clips(root: Path) -> list[TrackingClip]:
    """All clips with ground truth in `root`, by name.

    Raises:
        TrackFileError: no layout is recognised there, or a ground truth file is damaged.
    """
    if not root.is_dir():
        raise TrackFileError(f"there is no folder {root}")
    clips = [
        *(_csv_clip(file) for file in sorted(root.glob("*_gt.csv"))),
        *(_text_clip(file, "otb") for file in sorted(root.glob("*/groundtruth_rect*.txt"))),
        *(_text_clip(file, "vot") for file in sorted(root.glob("*/groundtruth.txt"))),
        *(_davis_clip(folder) for folder in sorted(root.glob("Annotations/*/*")) if folder.is_dir()),
    ]
    if not clips:
        raise TrackFileError(
            f"{root} holds no clips with ground truth: neither NAME_gt.csv, NAME/groundtruth_rect.txt (OTB), "
            "NAME/groundtruth.txt (VOT) nor Annotations/SIZE/NAME (DAVIS)"
        )
    return sorted(clips, key=lambda clip: clip.name)


def _csv_clip(file: Path) -> TrackingClip:
    name = file.name.removesuffix("_gt.csv")
    sources = [file.parent / f"{name}{end}" for end in (*CONTAINERS, "")]
    source = next((path for path in sources if path.exists()), None)
    if source is None:
        raise TrackFileError(f"{file} has no video beside it, such as {name}.mp4")
    header, *lines = file.read_text(encoding="utf-8").splitlines() or [""]
    columns = [column.strip() for column in header.split(",")]
    wanted = ["frame", "x", "y", "w", "h"]
    if columns[:5] != wanted:
        raise TrackFileError(f"{file} begins with the columns {', '.join(columns[:5])}, not {', '.join(wanted)}")
    try:
        rows = np.asarray([[float(cell or "nan") for cell in line.split(",")] for line in lines if line.strip()])
    except ValueError:
        raise TrackFileError(f"{file} has a line that is not {len(columns)} numbers") from None
    if rows.ndim != 2 or not (rows[:, 0] == np.arange(len(rows))).all():
        raise TrackFileError(f"{file} does not list every frame in order, from 0, with {len(columns)} numbers")
    boxes = _absent(rows[:, 1:5])
    quads = rows[:, 5:13].reshape(-1, 4, 2) if rows.shape[1] >= 13 else box_corners(boxes)
    masks = file.parent / f"{name}_mask.npz"
    reader = (lambda: _packed_masks(masks)) if masks.is_file() else None
    return TrackingClip(name, source, boxes, _clockwise(quads), read_masks=reader)


def _packed_masks(file: Path) -> Masks:
    try:
        stored = read_npz(file)
        frames, height, width = (int(side) for side in stored["shape"])
        bits = np.unpackbits(stored["bits"], axis=-1)[..., :width]
        return np.asarray(bits.reshape(frames, height, width).astype(bool))
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as exc:
        raise TrackFileError(f"{file} holds no masks that can be read ({exc}); save or download it again") from exc


def _text_clip(file: Path, style: TextFormat) -> TrackingClip:
    folder = file.parent
    source = next((folder / name for name in ("img", "color") if (folder / name).is_dir()), folder)
    if style == "vot" and holds_masks(file):
        return _vot_mask_clip(file, source)
    quads = np.asarray(read_text_track(file, style), np.float64)
    boxes = _absent(np.concatenate([quads.min(axis=1), quads.max(axis=1) - quads.min(axis=1)], axis=1))
    quads[np.isnan(boxes).any(axis=1)] = np.nan
    said = _tags(folder)
    number = file.stem.partition(".")[2]   # of the target, where there are several
    name = f"{folder.name}-{number}" if number else folder.name
    first = _first_image(folder.name, source) if style == "otb" else None
    part = first is not None
    return TrackingClip(name, source, boxes, _clockwise(quads), said, first=first or 0, part=part)


def _tags(folder: Path) -> frozenset[str]:
    labels = [*folder.glob("*.tag"), *folder.glob("*.label")]
    return frozenset(label.stem for label in labels if any(float(v) > 0 for v in label.read_text().split()))


def _vot_mask_clip(file: Path, source: Path) -> TrackingClip:
    regions = read_regions(file)
    found = [mask_boxes(region.mask) for region in regions]
    corner = np.asarray([(region.left, region.top) for region in regions], np.float64)
    boxes = np.stack([box for box, _ in found])
    boxes[:, :2] += corner
    quads = np.stack([quad for _, quad in found]) + corner[:, None]

    def read_masks() -> Masks:
        height, width = read_image(list_images(source)[0]).shape[:2]
        return whole_masks(read_regions(file), (width, height))

    return TrackingClip(file.parent.name, source, boxes, quads, _tags(file.parent), read_masks=read_masks)


# Sequences of OTB-100 whose truth is of some of their images: number of the first one, as the benchmark lists them.
OTB_FIRST_IMAGE = {
    "BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18, "David": 300, "Diving": 1, "Football1": 1, "Freeman3": 1,
    "Freeman4": 1,
}  # fmt: skip


def _first_image(name: str, source: Path) -> int | None:
    """Place among the images of the one that the truth begins with; None where it is of all images."""
    if name not in OTB_FIRST_IMAGE or not source.is_dir():
        return None
    numbers = [int(image.stem) if image.stem.isdecimal() else None for image in list_images(source)]
    if OTB_FIRST_IMAGE[name] not in numbers:
        raise TrackFileError(
            f"{source} has no image number {OTB_FIRST_IMAGE[name]}, with which the ground truth of OTB's {name} begins"
        )
    return numbers.index(OTB_FIRST_IMAGE[name])


def _davis_clip(folder: Path) -> TrackingClip:
    source = folder.parents[2] / "JPEGImages" / folder.parent.name / folder.name
    if not source.is_dir():
        raise TrackFileError(f"the annotations {folder} have no images at {source}")
    masks = _davis_masks(folder)
    found = [mask_boxes(mask) for mask in masks]
    boxes, quads = (np.stack(parts) for parts in zip(*found, strict=True))
    return TrackingClip(folder.name, source, boxes, quads, read_masks=lambda: _davis_masks(folder))


def _davis_masks(folder: Path) -> Masks:
    masks: list[Masks] = []
    for file in list_images(folder):
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise TrackFileError(f"the annotation {file} does not decode")
        # (H, W) or (H, W, channels); a colour of a palette is an object, black is none.
        masks.append(np.asarray((np.atleast_3d(image) > 0).max(axis=2), bool))
    return np.stack(masks)


def mask_boxes(mask: Masks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The tight box (4,) x, y, w, h of a mask (H, W), and the smallest rotated rectangle (4, 2) around its pixels.

    Both NaN where the mask is empty.
    """
    y, x = np.nonzero(mask)
    if not len(x):
        return np.full(4, np.nan), np.full((4, 2), np.nan)
    box = np.asarray([x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min()], np.float64)
    pixels = np.stack([x, y], axis=1).astype(np.float32)
    squares = np.concatenate([pixels + corner for corner in ((0, 0), (1, 0), (1, 1), (0, 1))])
    corners = np.asarray(cv2.boxPoints(cv2.minAreaRect(squares.astype(np.float32))), np.float64)
    return box, _clockwise(corners[None])[0]


def box_corners(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (F, 4) x, y, w, h → (F, 4, 2), clockwise from the top left."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    corners = np.concatenate([low, high[:, :1], low[:, 1:], high, low[:, :1], high[:, 1:]], axis=1)
    return corners.reshape(-1, 4, 2)


def _absent(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN for boxes without area, which is how benchmarks write a target out of sight."""
    return np.where((boxes[:, 2:] > 0).all(axis=1, keepdims=True), boxes, np.nan)


def _clockwise(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    following = np.roll(quads, -1, axis=1)
    doubled = (quads[..., 0] * following[..., 1] - quads[..., 1] * following[..., 0]).sum(axis=1)
    return np.where((doubled < 0)[:, None, None], quads[:, ::-1], quads)
