"""Clips of different splits that show the same are found, copied or encoded again; different ones are not."""

import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from data_catalog.datasets.records import ClipRecord
from data_catalog.media.perceptual_hash import appearance, first_frame_hash, similarities
from data_catalog.media.video import probe, read_frames
from data_catalog.store import ArtifactDamaged
from data_catalog.synthetic.sport import make_dataset
from data_catalog.tables.shared_content import SAME, SIMILAR, read_shared_content, write_shared_content
from data_catalog.tables.sources import Sources
from tasks.assessment import shared_content
from tasks.assessment.shared_content import MAX_HASH_BITS, MIN_SIMILARITY, find_shared_content
from tests.support.dataset_files import write_frames, write_video

# size, quality (CRF, the greater the worse), brightness in grey levels, contrast, frame rate kept of
ENCODINGS = {
    "half as large, brighter": (0.5, 34, 25, 1.0, 1),
    "hardly recognisable, darker": (0.5, 42, -40, 0.9, 1),
    "larger, more contrast": (1.5, 28, 10, 1.2, 1),
    "half the frames": (1.0, 30, 0, 1.0, 2),
}


def encode_again(
    source: Path, target: Path, scale: float, crf: int, brightness: int, contrast: float, step: int
) -> Path:
    frames = read_frames(source, np.arange(0, probe(source).num_frames, step))
    height, width = (round(side * scale) // 2 * 2 for side in frames.shape[1:3])
    with av.open(str(target), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.options = width, height, "yuv420p", {"crf": str(crf)}
        for frame in frames:
            image = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            image = np.clip(image * contrast + brightness, 0, 255).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    return target


def clip(video: Path, split: str, start: int | None = None, end: int | None = None, clip_id: str = "") -> ClipRecord:
    return ClipRecord(clip_id or f"{video.stem}-{split}", str(video), split, start_frame=start, end_frame=end)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path / "sources.parquet")


@pytest.fixture(scope="module")
def drawn(tiny_videos: Path) -> list[Path]:
    return sorted((tiny_videos / "videos").glob("*.mp4"))


def test_a_copy_is_found_by_its_digest_and_the_others_are_not(
    drawn: list[Path], tmp_path: Path, sources: Sources
) -> None:
    copy = Path(shutil.copy(drawn[0], tmp_path / "copy.mp4"))
    clips = [*(clip(video, "train") for video in drawn), clip(copy, "test")]
    found = find_shared_content(clips, sources)
    assert [(row.first, row.second, row.kind) for row in found.rows] == [(clips[0].clip_id, "copy-test", SAME)]
    assert str(found.rows[0]) == f"clips '{clips[0].clip_id}' (train) and 'copy-test' (test) have the same content"
    assert {path for path in (drawn[0], copy) if sources.known(path)} == {drawn[0], copy}
    assert not any(sources.known(video) for video in drawn[1:])  # of another size: not read
    assert find_shared_content([replace(one, split="train") for one in clips], sources).rows == ()


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_clip_encoded_again_is_found_by_its_pictures(
    drawn: list[Path], tmp_path: Path, sources: Sources, name: str
) -> None:
    again = encode_again(drawn[1], tmp_path / "again.mp4", *ENCODINGS[name])
    clips = [*(clip(video, "train") for video in drawn), clip(again, "val")]
    (row,) = find_shared_content(clips, sources).rows
    assert (row.first, row.second, row.kind) == (clips[1].clip_id, "again-val", SIMILAR)
    assert row.similarity >= MIN_SIMILARITY


def test_clips_of_one_video_share_it_where_half_of_the_shorter_lies_in_both(tmp_path: Path, sources: Sources) -> None:
    video = write_video(tmp_path / "broadcast.mp4", 12)
    parts = {"whole": (None, None), "a": (0, 4), "b": (2, 6), "c": (5, 9), "d": (9, None)}
    clips = [clip(video, "test" if name in "bd" else "train", *span, name) for name, span in parts.items()]
    found = find_shared_content(clips, sources, most_clips=1)
    pairs = {(row.first, row.second) for row in found.rows}
    assert pairs == {("whole", "b"), ("whole", "d"), ("a", "b")}  # b and c have one frame of four in common
    assert not found.by_pictures


def test_folders_of_frames_are_compared_too(tmp_path: Path, sources: Sources) -> None:
    one = write_frames(tmp_path / "one", ["1.png", "2.png"])
    other = Path(shutil.copytree(one, tmp_path / "other"))
    (row,) = find_shared_content([clip(one, "train"), clip(other, "test")], sources).rows
    assert row.kind == SAME


def test_what_cannot_be_decoded_is_named_and_the_others_go_on(
    drawn: list[Path], tmp_path: Path, sources: Sources
) -> None:
    (tmp_path / "no.mp4").write_bytes(b"no video at all")
    copy = Path(shutil.copy(drawn[0], tmp_path / "copy.mp4"))
    bad = [clip(tmp_path / "no.mp4", "test"), clip(tmp_path / "x", "val")]
    clips = [clip(drawn[0], "train"), *bad, clip(copy, "test")]
    told: list[tuple[int, int]] = []
    found = find_shared_content(clips, sources, advance=lambda done, total: told.append((done, total)))
    assert len(found.rows) == 1
    assert found.unread == ("no-test", "x-val")
    assert told[-1][0] == told[-1][1]


def test_rows_are_bounded(tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_content, "MAX_ROWS", 7)
    video = write_video(tmp_path / "v.mp4")
    clips = [clip(video, "test" if number % 2 else "train", clip_id=str(number)) for number in range(40)]
    assert len(find_shared_content(clips, sources).rows) == 7


def test_what_was_found_is_read_back_and_checked(
    drawn: list[Path], tmp_path: Path, sources: Sources
) -> None:
    clips = [clip(drawn[0], "train"), clip(drawn[0], "test")]
    rows = find_shared_content(clips, sources).rows
    write_shared_content(tmp_path, rows)
    assert tuple(read_shared_content(tmp_path)) == rows
    (tmp_path / "shared_content.parquet").write_bytes(b"rot")
    with pytest.raises(ArtifactDamaged):
        read_shared_content(tmp_path)


def false_positives(videos: list[Path]) -> list[tuple[str, str]]:
    """Pairs of different clips that would be taken for the same."""
    hashes = [first_frame_hash(video) for video in videos]
    looks = [appearance(video) for video in videos]
    return [
        (videos[i].name, videos[j].name)
        for i, j in combinations(range(len(videos)), 2)
        if np.bitwise_count(hashes[i] ^ hashes[j]) <= MAX_HASH_BITS
        and similarities(looks[i], [looks[j]])[0] >= MIN_SIMILARITY
    ]


@pytest.mark.slow
def test_filmed_clips_are_not_taken_for_each_other(shared: Path) -> None:
    folders = (shared / "real", shared / "real-train")
    videos = [path for folder in folders for path in sorted(folder.rglob("*.mp4"))]
    assert len(videos) > 20
    assert false_positives(videos) == []


@pytest.mark.slow
def test_the_demos_sixty_dives_are_not_taken_for_each_other(tmp_path: Path) -> None:
    make_dataset(tmp_path, kind="diving", clips=60, seed=0, workers=2)
    assert false_positives(sorted((tmp_path / "videos").glob("*.mp4"))) == []
