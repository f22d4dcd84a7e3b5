"""MTL-AQA: the real annotation with its known faults, and every layout that users have."""

import pickle
from pathlib import Path

import pytest

from data_catalog.datasets import ClipRecord, DatasetError, Listing, build_adapter
from data_catalog.datasets.mtl_aqa import breaks_judge_rule
from data_catalog.datasets.scores import compute_score_statistics
from tests.support.dataset_files import digest, write_frames, write_video

MTL = build_adapter("mtl_aqa")
WITH_DIVE_NUMBERS = "final_annotations_dict_with_dive_number.pkl"
WITH_JUDGES = "augmented_final_annotations_dict.pkl"
PLAIN = "final_annotations_dict.pkl"


@pytest.fixture(scope="module")
def annotation(shared: Path) -> Path:
    return shared / "data" / "mtl-aqa"


@pytest.fixture
def listing(annotation: Path, tmp_path: Path) -> Listing:
    return MTL.read(tmp_path, annotation)


def by_id(listing: Listing) -> dict[str, ClipRecord]:
    return {record.clip_id: record for record in listing.annotated}


@pytest.mark.parametrize("file", [WITH_DIVE_NUMBERS, WITH_JUDGES, PLAIN])
def test_every_real_annotation_agrees_with_everything_published(annotation: Path, tmp_path: Path, file: str) -> None:
    listing = MTL.read(tmp_path, annotation / file)
    checks = MTL.check(listing)
    assert [c for c in checks if not c.ok] == []
    assert len(checks) == (7 if file == PLAIN else 8)
    assert len(listing.missing) == 1412
    assert listing.rejected == ()
    assert listing.notes == (f"annotation read from {file}",)


def test_real_counts_and_ranges(listing: Listing) -> None:
    clips = listing.annotated
    assert [sum(c.split == split for c in clips) for split in ("train", "val", "test")] == [1059, 0, 353]
    lengths = [c.end_frame - c.start_frame for c in clips if c.start_frame is not None and c.end_frame is not None]
    assert (min(lengths), max(lengths), round(sum(lengths) / 1412)) == (54, 273, 106)
    assert sum(n > 103 for n in lengths) == 637
    assert sorted(c.clip_id for c in clips if c.score == 0.0) == ["17_164", "17_35"]
    assert {c.difficulty for c in clips if c.difficulty is not None} >= {1.5, 4.1}
    events = {(c.extra or {})["event"] for c in clips}
    assert events == {1, 2, 3, 4, 5, 6, 7, 9, 10, 13, 14, 17, 18, 22, 26}
    assert not {"01_64", "17_72", "17_149", "26_92"} & {c.clip_id for c in clips}
    assert len({(c.extra or {})["dive_number"] for c in clips}) == 58
    assert {c.action for c in clips} == {"diving"}
    published = compute_score_statistics(clips, "published")["diving"]
    assert (published.min, published.max) == (0.0, 104.5)
    assert compute_score_statistics(clips, "train-only")["diving"].max == 102.6


def test_one_real_dive_in_full(listing: Listing) -> None:
    dive = by_id(listing)["01_01"]
    assert (dive.score, dive.difficulty, dive.start_frame, dive.end_frame) == (88.0, 3.2, 7377, 7462)
    assert dive.judges == (9.5, 9.0, 9.5, 9.0, 8.5, 9.5, 8.5)
    assert dive.extra == {
        "event": 1, "dive": 1, "length": 85, "primary_view": 0, "position": 2, "armstand": 0, "rotation_type": 2,
        "ss_no": 7, "tw_no": 0, "dive_number": "407C",
    }  # fmt: skip


def test_the_thirty_faulty_dives_are_warned_of_and_kept(listing: Listing) -> None:
    broken = [c for c in listing.annotated if breaks_judge_rule(c)]
    assert len(broken) == 30
    assert [sum(c.split == split for c in broken) for split in ("train", "test")] == [21, 9]
    assert sum((c.extra or {})["event"] in (5, 9, 13, 18) for c in broken) == 18
    warning = listing.warnings[0]
    assert "do not give the final score of 30 dives (21 train and 9 test), worst is 01_70, off by 19.8" in warning
    assert by_id(listing)["01_70"].score == pytest.approx(sum(sorted(by_id(listing)["01_70"].judges)[2:5])
                                                          * by_id(listing)["01_70"].difficulty, abs=19.85)  # fmt: skip


def test_the_mark_of_45_is_warned_of_and_kept(annotation: Path, tmp_path: Path, listing: Listing) -> None:
    augmented = MTL.read(tmp_path, annotation / WITH_JUDGES)
    assert "a judge's mark of dive 04_49 is 45, above 10; it is kept as published" in augmented.warnings
    assert 45.0 in by_id(augmented)["04_49"].judges
    assert 45.0 not in by_id(listing)["04_49"].judges
    assert not any("above 10" in warning for warning in listing.warnings)
    same = [k for k, r in by_id(listing).items() if r.judges == by_id(augmented)[k].judges]
    assert len(same) == 1411


def test_missing_videos_are_one_sentence(listing: Listing) -> None:
    sentence = listing.warnings[-1]
    assert sentence.startswith("1412 of 1412 annotated dives have no video here (events 01, 02, 03")
    assert "Video_List.xlsx" in sentence


LAYOUTS = {
    "broadcast video": ("01.mp4", True),
    "broadcast video in videos": ("videos/1.mp4", True),
    "broadcast frames": ("01", True),
    "broadcast frames of another loader": ("new/new_total_frames_256s/01", True),
    "three digits": ("frames/001", True),
    "clip frames": ("data/frames/01_01", False),
    "clip frames, unpadded": ("frames_long/1_1", False),
    "clip frames, three digits": ("frames/01_001", False),
    "nested clip frames": ("frames/01/01", False),
    "clip video": ("clips/01_01.avi", False),
}


@pytest.mark.parametrize(("place", "whole"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(annotation: Path, tmp_path: Path, place: str, whole: bool) -> None:
    if Path(place).suffix:
        write_video(tmp_path / place)
    else:
        write_frames(tmp_path / place, [f"{n:06d}.jpg" for n in range(1, 4)])
    listing = MTL.read(tmp_path, annotation)
    record = next(r for r in listing.records if r.clip_id == "01_01")
    assert record.video == place
    assert (record.start_frame, record.end_frame) == ((7377, 7462) if whole else (None, None))
    of_event_1 = sum((c.extra or {})["event"] == 1 for c in listing.annotated)
    assert len(listing.records) == (of_event_1 if whole else 1)
    assert ("cut from whole broadcasts" in listing.notes[1]) is whole
    short = [w for w in listing.warnings if "extract every frame of the broadcast" in w]
    assert bool(short) is (whole and not Path(place).suffix)


def test_a_broadcast_is_never_written_to(annotation: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "26.mp4")
    before, stamp = digest(video), video.stat().st_mtime_ns
    listing = MTL.read(tmp_path, annotation)
    assert {r.video for r in listing.records} == {"26.mp4"}
    assert (digest(video), video.stat().st_mtime_ns) == (before, stamp)
    assert list(tmp_path.iterdir()) == [video]


def write_small(folder: Path, dives: object, train: object, test: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ((PLAIN, dives), ("train_split_0.pkl", train), ("test_split_0.pkl", test)):
        (folder / name).write_bytes(pickle.dumps(content, protocol=3))
    return folder


def test_the_annotation_is_found_in_its_release_folder(tmp_path: Path) -> None:
    dive = {"start_frame": 10, "end_frame": 90, "difficulty": 3.0, "final_score": 60.0}
    where = "MTL-AQA_dataset_release/Ready_2_Use/MTL-AQA_split_0_data"
    write_small(tmp_path / where, {(1, 1): dive}, [(1, 1)], [])
    assert [r.clip_id for r in MTL.read(tmp_path).missing] == ["01_01"]


def test_faulty_dives_are_rejected_one_by_one(tmp_path: Path) -> None:
    good = {"start_frame": 10, "end_frame": 90, "difficulty": 3.0, "final_score": 60.0}
    dives = {
        (1, 1): good,
        (1, 2): {**good, "final_score": float("nan")},
        (1, 3): {**good, "end_frame": 10},
        (1, 4): {"start_frame": 1},
        (1, 6): good,
    }
    write_small(tmp_path, dives, [(1, 1), (1, 2), (1, 3), (1, 1)], [(1, 4), (1, 5), ("../..", 1)])
    listing = MTL.read(tmp_path)
    assert [r.clip_id for r in listing.missing] == ["01_01"]
    assert [(r.clip_id, r.reason) for r in listing.rejected] == [
        ("01_02", "its final_score is nan, not a finite number"),
        ("01_03", "it runs from frame 10 to frame 10"),
        ("01_01", "the dive is listed twice in the splits"),
        ("01_04", "its end_frame is None, not a finite number"),
        ("01_05", "the split names a dive that the annotation does not have"),
        (None, "the key ('../..', 1) is not an (event, dive) pair of whole numbers"),
        ("01_06", "the dive is in neither split"),
    ]


def test_missing_or_wrong_files_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"holds no final_annotations_dict\.pkl; get it from https://github\.com/Parit"
    ):
        MTL.read(tmp_path)
    write_small(tmp_path, [1, 2], [], [])
    with pytest.raises(DatasetError, match=r"final_annotations_dict\.pkl holds a list, not a dict"):
        MTL.read(tmp_path)
    write_small(tmp_path, {}, [], [])
    (tmp_path / "test_split_0.pkl").unlink()
    with pytest.raises(DatasetError, match=r"test_split_0\.pkl is not beside final_annotations_dict\.pkl"):
        MTL.read(tmp_path)
    (tmp_path / PLAIN).write_bytes(b"cposix\nsystem\n(S'false'\ntR.")
    with pytest.raises(DatasetError, match=r"asks for 'posix\.system'"):
        MTL.read(tmp_path)
