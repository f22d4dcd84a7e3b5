"""Label files as people's spreadsheets write them: what a person would understand is read, the rest is one sentence."""

import io
import json
import random
import zipfile
from pathlib import Path

import openpyxl
import pytest
import xlwt

from data_catalog.catalog import clips_table
from data_catalog.datasets import DatasetError, Listing, build_adapter
from data_catalog.datasets.label_files.header import fold_name, header_names
from data_catalog.datasets.label_files.numbers import MISSING, read_numbers
from data_catalog.datasets.label_files.table import DELIMITERS
from data_catalog.datasets.label_files.workbook import cell_text
from data_catalog.datasets.label_rows import OPTIONAL, REQUIRED
from data_catalog.datasets.split_words import read_splits
from tests.support.dataset_files import write_video

CASES = Path(__file__).with_name("label_files")
BOTH = [("001", "a.mp4", "train", 84.15), ("002", "b.mp4", "test", 70.5)]
FIRST = BOTH[:1]
HEADER = ("clip_id", "video", "split", "score")
ROWS = (HEADER, ("001", "a.mp4", "train", 84.15), ("002", "b.mp4", "test", 70.5))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    for name in ("a.mp4", "b.mp4"):
        write_video(root / name)
    return root


def read(videos: Path, labels: Path) -> Listing:
    return build_adapter("folder").read(videos, labels)


def found(listing: Listing) -> list[tuple[str, str, str, float | None]]:
    return [(clip.clip_id, clip.video, clip.split, clip.score) for clip in listing.records]


# file → clips, and a part of the sentence that is said of it
EXPECTED = {
    "00_plain_crlf.csv": (BOTH, ""),
    "01_bom.csv": (BOTH, ""),
    "02_trailing_cols.csv": (BOTH, ""),
    "03_trailing_rows.csv": (BOTH, ""),
    "04_semicolon.csv": (BOTH, ""),
    "06_sep_line.csv": (BOTH, ""),
    "07_sep_comma.csv": (BOTH, ""),
    "08_cr_only.csv": (BOTH, ""),
    "09_utf16.csv": (BOTH, ""),
    "10_cp1252.csv": (BOTH, "read as Windows-1252 (its first such word reads 'rückwärts')"),
    "11_title_case.csv": (BOTH, ""),
    "12_space_header.csv": (BOTH, "column 'Final Score' of 12_space_header.csv was read as 'score'"),
    "13_nbsp.csv": (BOTH, ""),
    "14_title_row.csv": (BOTH, "line 1 ('Diving finals 2024') stands above the header and was left out"),
    "15_quoted.csv": (BOTH, ""),
    "16_pandas_index.csv": (BOTH, "column 1 of 16_pandas_index.csv has no name and was not used"),
    "17_float_frames.csv": ([("001", "b.mp4", "train", 84.15), BOTH[1]], ""),
    "18_split_words.csv": (BOTH, "the split 'Training' was read as 'train'"),
    "19_valid.csv": ([BOTH[0], ("002", "b.mp4", "val", 70.5)], "the split 'validation' was read as 'val'"),
    "20_na.csv": (BOTH, ""),
    "22_thousands.csv": ([("002", "b.mp4", "test", -70.5)], "the score '84.15 pts' is not a finite number: it has"),
    "23_comment.csv": (FIRST, "line 1 ('# made with tool X') stands above the header"),
    "24_tab.csv": (BOTH, ""),
    "26_ctrlz.csv": (BOTH, ""),
    "27_header_newline.csv": (FIRST, ""),
    "28_leading_blank.csv": (BOTH, ""),
    "29_dup_score.csv": (FIRST, "has column 'score' twice with the same cells; the first was read"),
    "30_smart_quotes.csv": (BOTH, ""),
}


def test_every_case_is_expected() -> None:
    assert sorted(EXPECTED) == sorted(path.name for path in CASES.iterdir())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_spreadsheets_file_is_read_as_a_person_would(videos: Path, name: str) -> None:
    clips, sentence = EXPECTED[name]
    listing = read(videos, CASES / name)
    assert found(listing) == clips
    said = [*listing.notes, *listing.warnings, *map(str, listing.rejected)]
    assert all(line.isprintable() for line in said)
    assert any(sentence in line for line in said) if sentence else said == []


HEAD, A, B = "clip_id,video,split,score\n", "001,a.mp4,train,84.15\n", "002,b.mp4,test,70.5\n"
PLAIN, COMMA = HEAD + A + B, (HEAD + A + B).replace(",", ";").replace(".15", ",15").replace("70.", "70,")
TEXTS = {
    "bars": PLAIN.replace(",", "|"),
    "decimal comma": COMMA,
    "decimal comma of three digits": COMMA.replace(",15", ",150").replace(",5", ",500"),
    "sep= with bars": "sep=|\n" + PLAIN.replace(",", "|"),
    "sep= padded by Excel": '"sep=,",,,\n' + PLAIN,
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "UTF-16, big end first": ("\ufeff" + PLAIN).encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
    "two marks": "\ufeff\ufeff" + PLAIN,
    "short rows": "clip_id,video,split,score,x,y,w,h\n001,a.mp4,train,84.15\n002,b.mp4,test,70.5,,\n",
    "long empty rows": HEAD + "001,a.mp4,train,84.15,,,,\n002,b.mp4,test,70.5,\n",
    "n.a. and dashes": (
        "clip_id,video,split,score,difficulty,judge_1\n001,a.mp4,train,84.15,n.a.,-\n002,b.mp4,test,70.5,–,N/A\n"
    ),
    "comments between": "# one\n" + HEAD + A + "# two,,,\n" + B + "#end\n",
    "header again": HEAD + A + HEAD + B,
    "two title rows": "Finals;;;\n\nBerlin 2024;;;\n" + COMMA,
    "spaces after commas": PLAIN.replace(",", ", "),
    "quoted with spaces": HEAD + '"001", "a.mp4", "train", "84.15"\n"002", "b.mp4", "test", "70.5"\n',
    "every line in quotes": "".join(f'"{line}"\n' for line in PLAIN.splitlines()),
    "camel case": "clipId,Video,Split,Score [pts]\n001,a.mp4,TRAIN SET,84.15\n002,b.mp4,Test-Set,70.5\n",
    "apostrophe as thousands": (
        "clip_id,video,split,score,start_frame\n001,a.mp4,train,84.15,0\n002,b.mp4,test,70.5,1'000\n"
    ),
    "full-width digits": HEAD + "001,a.mp4,train,８４.１５\n002,b.mp4,test,+70.5\n",
    "no line end": PLAIN.rstrip(),
    "old Mac with Ctrl-Z": PLAIN.replace("\n", "\r") + "\x1a",
}


@pytest.mark.parametrize("name", TEXTS)
def test_other_kinds_of_text_are_read(videos: Path, tmp_path: Path, name: str) -> None:
    text = TEXTS[name]
    labels = tmp_path / "labels.csv"
    labels.write_bytes(text if isinstance(text, bytes) else text.encode())
    listing = read(videos, labels)
    assert found(listing) == BOTH
    assert listing.rejected == ()


def write_xlsx(path: Path, rows: tuple[tuple[object, ...], ...] = ROWS, sheet: str = "Sheet1") -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    book.save(path)
    return book


def write_xls(path: Path) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Labels")
    for line, row in enumerate(ROWS):
        for column, value in enumerate(row):
            sheet.write(line, column, value)
    book.save(str(path))


@pytest.mark.parametrize("name", ["labels.xlsx", "labels.csv"], ids=["by its name", "whatever its name"])
def test_a_workbook_is_read(videos: Path, tmp_path: Path, name: str) -> None:
    book = write_xlsx(tmp_path / "book.xlsx", (("Finals 2024",), (), *ROWS))
    notes = book.create_sheet("notes")
    notes.append(("nothing", "here"))
    book.move_sheet("notes", -1)
    book.save(tmp_path / name)
    listing = read(videos, tmp_path / name)
    assert (found(listing), listing.rejected) == (BOTH, ())
    assert f"the labels were read from sheet 'Sheet1' of {name}" in listing.notes


def test_an_old_workbook_is_read(videos: Path, tmp_path: Path) -> None:
    write_xls(tmp_path / "labels.xls")
    assert found(read(videos, tmp_path / "labels.xls")) == BOTH


def test_a_workbooks_cells_are_what_its_reader_sees(videos: Path, tmp_path: Path) -> None:
    rows = (HEADER, (1, "a.mp4", "train", 84.15), (2.0, "b.mp4", "test", 70.5))
    book = write_xlsx(tmp_path / "labels.xlsx", rows)
    assert book.active is not None
    for line in (2, 3):
        book.active.cell(line, 1).number_format = "000"
    book.save(tmp_path / "labels.xlsx")
    assert found(read(videos, tmp_path / "labels.xlsx")) == BOTH
    assert [cell_text(value) for value in (None, 308.0, 84.15, True, " x ")] == ["", "308", "84.15", "True", "x"]


def test_a_number_that_became_a_date_is_one_sentence(videos: Path, tmp_path: Path) -> None:
    import datetime

    write_xlsx(tmp_path / "labels.xlsx", (HEADER, ("001", "a.mp4", "train", datetime.datetime(2024, 2, 3)), ROWS[2]))
    (rejected,) = read(videos, tmp_path / "labels.xlsx").rejected
    assert "the score '2024-02-03' is a date; format the column as Text or Number" in str(rejected)


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (zipped(mimetype="application/vnd.oasis.opendocument.spreadsheet"), "is an OpenDocument file"),
        (zipped(**{"Index/Document.iwa": "x"}), "is a document of Apple Numbers"),
        (zipped(**{"readme.txt": "x"}), "is a zip archive without a workbook"),
        (zipped(**{"xl/workbook.xml": "x"}), "is damaged, locked by a password or no Excel workbook"),
        (b"PK\x03\x04cut", "is damaged, locked by a password or no Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is damaged, locked by a password or no Excel workbook"),
        (b"\x89PNG\r\n\x1a\n" + bytes(300), "is not a text file"),
        (b"\x1f\x8b\x08rest", "is compressed with gzip, no table; unpack it"),
        (b"\n <html><table><tr><td>clip_id</td></tr></table></html>", "is HTML or XML, no table; open it in Excel"),
        (b'[{"clip_id": "001"}]', "is JSON, no table; save it with pandas: read_json(FILE).to_csv"),
        (b'clip_id,video,split,score\n001,"' + b"a" * 200_000, "cannot be read from line 2 on"),
    ],
)
def test_what_is_no_label_file_is_one_sentence_with_a_remedy(
    videos: Path, tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read(videos, tmp_path / "labels.csv")
    assert sentence in str(caught.value)
    assert "; " in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_quote_that_is_never_closed_names_its_line_and_how_much_it_swallows(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        'clip_id,video,split,score\n001,a.mp4,train,84.15\n002,"b.mp4,test,1\n3,a.mp4,test,1\n'
    )
    listing = read(videos, tmp_path / "labels.csv")
    assert found(listing) == FIRST
    (rejected,) = listing.rejected
    assert rejected.line == 3
    assert "runs over 2 lines; close the quotes that open in it" in str(rejected)


def test_a_folder_is_searched_for_any_kind_of_label_file(videos: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes((videos / name).read_bytes())
    write_xlsx(tmp_path / "labels.xlsx")
    assert found(build_adapter("folder").read(tmp_path)) == BOTH


# column, decimal comma by the separator → values; None: a fault
NUMBERS = [
    (["84,15", "70.5"], False, [84.15, 70.5]),
    (["1,234", "70.5"], False, [1234.0, 70.5]),
    (["1,234", "70,5"], False, [1.234, 70.5]),
    (["1,234", "70"], False, [None, 70.0]),
    (["1,234", "70"], True, [1.234, 70.0]),
    (["1.234", "70,5"], False, [None, 70.5]),
    (["1.234", "70.5"], False, [1.234, 70.5]),
    (["1.234,5", "1,234.5"], False, [1234.5, 1234.5]),
    (["1 234,5", "1\u202f234", "1’234.5"], False, [1234.5, 1234.0, 1234.5]),
    (["0,125", ",5"], False, [0.125, 0.5]),
    (["−7", "–7", "+7", "7e1"], False, [-7.0, -7.0, 7.0, 70.0]),
    (["1,234,567", "1.234.567"], False, [1234567.0, 1234567.0]),
    (["84.15 pts", "84%", "1_000", "0x10", "inf", "1e999", "3. Feb", "Feb 03"], False, [None] * 8),
]


@pytest.mark.parametrize(("texts", "decimal_comma", "expected"), NUMBERS)
def test_numbers_are_read_as_their_column_writes_them(
    texts: list[str], decimal_comma: bool, expected: list[float | None]
) -> None:
    import numpy as np

    numbers = read_numbers(np.array(texts, dtype=object), decimal_comma)
    assert [None if np.isnan(value) else value for value in numbers.values] == expected
    assert [text for text, value in zip(texts, expected, strict=True) if value is None] == list(numbers.faults)


def test_split_words() -> None:
    words = ["Training", "VALID", "dev", "Test Set", "hold-out", "trn", "foo", ""]
    assert read_splits(words) == {
        "Training": "train", "VALID": "val", "dev": "val", "Test Set": "test", "hold-out": "test", "trn": "train"
    }  # fmt: skip
    assert read_splits(["train", "dev", "eval"])["eval"] == "test"
    assert read_splits(["train", "test", "eval"])["eval"] == "val"
    assert "eval" not in read_splits(["train", "eval"])


def test_a_column_is_known_by_other_words_only_where_that_is_clear() -> None:
    assert header_names(["ID", "File", "subset", "Points"], (*REQUIRED, *OPTIONAL)).names == list(HEADER)
    assert header_names(["clip_id", "id", "file", "path"], REQUIRED).names == ["clip_id", "id", "file", "path"]
    assert fold_name("Score\n(final)") == fold_name("SCORE ") == "score"


# ---- any bytes at all: a listing or a sentence ----

TOKENS = [
    *(mark.encode() for mark in DELIMITERS), b"\n", b"\r", b"\r\n", b'"', b"''", b"\0", b"\x1a", b"\xff",
    b"\xef\xbb\xbf", b"\xff\xfe", b"sep=;", b"#", b"NA", b"nan", b"-", b"1e400", b"99999999999999999999", b"3000000000",
    b"84,15", b"../", b"a.mp4", b"\\", b"\xe2\x80\xae", b"\x1b[31m", b"\xed\xa0\x80", b"label", b"x,y,w,h",
    b"end_frame", b"eval",
    b"\xc2\xa0", b"\xe2\x80\x9c", b"=1+1", b"a" * 300,
    *(word.encode() for word in sorted(MISSING)),
]  # fmt: skip


def mutated(content: bytes, random_: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(random_.randint(1, 8)):
        place, end = sorted(random_.randrange(len(data) + 1) for _ in range(2))
        match random_.randrange(6):
            case 0:
                data[place:place] = random_.choice(TOKENS)
            case 1:
                del data[place : min(end, place + random_.choice((1, 4, 40)))]
            case 2:
                data[place : place + 1] = bytes([random_.randrange(256)])
            case 3:
                data[place:place] = data[place:end][:200]
            case 4:
                data = data[:place] if random_.random() < 0.2 else data
            case _:
                old, new = random_.choice(TOKENS[:6]), random_.choice(TOKENS)
                data = bytearray(bytes(data).replace(old, new, random_.randint(1, 3)))
    return bytes(data)


def check_fuzz(videos: Path, folder: Path, count: int) -> dict[str, int]:
    """Every mutation ends in a listing that the catalog can hold, or in one printable sentence."""
    write_xlsx(folder / "seed.xlsx")
    write_xls(folder / "seed.xls")
    seeds = [path.read_bytes() for path in sorted(CASES.iterdir())]
    books = [(folder / "seed.xlsx").read_bytes(), (folder / "seed.xls").read_bytes()]
    outcomes = {"listing": 0, "sentence": 0}
    random_ = random.Random(13)
    labels = folder / "labels.csv"
    for number in range(count):
        content = mutated(random_.choice(books if number % 8 == 0 else seeds), random_)
        labels.write_bytes(content)
        try:
            listing = read(videos, labels)
        except DatasetError as exc:
            outcomes["sentence"] += 1
            assert "\n" not in str(exc), content  # noqa: PT017
        else:
            outcomes["listing"] += 1
            clips_table(listing.records)
            assert all("\n" not in str(row) for row in listing.rejected), content
            for clip in listing.records:
                assert json.dumps(clip.clip_id).isprintable()
                assert clip.video in ("a.mp4", "b.mp4"), content
    return outcomes


def test_mutated_label_files_end_in_a_listing_or_a_sentence(videos: Path, tmp_path: Path) -> None:
    outcomes = check_fuzz(videos, tmp_path, 400)
    assert min(outcomes.values()) > 40, outcomes


@pytest.mark.slow
def test_five_thousand_mutated_label_files_end_in_a_listing_or_a_sentence(videos: Path, tmp_path: Path) -> None:
    outcomes = check_fuzz(videos, tmp_path, 5000)
    assert min(outcomes.values()) > 500, outcomes
