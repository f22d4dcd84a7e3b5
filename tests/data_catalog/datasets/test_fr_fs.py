"""FR-FS in its published layout: old .xls sheets, boxes as JSON, frame folders. The files themselves are not public."""

import json
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import xlwt

from data_catalog.datasets import DatasetError, build_adapter
from tests.support.dataset_files import write_frames

FRFS = build_adapter("fr_fs")
Row = tuple[object, object]


def write_xls(path: Path, rows: list[Row]) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for line, row in enumerate([("name", "label"), *rows]):
        for column, value in enumerate(row):
            if value is not None:
                sheet.write(line, column, value)
    book.save(str(path))


def write_dataset(root: Path, train: list[Row], test: list[Row], boxes: dict[str, object] | None = None) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    write_xls(root / "Train.xls", train)
    write_xls(root / "Test.xls", test)
    for key, _ in [*train, *test]:
        write_frames(root / "Images" / str(key), ["0001.jpg", "0002.jpg"])
    if boxes is not None:
        (root / "FRFS_Boxes.json").write_text(json.dumps(boxes))
    return root


def quads(frames: int = 103) -> list[list[int]]:
    """A drifting rotated square, the first frame's corners in the Z order of the published file."""
    rows = [[100 + t, 50, 140 + t, 90, 100 + t, 130, 60 + t, 90] for t in range(frames)]
    rows[0] = rows[0][:4] + rows[0][6:] + rows[0][4:6]
    return rows


def test_sheets_boxes_and_frames(tmp_path: Path) -> None:
    write_dataset(tmp_path, [("308-1", 1), ("308-2", 0)], [("12-1", 1.0)], {"308-1": quads(), "12-1": quads()})
    listing = FRFS.read(tmp_path)
    assert [(r.clip_id, r.video, r.split, r.label, r.score, r.action) for r in listing.records] == [
        ("308-1", "Images/308-1", "train", 1, None, "figure_skating"),
        ("308-2", "Images/308-2", "train", 0, None, "figure_skating"),
        ("12-1", "Images/12-1", "test", 1, None, "figure_skating"),
    ]
    assert [r.boxes for r in listing.records] == [((60.0, 50.0, 80.0, 80.0),), (), ((60.0, 50.0, 80.0, 80.0),)]
    assert listing.rejected == listing.missing == ()
    assert listing.notes[0] == "first-frame boxes of 2 clips read from FRFS_Boxes.json"
    assert listing.notes[1].startswith("2 quads of 2 clips list their corners crosswise (first: clip '308-1' frame 0)")
    assert listing.warnings == (
        "1 clips have no first box in FRFS_Boxes.json (308-2); their athletes have to be detected",
    )


def test_the_published_counts_are_checked(tmp_path: Path) -> None:
    landed, falls = [(f"{n}-1", 1) for n in range(276)], [(f"{n}-2", 0) for n in range(141)]
    write_xls(tmp_path / "Train.xls", landed[::2] + falls[::2])
    write_xls(tmp_path / "Test.xls", landed[1::2] + falls[1::2])
    listing = FRFS.read(tmp_path)
    assert [c for c in FRFS.check(listing) if not c.ok] == []
    assert listing.warnings[0].startswith(
        "417 of 417 listed clips have no frames here (0-1, 2-1, 4-1 and 414 more); get"
    )
    write_xls(tmp_path / "Test.xls", landed[1::2] + falls[3::2])
    assert [(c.name, c.expected, c.found) for c in FRFS.check(FRFS.read(tmp_path)) if not c.ok] == [
        ("clips", "417", "416"),
        ("falls", "141", "140"),
    ]


def test_bad_rows_and_number_cells(tmp_path: Path) -> None:
    rows = [(308, 1), ("a-1", 2), ("b-1", None), (None, 1), ("../etc", 1), (308.0, 0), (None, None), ("ok", 0)]
    write_xls(tmp_path / "Train.xls", rows)
    write_xls(tmp_path / "Test.xls", [])
    listing = FRFS.read(tmp_path)
    assert [(r.clip_id, r.label) for r in listing.missing] == [("308", 1), ("ok", 0)]
    assert [(r.line, r.reason) for r in listing.rejected] == [
        (3, "the label '2' is neither 0 (fall) nor 1 (landed)"),
        (4, "the label '' is neither 0 (fall) nor 1 (landed)"),
        (5, "the row has no clip key"),
        (6, "the clip key '../etc' is no folder name"),
        (7, "clip '308' is listed twice"),
    ]


def test_sheets_saved_again_as_xlsx(tmp_path: Path) -> None:
    for name, key in (("Train", "1-1"), ("Test", "1-2")):
        book = openpyxl.Workbook()
        book.active.append(["name", "label"])
        book.active.append([key, 1])
        book.save(tmp_path / f"{name}.xlsx")
    assert [(r.clip_id, r.split) for r in FRFS.read(tmp_path).missing] == [("1-1", "train"), ("1-2", "test")]


def test_missing_or_damaged_files_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no Train\.xls; get FRFS from https://github\.com/Shunli-Wang"):
        FRFS.read(tmp_path)
    write_dataset(tmp_path, [("1-1", 1)], [])
    (tmp_path / "Train.xls").write_bytes(b"no sheet")
    with pytest.raises(DatasetError, match=r"Train\.xls is damaged, locked by a password or no Excel workbook"):
        FRFS.read(tmp_path)
    write_dataset(tmp_path, [("1-1", 1)], [], {"1-1": "nothing"})
    with pytest.raises(DatasetError, match=r"FRFS_Boxes\.json holds no track of 8 numbers a frame"):
        FRFS.read(tmp_path)


def test_without_boxes_the_note_says_so(tmp_path: Path) -> None:
    write_dataset(tmp_path / "FRFS", [("1-1", 1)], [("1-2", 0)])
    listing = FRFS.read(tmp_path)
    assert [r.video for r in listing.records] == ["FRFS/Images/1-1", "FRFS/Images/1-2"]
    assert "has to be detected" in listing.notes[0]
    assert np.array([r.boxes == () for r in listing.records]).all()
