"""Boxes and segmentations as COCO and the formats made after it keep them, and quads."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.tracks.benchmarks import mask_boxes
from data_catalog.tracks.foreign_files import Fields
from data_catalog.tracks.text import TrackFileError
from data_catalog.tracks.video_tracks import Quads, box_quads

MOST_PIXELS = 2**27


def box_quad(given: Fields, name: str) -> Quads:
    """(4, 2) of a box x, y, width, height. Raises TrackFileError."""
    x, y, width, height = given.numbers(name, 4)
    if width < 0 or height < 0:
        raise TrackFileError(f"{given.place} has a box of negative size {width:g} x {height:g}")
    return box_quads([x, y, x + width, y + height])


def outline(quad: Quads) -> list[list[float]]:
    """A quad (4, 2) as a polygon of a segmentation."""
    return [quad.ravel().round(4).tolist()]


def segmentation_quad(segmentation: Any, place: str) -> Quads | None:
    """(4, 2): the only polygon where it has four corners, else the smallest rotated rectangle around all of it.

    Args:
        segmentation: polygons, or run lengths (`{"size": [h, w], "counts": …}`, as numbers or as COCO's text); None and
            an empty list are none.
        place: for messages.

    Raises:
        TrackFileError: it is neither.
    """
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, dict):
        mask = run_length_mask(Fields(segmentation, f"{place}, segmentation"))
        _, quad = mask_boxes(mask)
        return None if np.isnan(quad).any() else quad
    polygons = Fields({"polygons": segmentation}, place).listed("polygons")
    corners = [Fields({"polygon": one}, place).numbers("polygon") for one in polygons]
    if any(len(one) < 6 or len(one) % 2 for one in corners):
        raise TrackFileError(f"{place} has a polygon of {min(map(len, corners))} numbers; three corners have six")
    if len(corners) == 1 and len(corners[0]) == 8:
        return np.asarray(corners[0], np.float64).reshape(4, 2)
    points = np.concatenate([np.asarray(one, np.float32).reshape(-1, 2) for one in corners])
    return np.asarray(cv2.boxPoints(cv2.minAreaRect(points)), np.float64)


def run_length_mask(given: Fields) -> NDArray[np.bool_]:
    """(H, W) bool of COCO's run lengths, which go down the columns and begin with zeros. Raises TrackFileError."""
    height, width = (int(side) for side in given.numbers("size", 2))
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise TrackFileError(f"{given.place} is a mask of {width} x {height} pixels, which can't be")
    counts = given.values.get("counts")
    runs = _unpacked(counts, given.place) if isinstance(counts, str) else [int(one) for one in given.numbers("counts")]
    lengths = np.asarray(runs, np.int64)
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise TrackFileError(f"{given.place} has runs of {lengths.sum()} pixels in a mask of {width} x {height}")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return np.asarray(flat.reshape(width, height).T)


def _unpacked(text: str, place: str) -> list[int]:
    """Run lengths out of COCO's text: five bits a letter from '0' on, from the third run on differences."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise TrackFileError(f"{place} has run lengths that are no text of COCO's")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
