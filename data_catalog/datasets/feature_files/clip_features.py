"""Which array of a feature file is a clip's, and whether it can be used.

| the file holds | a clip's features are |
|---|---|
| one clip: an array, or arrays `features` and `mask` | that array |
| an array, or `features` and `mask`, by clip id (dict, npz, groups of an .h5) | what is called as it, or its `entry` |
| `features` (n, D) or (n, T, D), `mask` (n, T), `clip_id` (n,) | the row of its id, or its `row` |

Features are (D,), which is one step, or (T, D); a mask (T,) is true where a step counts, and the others are left out.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.feature_files.arrays import Array, BadFeatures, FeatureArrays, open_arrays

FEATURES, MASK, CLIP_ID = "features", "mask", "clip_id"
MAX_CLIP_BYTES = 2**29
NUMBERS = "biuf"  # NumPy's kinds: booleans, integers, floats


@dataclass(frozen=True)
class Place:
    """Where in a file a clip's features are.

    Attributes:
        clip_id: the clip.
        entry: name of its array (or of the group that holds it); None takes the clip id, or `features`.
        row: its row in an array of many clips, from 0; None where the array is the clip's own.
        shared: other clips lie in the same file, so that an array without a clip's name belongs to nobody.
        posed: the file holds the clip's poses; those are read by `data_catalog.datasets.poses.pose_files.read_steps`.
    """

    clip_id: str
    entry: str | None = None
    row: int | None = None
    shared: bool = False
    posed: bool = False

    @classmethod
    def of(cls, clip_id: str, extra: Mapping[str, object] | None) -> Place:
        """From a clip record's `extra`, as `as_extra` made it."""
        known: Mapping[str, Any] = extra or {}
        return cls(clip_id, known.get("entry"), known.get("row"), bool(known.get("shared")), bool(known.get("posed")))

    def as_extra(self) -> dict[str, object]:
        """What a clip record keeps of it, plain JSON values."""
        values = {"entry": self.entry, "row": self.row, "shared": self.shared or None, "posed": self.posed or None}
        return {name: value for name, value in values.items() if value is not None}


def read_clip_features(path: Path, place: Place, root: Path | None = None) -> NDArray[np.float32]:
    """The features of one clip: (T, D) float32, finite, without the steps that a mask leaves out.

    Args:
        path: the feature file.
        place: which clip it is and where it lies in the file.
        root: the folder that the file must not leave through a link.

    Raises:
        BadFeatures: the file can't be opened, has no features of this clip, or they can't be used.
    """
    arrays = _opened(path, root)
    features, mask = _find(path, arrays, place)
    where = f"{path.name} ({place.entry or place.clip_id})" if place.shared else path.name
    return _checked(where, features, mask)


def _opened(path: Path, root: Path | None) -> FeatureArrays:
    """The arrays of a file, kept for the clips that follow as long as the file stays the same."""
    try:
        found = os.stat(path)
    except OSError:
        return open_arrays(path, root)  # says it
    return _kept(path, root, found.st_size, found.st_mtime_ns, found.st_ino)


@functools.lru_cache(maxsize=1)
def _kept(path: Path, root: Path | None, *signature: int) -> FeatureArrays:
    return open_arrays(path, root)


def _find(path: Path, arrays: FeatureArrays, place: Place) -> tuple[Array, Array | None]:
    if place.row is not None:
        name = _many_clips(path, arrays, place)
        return _row(path, arrays, name, place.row)
    named = place.entry or place.clip_id
    for name, mask in ((named, None), (f"{named}/{FEATURES}", f"{named}/{MASK}")):
        if name in arrays and not (name == FEATURES and place.shared):
            return arrays[name], arrays[mask] if mask in arrays and mask is not None else None
    if CLIP_ID in arrays and place.entry is None:
        rows = np.flatnonzero(arrays[CLIP_ID].astype(str) == place.clip_id)
        if len(rows) != 1:
            count = "no row" if not len(rows) else f"{len(rows)} rows"
            raise BadFeatures(f"{path.name} has {count} of this clip_id", "correct its array clip_id")
        return _row(path, arrays, _many_clips(path, arrays, place), int(rows[0]))
    if place.shared or place.entry is not None:
        raise BadFeatures(
            f"{path.name} holds nothing called '{named}'",
            "name the clip's array in a column 'entry', or its row in a column 'row'",
        )
    return arrays[_only(path, arrays)], arrays.get(MASK, None)


def _many_clips(path: Path, arrays: FeatureArrays, place: Place) -> str:
    if place.entry is None:
        return _only(path, arrays)
    if place.entry not in arrays:
        raise BadFeatures(f"{path.name} holds nothing called '{place.entry}'", "correct the column 'entry'")
    return place.entry


def _only(path: Path, arrays: FeatureArrays) -> str:
    """The one array that can be the features."""
    if FEATURES in arrays:
        return FEATURES
    names = [name for name in arrays if name not in (MASK, CLIP_ID)]
    if len(names) != 1:
        shown = ", ".join(names[:5]) or "no array"
        remedy = "call the features 'features', or name them in a column 'entry'"
        raise BadFeatures(f"{path.name} holds {shown}", remedy)
    return names[0]


def _row(path: Path, arrays: FeatureArrays, name: str, row: int) -> tuple[Array, Array | None]:
    features = arrays[name]
    if features.ndim < 2 or not 0 <= row < len(features):
        raise BadFeatures(f"{path.name} has no row {row} (it is {_shape(features)})", "correct the column 'row'")
    own = features[row]
    if MASK not in arrays:
        return own, None
    masks = arrays[MASK]
    if masks.ndim != 2 or len(masks) <= row:
        raise BadFeatures(f"{path.name} has a mask of shape {_shape(masks)}", "save a mask (clips, steps)")
    return own, masks[row]


def _checked(where: str, features: Array, mask: Array | None) -> NDArray[np.float32]:
    """(T, D) float32 of a clip's (D,) or (T, D) numbers."""
    if features.dtype.kind not in NUMBERS:
        raise BadFeatures(f"{where} holds {features.dtype}, no numbers", "save an array of floats")
    if features.ndim not in (1, 2) or not features.size:
        raise BadFeatures(
            f"{where} has features of shape {_shape(features)}", "give each clip an array (D,) or (T, D), not empty"
        )
    if features.size * np.dtype(np.float32).itemsize > MAX_CLIP_BYTES:
        raise BadFeatures(f"{where} has {_shape(features)} numbers for one clip", "keep fewer steps of it")
    steps = np.atleast_2d(features)
    if mask is not None:
        steps = steps[_steps_that_count(where, mask, len(steps))]
    with np.errstate(over="ignore"):  # what doesn't fit is infinite, which is said below
        values = np.ascontiguousarray(steps, np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        step, place = bad[0].tolist()
        raise BadFeatures(
            f"{where} holds {len(bad)} numbers that are not finite, the first in step {step} at place {place}",
            "compute its features again, or remove the row",
        )
    return values


def _steps_that_count(where: str, mask: Array, steps: int) -> NDArray[np.bool_]:
    if mask.shape != (steps,) or mask.dtype.kind not in NUMBERS or not np.isin(mask, (0, 1)).all():
        raise BadFeatures(
            f"{where} has a mask of shape {_shape(mask)} and type {mask.dtype} for {steps} steps",
            "save one true or false (1 or 0) a step",
        )
    if not mask.any():
        raise BadFeatures(f"{where} has a mask that leaves out every step", "correct the mask or remove the row")
    return cast(NDArray[np.bool_], mask.astype(bool))


def _shape(array: Array) -> str:
    return "×".join(map(str, array.shape)) or "one number"
