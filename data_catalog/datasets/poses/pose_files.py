"""Poses of a clip as other programs write them: AlphaPose's JSON, COCO keypoints, or an array (T, J, 2 or 3).

One file a clip. A pose is the athlete's joints in one frame: x and y in pixels of the source video, and how sure the
program was of each. Row t of an array is the t-th frame of the clip; in JSON an image's number says which. Where
several persons were found in a frame, the surest one is taken: who of them is judged isn't known here.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.feature_files.arrays import BARE, BadFeatures, open_arrays
from data_catalog.datasets.feature_files.clip_features import Place, read_clip_features
from data_catalog.errors import BadVideo
from data_catalog.media.regular_file import open_regular

SUFFIXES = (".npy", ".json")
MAX_JSON_BYTES = 256 * 2**20
MAX_FRAMES = 200_000
MAX_JOINTS = 200
_NUMBER = re.compile(r"(\d{1,9})(?:\.\w{1,5})?$")
_EXPECTED = "save AlphaPose's JSON, COCO keypoints, or an array (frames, joints, 2 or 3)"
_Found = tuple[float, NDArray[np.float32]]


class BadPoses(ValueError):
    """Poses that can't be used; one sentence without a full stop, with the remedy."""


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """The poses of one clip.

    Attributes:
        joints: (T, J, 3) float32: x and y in pixels of the source video, and confidence; a frame without a pose is nan
            throughout, a joint that wasn't seen has confidence 0.
        crowded: frames in which more than one person was found.
    """

    joints: NDArray[np.float32]
    crowded: int = 0

    @property
    def there(self) -> NDArray[np.bool_]:
        """(T,) bool, whether a frame has a pose."""
        return cast(NDArray[np.bool_], np.isfinite(self.joints).all(axis=(1, 2)))


def read_poses(path: Path, root: Path) -> PoseTrack:
    """The poses in a file below `root`. Raises BadPoses."""
    if path.suffix.lower() == ".npy":
        return _of_array(path, root)
    try:
        with os.fdopen(open_regular(path, root), "rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
    except BadVideo as exc:
        remedy = exc.remedy.rstrip(".")
        raise BadPoses(f"{exc.reason.rstrip('.')}; {remedy[:1].lower()}{remedy[1:]}") from exc
    except OSError as exc:
        raise BadPoses(f"{path.name} can't be read ({exc.strerror or exc}); check the file") from exc
    if len(text) > MAX_JSON_BYTES:
        raise BadPoses(f"{path.name} is larger than {MAX_JSON_BYTES} bytes; save one file a clip")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise BadPoses(f"{path.name} is damaged or no JSON; save it again") from exc
    try:
        people, frames = _of_coco(content) if isinstance(content, dict) else _of_results(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise BadPoses(f"{path.name} isn't understood as poses; {_EXPECTED}") from exc
    return _surest(path, people, frames)


def read_steps(path: Path, place: Place, root: Path | None = None) -> NDArray[np.float32]:
    """As `read_clip_features`, (T, D) float32, whatever the file holds: features, or poses where `place` says so.

    Raises:
        BadFeatures: they can't be used.
    """
    return pose_steps(path, root or path.parent) if place.posed else read_clip_features(path, place, root)


def pose_steps(path: Path, root: Path) -> NDArray[np.float32]:
    """The poses of a file as steps (T, 3·J) float32: x, y and confidence of joint after joint.

    In a frame without a pose each joint lies on the line between its places before and after, with confidence 0.

    Raises:
        BadFeatures: they can't be used.
    """
    try:
        track = read_poses(path, root)
    except BadPoses as exc:
        reason, _, remedy = str(exc).rpartition("; ")
        raise BadFeatures(reason, remedy) from exc
    there, frames = np.flatnonzero(track.there), np.arange(len(track.joints))
    if not len(there):
        raise BadFeatures(f"{path.name} has no frame with a pose", "run the pose estimator again, or remove the row")
    filled = np.zeros_like(track.joints)
    filled[there, :, 2] = track.joints[there, :, 2]
    for joint, axis in np.ndindex(track.joints.shape[1], 2):
        filled[:, joint, axis] = np.interp(frames, there, track.joints[there, joint, axis])
    return filled.reshape(len(filled), -1)


def _of_array(path: Path, root: Path) -> PoseTrack:
    try:
        array = open_arrays(path, root)[BARE]
    except BadFeatures as exc:
        raise BadPoses(str(exc)) from exc
    if array.ndim != 3 or array.shape[2] not in (2, 3) or array.dtype.kind not in "fiu":
        raise BadPoses(f"{path.name} holds {array.dtype} of shape {array.shape}; {_EXPECTED}")
    _check_size(path, *array.shape[:2])
    joints = np.ones((*array.shape[:2], 3), np.float32)
    joints[..., : array.shape[2]] = array
    joints[~np.isfinite(joints).all(axis=(1, 2))] = np.nan
    return PoseTrack(joints)


def _of_results(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[int, list[_Found]], int]:
    """AlphaPose's list, and COCO's of results: a row a person, whose `image_id` is or ends with the frame's number."""
    people: dict[int, list[_Found]] = defaultdict(list)
    for row in rows:
        people[_frame_number(row["image_id"])].append(_person(row))
    return people, 0


def _of_coco(content: Mapping[str, Any]) -> tuple[dict[int, list[_Found]], int]:
    """COCO's dataset: frames are its images in the order of their names, annotations the persons."""
    images = sorted(content["images"], key=lambda image: str(image["file_name"]))
    place = {image["id"]: number for number, image in enumerate(images)}
    people: dict[int, list[_Found]] = defaultdict(list)
    for row in content["annotations"]:
        people[place[row["image_id"]]].append(_person(row))
    return people, len(images)


def _frame_number(image: object) -> int:
    """The number that a name ends with, before its suffix."""
    found = _NUMBER.search(str(image))
    if found is None:
        raise ValueError(image)
    return int(found[1])


def _person(row: Mapping[str, Any]) -> _Found:
    """How sure a program is of a person, and the joints (J, 3)."""
    joints = np.asarray(row["keypoints"], np.float32).reshape(-1, 3)
    return float(row.get("score", joints[:, 2].mean())), joints


def _surest(path: Path, people: Mapping[int, list[_Found]], frames: int) -> PoseTrack:
    """One person a frame, as an array."""
    if not people:
        raise BadPoses(f"{path.name} holds no pose; {_EXPECTED}")
    sizes = {len(joints) for found in people.values() for _, joints in found}
    if len(sizes) > 1:
        raise BadPoses(f"{path.name} has poses of {min(sizes)} and of {max(sizes)} joints; save those of one kind")
    frames = max(frames, 1 + max(people))
    _check_size(path, frames, *sizes)
    joints = np.full((frames, *sizes, 3), np.nan, np.float32)
    for frame, found in people.items():
        joints[frame] = max(found, key=lambda one: one[0])[1]
    joints[~np.isfinite(joints).all(axis=(1, 2))] = np.nan
    return PoseTrack(joints, sum(len(found) > 1 for found in people.values()))


def _check_size(path: Path, frames: int, joints: int) -> None:
    if not 0 < frames <= MAX_FRAMES or not 0 < joints <= MAX_JOINTS:
        raise BadPoses(
            f"{path.name} has {frames} frames of {joints} joints, and from 1 to {MAX_FRAMES} of up to {MAX_JOINTS} are "
            "read; save one file a clip"
        )
