"""Tubes to and from annotation tools, which number the frames of the source video and know nothing of our clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.tracks.text import Track
from data_catalog.tracks.video_tracks import VideoTracks
from flows.tracking.export_tubes import FollowedClip, tracked_clips

LABEL = "athlete"


def tubes_of_videos(
    workspace: Workspace, dataset: str, preset: str | None, overrides: Sequence[str]
) -> list[VideoTracks]:
    """The tubes of a dataset, all athletes of a clip, frame by frame of the source video.

    Between the frames that were tracked corners go linearly; before the first and behind the last there is nobody.

    Raises:
        CatalogError, ConfigError: no such dataset or preset, or the dataset was never run.
    """
    return [_video(one) for one in tracked_clips(workspace, dataset, preset, overrides)]


def _video(one: FollowedClip) -> VideoTracks:
    tracked, places = np.unique(one.source_index, return_index=True)
    start = one.clip.start_frame or 0
    count = max(start + one.frames, int(tracked[-1]) + 1)
    drawn = np.zeros(count, bool)
    drawn[tracked] = True
    quads = np.full((len(one.quads), count, 4, 2), np.nan)
    inside = np.arange(tracked[0], tracked[-1] + 1)
    known = one.quads[:, places].astype(np.float64)
    for athlete in range(len(known)):
        columns = [np.interp(inside, tracked, column) for column in known[athlete].reshape(len(tracked), 8).T]
        quads[athlete, inside] = np.stack(columns, axis=1).reshape(-1, 4, 2)
    return VideoTracks(
        one.clip.clip_id,
        quads,
        (LABEL,) * len(quads),
        drawn,
        frame_wh=one.source_wh,
        fps=one.fps,
        video=one.clip.video,
    )


@dataclass(frozen=True, eq=False)
class ImportedTracks:
    """What the tracker `published` reads: by clip (N, 4, 2) float32 quads; and one sentence for what was left out."""

    tubes: dict[str, Track]
    notes: tuple[str, ...]


def take_tracks(
    videos: Sequence[VideoTracks], athlete: int, clips: Sequence[ClipRecord] | None = None
) -> ImportedTracks:
    """One target of each video; with `clips` of each clip, cut to its frames.

    Args:
        videos: as they were read.
        athlete: which of several targets, from 0 in the order of the file.
        clips: whose tubes are wanted: a video is a clip's if it is called as the clip, or as the clip's video file.

    Raises:
        CatalogError: nothing is left.
    """
    tubes: dict[str, Track] = {}
    notes = [f"{video.name}: {note}" for video in videos for note in video.notes]
    for video in videos:
        if athlete >= len(video.quads):
            notes.append(f"{video.name}: it has {len(video.quads)} targets and none number {athlete}")
            continue
        if len(video.quads) > 1:
            notes.append(f"{video.name}: target {athlete} of {len(video.quads)} was taken; choose with --athlete")
        quads = video.quads[athlete].astype(np.float32)
        if clips is None:
            tubes[video.name] = quads
            continue
        mine = [clip for clip in clips if video.name == clip.clip_id] or [
            clip for clip in clips if Path(clip.video).stem in {video.name, Path(video.video).stem}
        ]
        for clip in mine:
            first = clip.start_frame or 0
            end = clip.end_frame or max(len(quads), first + 1)
            if end > len(quads):
                notes.append(
                    f"{video.name}: clip '{clip.clip_id}' needs frames {first} to {end - 1} of its video and the "
                    f"tracks have {len(quads)} frames; it was left out"
                )
            else:
                tubes[clip.clip_id] = quads[first:end]
        if not mine:
            notes.append(f"{video.name}: no clip of the dataset is called so, nor its video")
    if not tubes:
        raise CatalogError(f"None of the tracks can be used: {notes[0] if notes else 'there are none'}.")
    return ImportedTracks(tubes, tuple(notes))
