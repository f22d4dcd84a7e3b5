"""Poses as a dataset's optional layer: a file a clip in a folder, called as the clip is; what is wrong is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_catalog.datasets.layouts import abridge
from data_catalog.datasets.poses.pose_files import SUFFIXES, BadPoses, PoseTrack, read_poses
from data_catalog.datasets.records import ClipRecord, Listing
from data_catalog.errors import DatasetError

POSES = "poses"
"""Where a record's `extra` holds the name of its file."""


def pose_file(clip: ClipRecord) -> str | None:
    """Name of the clip's file within the folder of poses; None where it has none."""
    found = (clip.extra or {}).get(POSES)
    return found if isinstance(found, str) else None


def add_poses(listing: Listing, folder: Path) -> Listing:
    """The listing with the poses of a folder: clips whose file can be used name it, and the rest is counted.

    Raises:
        DatasetError: there is no such folder, or not one clip has a file in it.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; give the folder that holds a file of poses for each clip")
    names = {path.stem: path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    files = {clip.clip_id: names[clip.clip_id] for clip in listing.annotated if clip.clip_id in names}
    if not files:
        raise DatasetError(
            f"no file of {folder} is called as a clip is; name them CLIP.json or CLIP.npy, e.g. "
            f"{listing.annotated[0].clip_id}.json"
        )
    layer = _PoseFolder(folder, files)

    def with_poses(clips: Sequence[ClipRecord]) -> tuple[ClipRecord, ...]:
        return tuple(
            replace(clip, extra=dict(clip.extra or {}) | {POSES: files[clip.clip_id]}) if clip.clip_id in layer.read
            else clip
            for clip in clips
        )  # fmt: skip

    without = [clip.clip_id for clip in listing.annotated if clip.clip_id not in files]
    return replace(
        listing,
        records=with_poses(listing.records),
        missing=with_poses(listing.missing),
        warnings=(*listing.warnings, *layer.warnings(without, len(listing.annotated))),
        notes=(*listing.notes, *layer.notes()),
    )


class _PoseFolder:
    """What the files of a folder hold, and what of it is missing or wrong.

    Args:
        folder: the folder.
        files: clip id → name of its file.
    """

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self._folder = folder
        self.read: dict[str, PoseTrack] = {}
        self._wrong: dict[str, str] = {}
        for clip_id, name in files.items():
            try:
                self.read[clip_id] = read_poses(folder / name, folder)
            except BadPoses as exc:
                self._wrong[clip_id] = str(exc)
        self._joints = self._one_kind()

    def _one_kind(self) -> int:
        """The number of joints that most clips have; those with another are wrong."""
        counts = Counter(track.joints.shape[1] for track in self.read.values())
        usual = counts.most_common(1)[0][0] if counts else 0
        for clip_id, track in list(self.read.items()):
            if (number := track.joints.shape[1]) != usual:
                self._wrong[clip_id] = f"it has poses of {number} joints, most clips of {usual}; save those of one kind"
                del self.read[clip_id]
        return usual

    def notes(self) -> list[str]:
        """What was read."""
        frames = sum(len(track.joints) for track in self.read.values())
        what = f"poses of {len(self.read)} clips, {self._joints} joints in {frames} frames"
        return [f"{what}, were read from {self._folder.name}/"]

    def warnings(self, without: Sequence[str], clips: int) -> list[str]:
        """One sentence for each kind of fault."""
        told = []
        if without:
            told.append(f"{len(without)} of {clips} clips have no poses in {self._folder.name}/: {abridge(without)}")
        if self._wrong:
            clip_id, why = next(iter(self._wrong.items()))
            told.append(f"the poses of {len(self._wrong)} clips are left out; the first, clip '{clip_id}': {why}")
        gaps = {clip_id: int((~track.there).sum()) for clip_id, track in self.read.items()}
        if missing := sum(gaps.values()):
            frames = sum(len(track.joints) for track in self.read.values())
            most = max(gaps, key=lambda clip_id: gaps[clip_id])
            told.append(
                f"{missing} of {frames} frames have no pose, in {sum(map(bool, gaps.values()))} clips; most of them, "
                f"{gaps[most]}, in clip '{most}'"
            )
        if crowded := sum(track.crowded for track in self.read.values()):
            told.append(f"in {crowded} frames more than one person was found; the surest was taken, whoever it is")
        return told
