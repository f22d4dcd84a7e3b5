"""A user's labels.csv: good rows go on, each bad row gets one sentence with its line."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_catalog.catalog import clips_table
from data_catalog.datasets import ADAPTERS, ClipRecord, DatasetError, Listing, build_adapter
from tests.support.dataset_files import write_frames, write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    write_video(root / "a.mp4")
    write_video(root / "deep" / "b.mp4")
    write_frames(root / "frames" / "c", ["1.jpg", "2.jpg"])
    (root / "empty").mkdir()
    outside = write_video(root.parent / "outside" / "secret.mp4")
    (root / "link.mp4").symlink_to(outside)
    (root / "linked").symlink_to(outside.parent)
    (root / "inner.mp4").symlink_to(root / "a.mp4")
    (root / "dangling.mp4").symlink_to(root / "gone.mp4")
    os.mkfifo(root / "pipe.mp4")
    return root


def read(videos: Path, tmp_path: Path, text: str | bytes) -> Listing:
    labels = tmp_path / "labels.csv"
    labels.write_bytes(text if isinstance(text, bytes) else text.encode())
    return build_adapter("folder").read(videos, labels)


def test_a_full_row_keeps_every_value(videos: Path, tmp_path: Path) -> None:
    header = "clip_id,video,split,score,action,difficulty,judge_1,judge_2,judge_3,label,x,y,w,h,start_frame,end_frame"
    row = "dive 1,deep/b.mp4,Test,84.15,diving,3.2,8,,7.5,1,10.5,-2,30,40,100,203"
    listing = read(videos, tmp_path, f"{header}\n{row}\n")
    assert listing.rejected == listing.warnings == ()
    assert listing.records == (
        ClipRecord(
            "dive 1", "deep/b.mp4", "test", "diving", 84.15, 3.2, (8.0, 7.5), 1, ((10.5, -2.0, 30.0, 40.0),), 100, 203
        ),
    )


def test_folders_inner_links_and_absolute_paths_inside_are_fine(videos: Path, tmp_path: Path) -> None:
    rows = ["frames/c", "frames/c/", "./a.mp4", "deep/../a.mp4", "inner.mp4", str(videos / "a.mp4")]
    text = "clip_id,video,split,score\n" + "".join(f"c{i},{v},train,1\n" for i, v in enumerate(rows))
    listing = read(videos, tmp_path, text)
    assert [r.video for r in listing.records] == ["frames/c", "frames/c", "a.mp4", "a.mp4", "inner.mp4", "a.mp4"]
    assert listing.rejected == ()


BAD = {
    "no video": ("x,,train,1", "the row has no video"),
    "missing file": ("x,none.mp4,train,1", "the video 'none.mp4' does not exist"),
    "missing folder": ("x,none/a.mp4,train,1", "the folder 'none' does not exist"),
    "file as folder": ("x,a.mp4/b.mp4,train,1", "the folder 'a.mp4' does not exist"),
    "empty folder": ("x,empty,train,1", "the folder 'empty' holds no images"),
    "pipe": ("x,pipe.mp4,train,1", "neither a file nor a folder"),
    "dangling link": ("x,dangling.mp4,train,1", "neither a file nor a folder|does not exist"),
    "link out": ("x,link.mp4,train,1", "'link.mp4' is a link that leaves the videos folder"),
    "folder link out": ("x,linked/secret.mp4,train,1", "'linked' is a link that leaves the videos folder"),
    "dots": ("x,../outside/secret.mp4,train,1", "leaves the videos folder"),
    "dots through link": ("x,linked/../a.mp4/../../outside/secret.mp4,train,1", "leaves the videos folder"),
    "absolute": ("x,/etc/hostname,train,1", "'/etc/hostname' leaves the videos folder"),
    "no score": ("x,a.mp4,train,", "the score is missing"),
    "nan": ("x,a.mp4,train,nan", "the score is missing"),
    "infinite": ("x,a.mp4,train,inf", "the score 'inf' is not a finite number"),
    "beyond float32": ("x,a.mp4,train,1e39", "the score '1e39' is not a finite number"),
    "text": ("x,a.mp4,train,good", "the score 'good' is not a finite number"),
    "a comma that may be of thousands": ('x,a.mp4,train,"1,234"', "the score '1,234' may mean 1234 or 1.234"),
    "label too large": ("x,a.mp4,train,1,1,1,2,3,4,3000000000", "the label '3000000000' is above 2147483647"),
    "label of 20 digits": ("x,a.mp4,train,1,1,1,2,3,4,99999999999999999999", "is above 2147483647"),
    "end_frame of 20 digits": ("x,a.mp4,train,1,1,1,2,3,4,,99999999999999999999", "is above 2147483647"),
    "score beyond float64": ("x,a.mp4,train,1e400", "the score '1e400' is not a finite number"),
    "long clip_id": ("é" * 101 + ",a.mp4,train,1", "longer than 200 bytes"),
    "escape in clip_id": ("\x1b[31mx,a.mp4,train,1", "holds a character that file names cannot"),
    "split": ("x,a.mp4,trian,1", "the split 'trian' is unknown, perhaps 'train' is meant"),
    "no split": ("x,a.mp4,,1", "the split is missing"),
    "no clip_id": (",a.mp4,train,1", "the row has no clip_id"),
    "path as clip_id": ("../x,a.mp4,train,1", "the clip_id '../x' holds a character"),
    "duplicate": ("good,a.mp4,train,1", "clip_id 'good' is already in line 2"),
    "other labels": ("good,a.mp4,test,1,,5,5,9,9", "its split differs from line 2"),
    "judge": ("x,a.mp4,train,1,10.5", "judge_1 '10.5' is above 10"),
    "negative judge": ("x,a.mp4,train,1,-0.5", "judge_1 '-0.5' is below 0"),
    "box infinite": ("x,a.mp4,train,1,,1,2,inf,4", "the box value w 'inf' is not a finite number"),
    "box flat": ("x,a.mp4,train,1,,1,2,0,4", "the box value w '0' is not above 0"),
    "half a box": ("x,a.mp4,train,1,,1,2,3,", "only some of x, y, w, h"),
    "too many cells": ("x,a.mp4,train,1,1,1,1,1,1,1,1,1", "the row has 12 cells where the header has 11"),
    "control character": ("x,a\x07.mp4,train,1", "holds a control character"),
}


@pytest.mark.parametrize(("row", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_row_is_rejected_and_the_others_go_on(videos: Path, tmp_path: Path, row: str, sentence: str) -> None:
    header = "clip_id,video,split,score,judge_1,x,y,w,h,label,end_frame"
    listing = read(videos, tmp_path, f"{header}\ngood,a.mp4,train,1,,,,,\n{row}\nlast,a.mp4,train,2,,,,,\n")
    assert [r.clip_id for r in listing.records] == ["good", "last"]
    (rejected,) = listing.rejected
    assert rejected.line == 3
    assert rejected.file == "labels.csv"
    assert any(part in rejected.reason for part in sentence.split("|")), rejected.reason
    assert rejected.remedy
    assert str(rejected).isprintable()
    clips_table(listing.records)  # what was taken fits into the catalog


def test_lines_are_counted_past_blank_and_broken_rows(videos: Path, tmp_path: Path) -> None:
    text = "clip_id,video,split,score\n\na,a.mp4,train,1\nbroken,row\n,,,\nb,a.mp4,train,nan\n"
    listing = read(videos, tmp_path, text)
    assert [(r.line, r.clip_id) for r in listing.rejected] == [(4, None), (6, "b")]
    assert [r.clip_id for r in listing.records] == ["a"]


def test_rows_with_other_boxes_are_athletes_of_one_clip(videos: Path, tmp_path: Path) -> None:
    text = (
        "clip_id,video,split,score,x,y,w,h\n"
        "sync,a.mp4,train,70,1,2,3,4\n"
        "solo,a.mp4,test,60,9,9,9,9\n"
        "sync,,,,50,2,3,4\n"  # empty cells are those of the first row
        "sync,a.mp4,train,70,1.0,2,3,4\n"  # the first athlete again, written otherwise
    )
    listing = read(videos, tmp_path, text)
    sync, solo = listing.records
    assert sync.boxes == ((1.0, 2.0, 3.0, 4.0), (50.0, 2.0, 3.0, 4.0))
    assert sync.extra == {"athletes": 2}
    assert (solo.boxes, solo.extra) == (((9.0, 9.0, 9.0, 9.0),), None)
    assert [(r.line, "already in line 2" in r.reason) for r in listing.rejected] == [(5, True)]


def test_an_athlete_column_alone_tells_athletes_apart(videos: Path, tmp_path: Path) -> None:
    text = "clip_id,video,split,score,athlete\nsync,a.mp4,train,70,1\nsync,a.mp4,train,70,2\nsync,a.mp4,train,70,2\n"
    listing = read(videos, tmp_path, text)
    assert [(r.clip_id, r.boxes, r.extra) for r in listing.records] == [("sync", (), {"athletes": 2})]
    assert [r.line for r in listing.rejected] == [4]


def test_labels_can_stand_in_for_scores(videos: Path, tmp_path: Path) -> None:
    listing = read(
        videos, tmp_path, "clip_id,video,split,label\na,a.mp4,train,1\nb,a.mp4,train,0.5\nc,a.mp4,train,-1\n"
    )
    assert [(r.label, r.score) for r in listing.records] == [(1, None)]
    assert [r.reason for r in listing.rejected] == [
        "the label '0.5' is not a whole number",
        "the label '-1' is below 0",
    ]


def test_frame_numbers_must_run_forward(videos: Path, tmp_path: Path) -> None:
    text = (
        "clip_id,video,split,score,start_frame,end_frame\na,a.mp4,train,1,5,5\nb,a.mp4,train,1,,3\nc,a.mp4,train,1,2,\n"
    )
    listing = read(videos, tmp_path, text)
    assert [(r.clip_id, r.start_frame, r.end_frame) for r in listing.records] == [("b", None, 3), ("c", 2, None)]
    assert "end_frame 5 is not after" in listing.rejected[0].reason


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "clip_id,video,split,scor\n",
            "neither a column 'score' nor a column 'label'; rename column 'scor' to 'score'",
        ),
        ("clip_id,vidio,split,score\n", "no column 'video'; rename column 'vidio'"),
        ("clip_id,split,score\n", "no column 'video'; add it; the file has clip_id, split, score"),
        ("clip_id;video;split;score\n", "a header but no rows"),
        ("clip_id,video,split,score,score\nx,a.mp4,train,1,2\n", "names column 'score' twice"),
        ("clip_id,video,split,score,x,y\n", "only some of the columns x, y, w, h"),
        ("clip_id,video,split,score\n", "a header but no rows"),
        ("", "labels.csv is empty"),
        ("  \n", "labels.csv is empty"),
        (bytes(range(256)) + bytes(200), "is not a text file"),
    ],
)
def test_a_file_that_is_no_label_table_says_why(videos: Path, tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read(videos, tmp_path, text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_name_the_nearest(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "label.csv").touch()
    folder = build_adapter("folder")
    with pytest.raises(DatasetError, match=r"no label file .*labels\.csv; did you mean label\.csv\?"):
        folder.read(videos, tmp_path / "labels.csv")
    with pytest.raises(DatasetError, match="there is no folder"):
        folder.read(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="is a folder; give the label file inside it"):
        folder.read(videos, tmp_path)


def test_marks_excel_leaves_behind_are_read(videos: Path, tmp_path: Path) -> None:
    text = '\ufeffClip_ID, Video ,split,score\r\n"a, b",a.mp4,train, 1.5 \r\n'
    listing = read(videos, tmp_path, text)
    assert [(r.clip_id, r.score) for r in listing.records] == [("a, b", 1.5)]


def test_a_row_that_is_not_utf8_is_rejected_alone(videos: Path, tmp_path: Path) -> None:
    text = "clip_id,video,split,score\nZoë,a.mp4,train,1\n".encode() + b"Jos\xe9,a.mp4,train,1\nok,a.mp4,train,1\n"
    listing = read(videos, tmp_path, text)
    assert [r.clip_id for r in listing.records] == ["Zoë", "ok"]
    assert [(r.line, r.reason) for r in listing.rejected] == [(3, "the row is not UTF-8 text")]


def test_an_unused_column_is_told_with_the_likely_meaning(videos: Path, tmp_path: Path) -> None:
    listing = read(videos, tmp_path, "clip_id,video,split,score,dificulty,coach\na,a.mp4,train,1,2,Kim\n")
    assert listing.warnings == (
        "column 'dificulty' of labels.csv is not used; did you mean 'difficulty'?",
        "column 'coach' of labels.csv is not used",
    )


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
paths = st.sampled_from(["a.mp4", "deep/b.mp4", "..", "/", "linked"]) | cells
splits = st.sampled_from(["train", "test", "val"]) | cells
rows = st.lists(st.tuples(cells, paths, splits, cells | st.floats().map(str)), max_size=8)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=rows)
def test_any_text_gives_records_or_sentences_and_loses_no_row(
    videos: Path, tmp_path: Path, rows: list[tuple[str, ...]]
) -> None:
    quoted = ["clip_id,video,split,score", "always,a.mp4,train,1"]
    quoted += [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    try:
        listing = read(videos, tmp_path, "\n".join(quoted) + "\n")
    except DatasetError as exc:
        assert "not a text file" in str(exc)  # NULs among the first characters  # noqa: PT017
        return
    blank = sum(not any(cell.strip() for cell in row) for row in rows)
    blank += sum(row[0].strip().startswith("#") and not any(cell.strip() for cell in row[1:]) for row in rows)
    assert len(listing.records) + len(listing.rejected) == 1 + len(rows) - blank
    inside = videos.resolve()
    for record in listing.records:
        assert (videos / record.video).resolve().is_relative_to(inside)
    assert len({r.clip_id for r in listing.records}) == len(listing.records)


def test_every_registered_adapter_can_be_built_and_a_misspelt_one_is_corrected() -> None:
    for name in ADAPTERS:
        adapter = build_adapter(name)
        assert callable(adapter.read)
        assert callable(adapter.check)
    with pytest.raises(DatasetError, match=r"no dataset adapter 'mtlaqa' \(did you mean 'mtl_aqa'\?\)"):
        build_adapter("mtlaqa")


@pytest.mark.slow
def test_a_million_rows_are_read_in_under_a_minute(tmp_path: Path) -> None:
    for folder in range(50):
        for name in range(200):
            path = tmp_path / f"v{folder}" / f"{name}.mp4"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    with (tmp_path / "labels.csv").open("w") as file:
        file.write("clip_id,video,split,score,difficulty,judge_1,judge_2,x,y,w,h,start_frame,end_frame\n")
        for i in range(1_000_000):
            split, score = ("test", "nan") if i % 1000 == 7 else ("train", i % 1000 / 10)
            file.write(f"c{i},v{i % 50}/{i // 50 % 200}.mp4,{split},{score},2.5,8,8.5,10,20,50,100,{i},{i + 103}\n")
    began = time.process_time()  # the machine may be busy with other things
    listing = build_adapter("folder").read(tmp_path)
    seconds = time.process_time() - began
    assert len(listing.records) == 999_000
    assert len(listing.rejected) == 1_000
    assert seconds < 60, f"{seconds:.1f} s"
