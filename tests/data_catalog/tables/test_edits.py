"""Label edits: laid over the ingested table, append-only, kept by re-ingest, a loss is an error."""

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from data_catalog.catalog import DatasetInfo, Datasets
from data_catalog.datasets.records import ClipRecord, Listing
from data_catalog.json_file import sealed
from data_catalog.tables.edits import Edit, EditError, Edits, EditsLost, edit_warnings, parse_value
from tests.support.file_damage import empty, folder, link, pipe

RECORDS = tuple(
    ClipRecord(f"c{i}", f"{i}.mp4", "train", score=float(i), judges=(7.0, 8.5), boxes=((1.0, 2.0, 3.0, 4.0),), label=i)
    for i in range(5)
)


def edit(clip: str, field: str, new: object, old: object = None) -> Edit:
    return Edit(clip, field, old, new, "anna@desk", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def datasets(tmp_path: Path, said: list[str]) -> Datasets:
    known = Datasets(tmp_path / "datasets", said.append)
    known.add(DatasetInfo("d", "folder", str(tmp_path)), Listing(RECORDS))
    return known


def test_no_edits_change_nothing(datasets: Datasets) -> None:
    assert tuple(datasets.clips("d")) == RECORDS
    assert datasets.bad("d") == []


def test_the_last_edit_of_a_field_holds_and_the_order_of_clips_stays(datasets: Datasets) -> None:
    edits = [
        edit("c3", "score", 81.5),
        edit("c1", "boxes", [[5.0, 6.0, 7.0, 8.0], [1.0, 1.0, 2.0, 2.0]]),
        edit("c3", "score", 82.5),
        edit("c3", "split", "test"),
        edit("c0", "bad", True),
        edit("gone", "score", 1.0),
    ]
    datasets.edits("d").append(edits[:2])
    datasets.edits("d").append(edits[2:])
    clips = datasets.clips("d")
    assert [clip.clip_id for clip in clips] == ["c0", "c1", "c2", "c3", "c4"]
    assert (clips[3].score, clips[3].split, clips[3].judges) == (82.5, "test", (7.0, 8.5))
    assert clips[1].boxes == ((5.0, 6.0, 7.0, 8.0), (1.0, 1.0, 2.0, 2.0))
    assert (clips[2], clips[4]) == (RECORDS[2], RECORDS[4])
    assert datasets.bad("d") == ["c0"]
    assert datasets.edits("d").read() == edits


def test_none_and_empty_take_a_value_away(datasets: Datasets) -> None:
    datasets.edits("d").append([edit("c2", "score", None), edit("c2", "boxes", []), edit("c2", "bad", False)])
    clip = datasets.clips("d")[2]
    assert (clip.score, clip.boxes, clip.bad, clip.boxes_by_person) == (None, (), False, False)


def test_why_a_clip_is_bad_is_kept_with_it(datasets: Datasets) -> None:
    datasets.edits("d").append([edit("c1", "bad", True), edit("c1", "bad_reason", "two dives in one clip")])
    assert [(clip.bad, clip.bad_reason) for clip in datasets.clips("d")][:2] == [
        (False, None),
        (True, "two dives in one clip"),
    ]
    assert parse_value("bad_reason", [" two dives "]) == "two dives"
    with pytest.raises(EditError, match="at most 500 letters"):
        parse_value("bad_reason", ["x" * 501])


def test_boxes_that_a_person_drew_say_so(datasets: Datasets) -> None:
    datasets.edits("d").append([edit("c2", "boxes", [[1.0, 2.0, 30.0, 40.0]])])
    assert [clip.boxes_by_person for clip in datasets.clips("d")] == [False, False, True, False, False]
    datasets.edits("d").append([edit("c2", "boxes", None, [[1.0, 2.0, 30.0, 40.0]])])
    assert not any(clip.boxes_by_person for clip in datasets.clips("d"))


def test_only_the_columns_asked_for_are_read(datasets: Datasets) -> None:
    datasets.edits("d").append([edit("c2", "split", "val"), edit("c2", "score", 1.0)])
    table = datasets.table("d", ["clip_id", "split"])
    assert table.column_names == ["clip_id", "split", "bad", "boxes_by_person", "bad_reason"]
    assert table.column("split").to_pylist() == ["train", "train", "val", "train", "train"]


def test_reading_the_dataset_again_keeps_the_edits(datasets: Datasets, tmp_path: Path) -> None:
    datasets.edits("d").append([edit("c3", "score", 81.5, 3.0)])
    datasets.add(DatasetInfo("d", "folder", str(tmp_path)), Listing(RECORDS[::-1]))
    assert [clip.score for clip in datasets.clips("d")] == [4.0, 81.5, 2.0, 1.0, 0.0]


def test_an_overtaken_edit_and_one_without_a_clip_are_told() -> None:
    edits = [edit("c3", "score", 81.5, 3.5), edit("gone", "score", 1.0), edit("c2", "score", 9.0, 2.0)]
    gone, overtaken = edit_warnings(edits, RECORDS)
    assert "1 clips with edited labels are no longer in the dataset (gone" in gone
    assert "clip 'c3' now has score 3.0 in the label file, 3.5 when anna@desk set it to 81.5" in overtaken


def files(datasets: Datasets) -> tuple[Path, Path]:
    """The corrections, and their count."""
    return datasets.root / "d" / "edits.jsonl", datasets.root.parent / "edits" / "d.json"


def keep_lines(*kept: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[number] for number in kept))

    return change


def other_value(path: Path) -> None:
    path.write_text(path.read_text().replace("20.0", "99.0"))


LOSSES: dict[str, Callable[[Path], None]] = {
    "emptied": empty,
    "deleted": Path.unlink,
    "cut at a line's end": keep_lines(0),
    "first line gone": keep_lines(1, 2),
    "line gone": keep_lines(0, 2),
    "swapped": keep_lines(1, 0, 2),
    "repeated": keep_lines(0, 1, 2, 1),
    "one in another's place": keep_lines(0, 1, 1),
    "value changed": other_value,
    "folder": folder,
    "link": link,
    "pipe": pipe,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_corrections_that_are_lost_are_an_error_with_the_remedy(datasets: Datasets, loss: str) -> None:
    edits = datasets.edits("d")
    edits.append([edit("c1", "score", 10.0), edit("c2", "score", 20.0)])
    edits.append([edit("c3", "score", 30.0)])
    path, _head = files(datasets)
    LOSSES[loss](path)
    for attempt in (lambda: datasets.clips("d"), lambda: edits.append([edit("c4", "score", 1.0)])):
        with pytest.raises(EditsLost, match=r"put the file back from a backup, or delete .*d\.json") as caught:
            attempt()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_remedy_goes_on_with_what_is_left(datasets: Datasets, said: list[str]) -> None:
    edits = datasets.edits("d")
    edits.append([edit("c1", "score", 10.0), edit("c2", "score", 20.0)])
    path, head = files(datasets)
    keep_lines(0)(path)
    head.unlink()
    assert [one.new for one in edits.read()] == [10.0]
    assert said == [f"{head} was missing; it was made again for the 1 corrections there are."]
    edits.append([edit("c4", "score", 40.0)])
    assert [clip.score for clip in datasets.clips("d")] == [0.0, 10.0, 2.0, 3.0, 40.0]
    assert len(said) == 1


def test_a_damaged_count_is_made_again_and_said(datasets: Datasets, said: list[str]) -> None:
    datasets.edits("d").append([edit("c1", "score", 10.0)])
    _, head = files(datasets)
    whole = head.read_bytes()
    head.write_bytes(whole.replace(b'"count": 1', b'"count": 2'))
    assert datasets.clips("d")[1].score == 10.0
    assert head.read_bytes() == whole
    assert [sentence for sentence in said if str(head) in sentence] == said[:1]


@pytest.mark.parametrize("damage", [b"{", b"not json", b"\xff\xfe", b'{"clip_id": "c1"}'])
def test_of_a_file_of_the_version_before_a_damaged_line_is_reported_and_the_others_hold(
    datasets: Datasets, said: list[str], damage: bytes
) -> None:
    path, _head = files(datasets)
    ours = [edit("c1", "score", 10.0), edit("c2", "score", 20.0)]
    first, second = (json.dumps(sealed(asdict(one))).encode() for one in ours)
    path.write_bytes(b"\n".join([first, damage, second]) + b"\n")
    assert [clip.score for clip in datasets.clips("d")] == [0.0, 10.0, 20.0, 3.0, 4.0]
    assert said == [said[0]]
    assert f"Line 2 of {path} is damaged" in said[0]
    path.write_bytes(first + b"\n")  # from the first reading on it is counted
    with pytest.raises(EditsLost, match="1 of the 2"):
        datasets.clips("d")


def test_a_line_that_its_writer_did_not_finish_is_reported_and_the_next_begins_a_new_one(
    datasets: Datasets, said: list[str]
) -> None:
    edits = datasets.edits("d")
    edits.append([edit("c1", "score", 10.0)])
    path, head = files(datasets)
    counted = head.read_bytes()
    edits.append([edit("c2", "score", 20.0)])
    path.write_bytes(path.read_bytes()[:-20])
    head.write_bytes(counted)  # it is written after the lines
    edits.append([edit("c4", "score", 40.0)])
    assert [clip.score for clip in datasets.clips("d")] == [0.0, 10.0, 2.0, 3.0, 40.0]
    assert "Line 2" in said[0]


def test_a_line_whose_writer_was_killed_before_it_was_counted_holds(datasets: Datasets, said: list[str]) -> None:
    edits = datasets.edits("d")
    edits.append([edit("c1", "score", 10.0)])
    _, head = files(datasets)
    counted = head.read_bytes()
    edits.append([edit("c2", "score", 20.0)])
    head.write_bytes(counted)
    edits.append([edit("c4", "score", 40.0)])
    assert [clip.score for clip in datasets.clips("d")] == [0.0, 10.0, 20.0, 3.0, 40.0]
    assert said == []


def append_many(path: Path, who: int) -> None:
    for number in range(20):
        Edits(path).append([edit(f"c{who}", "score", float(number))])


def test_two_processes_append_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("spawn")
    writers = [fork.Process(target=append_many, args=(tmp_path / "edits.jsonl", who)) for who in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = Edits(tmp_path / "edits.jsonl", pytest.fail).read()
    assert [one.new for one in found if one.clip_id == "c0"] == [float(n) for n in range(20)]
    assert len(found) == 40


@pytest.mark.parametrize(
    ("field", "texts", "value"),
    [
        ("score", ["81.5"], 81.5),
        ("score", [""], None),
        ("difficulty", ["3.2"], 3.2),
        ("label", ["2"], 2),
        ("split", ["val"], "val"),
        ("action", ["diving"], "diving"),
        ("judges", ["7,8.5, 9"], [7.0, 8.5, 9.0]),
        ("box", ["1,2,3,4", "5,6,7.5,8"], [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.5, 8.0]]),
        ("box", [""], []),
        ("bad", ["True"], True),
        ("end_frame", ["103"], 103),
    ],
)
def test_values_as_a_person_types_them(field: str, texts: list[str], value: object) -> None:
    parsed = parse_value(field, texts)
    assert parsed == value
    assert json.loads(json.dumps(parsed, allow_nan=False)) == value


@pytest.mark.parametrize(
    ("field", "texts", "told"),
    [
        ("scor", ["1"], "no label 'scor'"),
        ("score", ["high"], "score must be a number, got 'high'"),
        ("score", ["nan"], "score must be a number"),
        ("score", ["1", "2"], "score is given 2 times"),
        ("difficulty", ["0"], "positive number"),
        ("label", ["-1"], "whole number from 0"),
        ("split", ["training"], "one of train, val, test"),
        ("judges", ["11"], "marks from 0 to 10"),
        ("judges", [",".join(["5"] * 21)], "up to 20 marks"),
        ("judges", ["1,,2"], "up to 20 marks"),
        ("box", ["1,2,3"], "x,y,w,h"),
        ("box", ["1,2,0,4"], "above 0"),
        ("box", ["1,2,inf,4"], "x,y,w,h"),
        ("bad", ["yes"], "true or false"),
        ("start_frame", ["1.5"], "whole number"),
    ],
)
def test_values_that_a_label_cannot_have(field: str, texts: list[str], told: str) -> None:
    with pytest.raises(EditError, match=told):
        parse_value(field, texts)
