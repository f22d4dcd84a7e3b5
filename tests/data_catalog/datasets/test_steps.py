"""Steps of clips: tables of them, row by row, and what an adapter calls so."""

from pathlib import Path

import numpy as np
import pytest

from data_catalog.datasets import DatasetError
from data_catalog.datasets.records import ClipRecord, Listing, Step
from data_catalog.datasets.step_labels import steps_of_frames, without_odd_steps
from data_catalog.datasets.step_table import add_steps

CLIPS = (
    ClipRecord("a", "a.mp4", "train", score=1.0, extra={"dive_number": "407C"}),
    ClipRecord("b", "b.mp4", "test", score=2.0, start_frame=100, end_frame=200),
)


def read(folder: Path, text: str) -> Listing:
    path = folder / "steps.csv"
    path.write_text(text)
    return add_steps(Listing(CLIPS), path)


def test_a_table_of_steps_in_any_order_and_by_other_words(tmp_path: Path) -> None:
    listing = read(tmp_path, "clip;Step;Start Frame;end\na;flight;20;61\nb;1;100;150\na;take-off;0;20\n")
    a, b = listing.records
    assert a.steps == (Step("take-off", 0, 20), Step("flight", 20, 61))
    assert b.steps == (Step("1", 100, 150),)
    assert (a.extra or {})["dive_number"] == "407C"
    assert listing.rejected == ()
    assert listing.notes[-1] == "3 steps of 2 clips were read from steps.csv"


def test_every_wrong_row_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    rows = [
        "clip_id,step,start,end",
        "a,take-off,0,20",
        "a,flight,19,61",
        "a,entry,61,61",
        "a,,61,70",
        "a,entry,6.5,70",
        "a,entry,61,",
        "b,take-off,0,20",
        "b,entry,190,201",
        "c,take-off,0,20",
        "c,entry,20,40",
        ",entry,20,40",
        "a,flight,20,61",
    ]
    listing = read(tmp_path, "\n".join(rows))
    assert [clip.steps for clip in listing.records] == [(Step("take-off", 0, 20), Step("flight", 20, 61)), ()]
    assert [str(row) for row in listing.rejected] == [
        "clip 'a', steps.csv line 3: step 'flight' overlaps 'take-off' of steps.csv line 2; let one end where the next "
        "starts",
        "clip 'a', steps.csv line 4: the end 61 is not after the start 61; correct the frames; the end is not included",
        "clip 'a', steps.csv line 5: the step has no name; fill the step column",
        "clip 'a', steps.csv line 6: its start '6.5' is no frame number; write a whole number of frames from 0",
        "clip 'a', steps.csv line 7: its end is missing; write a whole number of frames from 0",
        "clip 'b', steps.csv line 8: step 'take-off' (0 to 20) is not inside the clip's frames, 100 to 200; count the "
        "frames in the video, as start_frame and end_frame of the labels do",
        "clip 'b', steps.csv line 9: step 'entry' (190 to 201) is not inside the clip's frames, 100 to 200; count the "
        "frames in the video, as start_frame and end_frame of the labels do",
        "clip 'c', steps.csv line 10: the dataset has no clip 'c'; name a clip of the labels, or remove its rows",
        "steps.csv line 12: the row has no clip_id; fill the clip_id column",
    ]


def test_a_table_without_a_column_says_which(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"steps\.csv has no column 'end'"):
        read(tmp_path, "clip_id,step,start\na,flight,0\n")


def test_runs_of_one_label_are_steps() -> None:
    labels = np.array([13, 13, 13, 5, 5, 13, 28])
    assert steps_of_frames(labels, 7) == [Step("13", 7, 10), Step("5", 10, 12), Step("13", 12, 13), Step("28", 13, 14)]
    assert steps_of_frames(np.empty(0, np.int64)) == []


@pytest.mark.parametrize(
    "odd", [5, ["flight"], [["flight", 0]], [["flight", 5, 5]], [["b", 5, 9], ["a", 0, 6]], [["a", True, 4]]]
)
def test_what_is_no_list_of_steps_is_left_out_and_said(odd: object) -> None:
    clip = ClipRecord("x", "x.mp4", "train", score=1.0, extra={"steps": odd, "kept": 1})
    listing = without_odd_steps(Listing((clip, CLIPS[0].with_steps([Step("flight", 3, 9)]))))
    assert [one.extra for one in listing.records] == [
        {"kept": 1}, {"dive_number": "407C", "steps": [["flight", 3, 9]]},
    ]  # fmt: skip
    assert listing.warnings[0].startswith("extra['steps'] of clip 'x' is no list of [name, start, end]")
