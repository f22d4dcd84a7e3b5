"""Finds clips of different splits that show the same.

Files are equal by their digests, which are computed only where two files have one size. Clips that were encoded again
are found by their pictures: hashes of first frames sift, then thumbnails of the clips that are left decide.
"""

from __future__ import annotations

import heapq
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.records import ClipRecord
from data_catalog.errors import BadVideo
from data_catalog.media.perceptual_hash import Appearance, appearance, first_frame_hash, similarities
from data_catalog.tables.shared_content import SAME, SIMILAR, SharedContent
from data_catalog.tables.sources import Sources, signature

# Of 64 bits of two first frames' hashes; clips encoded again differed in at most 8, others by chance in 32.
MAX_HASH_BITS = 16
# Of thumbnails; clips encoded again had at least .92, different ones at most .86: benchmarks/shared_content.py.
MIN_SIMILARITY = 0.9
MIN_OVERLAP = 0.5  # of the shorter of two clips of one file
MAX_ROWS = 10_000
WORKERS = 4

T = TypeVar("T")
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Comparison:
    """What comparing the splits of a dataset found.

    Attributes:
        rows: pairs of clips that show the same, at most `MAX_ROWS`.
        unread: ids of the clips that could not be decoded.
        by_pictures: False where there were too many clips for looking at them.
    """

    rows: tuple[SharedContent, ...]
    unread: tuple[str, ...] = ()
    by_pictures: bool = True


def find_shared_content(
    clips: Sequence[ClipRecord], sources: Sources, most_clips: int | None = None, advance: Advance | None = None
) -> Comparison:
    """Compare all clips of different splits.

    Args:
        clips: the clips of a dataset, their videos as absolute paths.
        sources: digests that are known already; new ones are kept there.
        most_clips: above so many clips their pictures are not looked at; None for no limit.
        advance: called with the clips that were looked at, and how many there are to look at.
    """
    if len({clip.split for clip in clips}) < 2:
        return Comparison(())
    same = list(islice(_same_files(clips, sources), MAX_ROWS))
    if most_clips is not None and len(clips) > most_clips:
        return Comparison(tuple(same), by_pictures=False)
    known = {(row.first, row.second) for row in same}
    alike, unread = _similar_clips(clips, advance or (lambda done, total: None))
    similar = (row for row in alike if (row.first, row.second) not in known)
    return Comparison((*same, *islice(similar, MAX_ROWS - len(same))), unread)


# ---- equal files ----


def _same_files(clips: Sequence[ClipRecord], sources: Sources) -> Iterator[SharedContent]:
    of_video: dict[str, list[int]] = defaultdict(list)
    for index, clip in enumerate(clips):
        of_video[clip.video].append(index)
    of_content: dict[str, list[int]] = defaultdict(list)
    contents = _contents(of_video, sources)
    for video, indices in of_video.items():
        of_content[contents.get(video, video)] += indices
    for indices in of_content.values():
        if len({clips[index].split for index in indices}) > 1:
            for first, second in map(sorted, _overlapping(clips, indices)):
                yield _row(clips, first, second, SAME, 1.0)


def _contents(videos: Sequence[str] | dict[str, list[int]], sources: Sources) -> dict[str, str]:
    """Video → digest, of those that share their size with another one."""
    of_size: dict[int, list[Path]] = defaultdict(list)
    for video in videos:
        try:
            size = signature(Path(video)).size
        except OSError:
            continue
        if size:  # an empty file shows nothing
            of_size[size].append(Path(video))
    doubtful = [path for paths in of_size.values() if len(paths) > 1 for path in paths]
    return {str(path): digest for path, digest in sources.digest(doubtful).items()} if doubtful else {}


def _overlapping(clips: Sequence[ClipRecord], indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs of different splits, of clips of one content, that have at least `MIN_OVERLAP` of the shorter in common."""

    def span(index: int) -> tuple[float, float]:
        end = clips[index].end_frame
        return clips[index].start_frame or 0, math.inf if end is None else end

    running: dict[str, set[int]] = defaultdict(set)  # split → its clips that have not ended yet
    ends: list[tuple[float, int]] = []
    for index in sorted(indices, key=span):
        (start, end), split = span(index), clips[index].split
        while ends and ends[0][0] <= start:
            _, ended = heapq.heappop(ends)
            running[clips[ended].split].discard(ended)
        for other in (one for name, ones in running.items() if name != split for one in sorted(ones)):
            common = min(end, span(other)[1]) - start
            shorter = min(end - start, span(other)[1] - span(other)[0])
            if common == shorter or common >= MIN_OVERLAP * shorter:  # both may be without an end
                yield other, index
        running[split].add(index)
        heapq.heappush(ends, (end, index))


# ---- pictures ----


def _similar_clips(clips: Sequence[ClipRecord], advance: Advance) -> tuple[Iterator[SharedContent], tuple[str, ...]]:
    hashes = _each_clip(clips, lambda clip: first_frame_hash(Path(clip.video), clip.start_frame), advance)
    pairs = list(_candidates(clips, hashes))
    wanted = sorted({index for first, seconds in pairs for index in (first, *seconds.tolist())})
    looks = _each_clip(
        [clips[index] for index in wanted],
        lambda clip: appearance(Path(clip.video), clip.start_frame, clip.end_frame),
        lambda done, total: advance(len(clips) + done, len(clips) + total),
    )
    of_clip = dict(zip(wanted, looks, strict=True))
    unread = [clips[index].clip_id for index, value in enumerate(hashes) if value is None]
    unread += [clips[index].clip_id for index, look in of_clip.items() if look is None]
    return _alike(clips, pairs, of_clip), tuple(unread)


def _each_clip(
    clips: Sequence[ClipRecord], look: Callable[[ClipRecord], T], advance: Advance
) -> list[T | None]:
    """`look` at every clip; None for one that can't be decoded, which the run will say in its own words."""

    def at(clip: ClipRecord) -> T | None:
        try:
            return look(clip)
        except (BadVideo, OSError):
            return None

    results: list[T | None] = []
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        for result in pool.map(at, clips):
            results.append(result)
            advance(len(results), len(clips))
    return results


def _candidates(
    clips: Sequence[ClipRecord], hashes: Sequence[np.uint64 | None]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each clip with the later ones of other splits whose first frames are alike."""
    there = np.asarray([index for index, value in enumerate(hashes) if value is not None], np.int64)
    bits = np.asarray([value for value in hashes if value is not None], np.uint64)
    splits = np.asarray([clips[index].split for index in there], object)
    for place in range(len(there)):
        later = slice(place + 1, None)
        alike = np.bitwise_count(bits[later] ^ bits[place]) <= MAX_HASH_BITS
        found = there[later][alike & (splits[later] != splits[place])]
        if found.size:
            yield int(there[place]), found


def _alike(
    clips: Sequence[ClipRecord],
    pairs: Sequence[tuple[int, NDArray[np.int64]]],
    looks: dict[int, Appearance | None],
) -> Iterator[SharedContent]:
    for first, seconds in pairs:
        one = looks[first]
        others = [(index, look) for index in seconds.tolist() if (look := looks[index]) is not None]
        if one is None or not others:
            continue
        values = similarities(one, [look for _, look in others])
        for (second, _), value in zip(others, values.tolist(), strict=True):
            if value >= MIN_SIMILARITY:
                yield _row(clips, first, second, SIMILAR, value)


def _row(clips: Sequence[ClipRecord], first: int, second: int, kind: str, similarity: float) -> SharedContent:
    one, other = clips[first], clips[second]
    return SharedContent(one.clip_id, other.clip_id, one.split, other.split, kind, round(similarity, 4))
