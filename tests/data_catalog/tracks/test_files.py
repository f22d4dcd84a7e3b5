"""Track files of other projects: read, reported, and written so that they read back the same."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from data_catalog.tracks.files import (
    TrackFileError,
    crossed_sides,
    fill_absent,
    read_frfs_boxes,
    read_text_track,
    read_tracks,
    write_frfs_boxes,
    write_tracks,
)

SQUARE = np.array([[10, 20], [30, 20], [30, 60], [10, 60]], dtype=np.float32)
DIAMOND = np.array([[50, 10], [90, 50], [50, 90], [10, 50]], dtype=np.float32)


def track(frames: int = 5, quad: NDArray[np.float32] = DIAMOND) -> NDArray[np.float32]:
    return np.stack([quad + np.float32(1.25) * t for t in range(frames)])


def lines(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    "row", ["10,20,20,40", "10, 20, 20, 40", "10\t20\t20\t40", "10 20 20 40", "10.0,20.0,20.0,40.0,", "1e1;20;20;40"]
)
def test_boxes_in_every_spelling(tmp_path: Path, row: str) -> None:
    read = read_text_track(lines(tmp_path / "a.txt", row, row), "pysot")
    np.testing.assert_array_equal(read, np.stack([SQUARE, SQUARE]))
    assert read.dtype == np.float32


def test_otb_counts_pixels_from_one(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.txt", "11,21,20,40")
    np.testing.assert_array_equal(read_text_track(path, "otb")[0], SQUARE)
    (written,) = write_tracks(tmp_path / "out", {"a": SQUARE[None]}, "otb")
    assert written.read_text() == "11.0000,21.0000,20.0000,40.0000\n"


def test_vot_codes_are_frames_without_a_box(tmp_path: Path) -> None:
    polygon = ",".join(str(v) for v in DIAMOND.ravel())
    path = lines(tmp_path / "a.txt", "1", polygon, "2", "0", "0.0000", "10,20,20,40")
    read = read_text_track(path, "vot")
    assert np.isnan(read).all(axis=(1, 2)).tolist() == [True, False, True, True, True, False]
    whole, filled = fill_absent(read)
    assert filled.tolist() == [True, False, True, True, True, False]
    np.testing.assert_array_equal(whole, [DIAMOND] * 5 + [SQUARE])
    assert np.isnan(read[0]).all()  # the input is not changed


def test_lost_frames_may_be_nan_but_not_infinite(tmp_path: Path) -> None:
    read = read_text_track(lines(tmp_path / "a.txt", "nan,nan,nan,nan", "10,20,20,40"), "pysot")
    assert np.isnan(read[0]).all()
    with pytest.raises(TrackFileError, match=r"b\.txt line 1 holds an infinite number"):
        read_text_track(lines(tmp_path / "b.txt", "inf,1,1,1"), "pysot")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("10,20,20", "line 2 has 3 numbers; 4 .* or 8"),
        ("10,20,twenty,40", "line 2 is not made of numbers: '10,20,twenty,40'"),
        ("10,20,-1,40", "line 2 has a box of negative size -1 x 40"),
        ("5", "line 2 has 1 numbers"),
        ("", "line 2 has 0 numbers"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: str, sentence: str) -> None:
    with pytest.raises(TrackFileError, match=rf"a\.txt {sentence}"):
        read_text_track(lines(tmp_path / "a.txt", "1,2,3,4", row, "1,2,3,4"), "pysot")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "b.txt").write_text("\n\n")
    with pytest.raises(TrackFileError, match=r"a\.txt is not a text file"):
        read_text_track(tmp_path / "a.txt", "otb")
    with pytest.raises(TrackFileError, match=r"b\.txt has no lines"):
        read_text_track(tmp_path / "b.txt", "otb")


corners = st.floats(-500, 2000, width=32)
tracks = arrays(np.float32, st.tuples(st.integers(1, 6), st.just(4), st.just(2)), elements=corners)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(quads=tracks, style=st.sampled_from(["pysot", "vot"]))
def test_polygons_survive_the_round_trip(tmp_path: Path, quads: NDArray[np.float32], style: str) -> None:
    write_tracks(tmp_path / "out", {"clip": quads}, style, "polygon")
    read = read_tracks(tmp_path / "out", style).tubes["clip"]
    first = 1 if style == "vot" else 0  # a VOT result holds a code in place of the given first box
    assert len(read) == len(quads)
    np.testing.assert_allclose(read[first:], quads[first:], atol=3e-4)
    assert np.isnan(read[:first]).all()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(quads=tracks, style=st.sampled_from(["pysot", "otb", "vot"]))
def test_boxes_survive_the_round_trip(tmp_path: Path, quads: NDArray[np.float32], style: str) -> None:
    write_tracks(tmp_path / "out", {"clip": quads}, style)
    read = read_tracks(tmp_path / "out" / "clip.txt", style).tubes["clip"]
    first = 1 if style == "vot" else 0
    np.testing.assert_allclose(read.min(axis=1)[first:], quads.min(axis=1)[first:], atol=5e-4)
    np.testing.assert_allclose(read.max(axis=1)[first:], quads.max(axis=1)[first:], atol=5e-4)


def test_missing_boxes_survive_the_round_trip(tmp_path: Path) -> None:
    quads = track()
    quads[2] = np.nan
    for style in ("pysot", "otb", "vot"):
        write_tracks(tmp_path / style, {"clip": quads}, style)
        read = read_tracks(tmp_path / style, style).tubes["clip"]
        assert np.isnan(read[2]).all()
        assert not np.isnan(read[3]).any()


def test_frfs_boxes_are_whole_numbers_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "FRFS_Boxes.json"
    tubes = {"308-1": track(103), "12-1": track(3, SQUARE)}
    write_frfs_boxes(path, tubes)
    content = json.loads(path.read_text())
    assert all(type(v) is int for rows in content.values() for row in rows for v in row)
    assert len(content["308-1"]) == 103
    read = read_frfs_boxes(path)
    assert list(read.tubes) == ["308-1", "12-1"]
    for name, quads in tubes.items():
        np.testing.assert_allclose(read.tubes[name], quads, atol=0.5)
    assert read.crossed == {}
    assert read.notes == ()
    assert sorted(tmp_path.iterdir()) == [path]  # no temporary file stays


def test_the_z_order_of_the_first_frame_is_reported_and_kept(tmp_path: Path) -> None:
    quads = track(103)
    quads[0] = quads[0][[0, 1, 3, 2]]
    path = tmp_path / "FRFS_Boxes.json"
    write_frfs_boxes(path, {"a": quads, "b": track(103)})
    read = read_tracks(path, "frfs")
    assert read.crossed == {"a": (0,)}
    np.testing.assert_array_equal(read.tubes["a"][0], DIAMOND[[0, 1, 3, 2]])
    assert "1 quads of 1 clips list their corners crosswise (first: clip 'a' frame 0)" in read.notes[0]


def test_the_repair_of_the_caller_undoes_the_z_order() -> None:
    from models.geometry import order_clockwise, quad_area

    for order in ([0, 1, 3, 2], [0, 2, 1, 3], [2, 0, 1, 3]):
        assert crossed_sides(DIAMOND[order])
        repaired = order_clockwise(DIAMOND[order])
        assert not crossed_sides(repaired)
        assert quad_area(repaired) == pytest.approx(3200)


@given(
    angle=st.floats(0, 6.3), w=st.floats(0.5, 300), h=st.floats(0.5, 300), turn=st.integers(0, 3), mirror=st.booleans()
)
def test_no_rectangle_in_cyclic_order_counts_as_crossed(
    angle: float, w: float, h: float, turn: int, mirror: bool
) -> None:
    rectangle = np.array([[0, 0], [w, 0], [w, h], [0, h]])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    quad = np.roll((rectangle @ rotation.T)[:: -1 if mirror else 1], turn, axis=0)
    assert not crossed_sides(quad)
    assert crossed_sides(quad[[0, 1, 3, 2]])
    assert crossed_sides(quad[[0, 2, 1, 3]])


def test_degenerate_and_missing_quads_are_not_crossed() -> None:
    quads = np.stack([np.zeros((4, 2)), np.full((4, 2), np.nan), [[0, 0], [1, 0], [2, 0], [3, 0]]])
    assert crossed_sides(quads).tolist() == [False, False, False]


def test_broken_clips_are_left_out_and_the_others_read(tmp_path: Path) -> None:
    good = [[10, 20, 30, 20, 30, 60, 10, 60]] * 3
    content = {
        "good": good,
        "short": [[1, 2, 3, 4]],
        "none": [],
        "text": "abc",
        "ragged": [good[0], [1]],
        "inf": [[1e400] * 8],
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    read = read_tracks(path, "frfs")
    assert list(read.tubes) == ["good"]
    assert set(read.rejected) == {"short", "none", "text", "ragged", "inf"}
    assert "the track of clip 'short' was left out: boxes.json: its frames have 4 numbers each, not 8" in read.notes


@pytest.mark.parametrize("content", ["[1, 2]", "{", "", "{}", '{"a": []}', "[" * 100000])
def test_json_without_tracks_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "FRFS_Boxes.json"
    path.write_text(content)
    with pytest.raises(TrackFileError, match=r"FRFS_Boxes\.json (is damaged|holds)"):
        read_tracks(path, "frfs")


def test_published_boxes_in_the_forms_they_are_passed_around_in(tmp_path: Path) -> None:
    rows = track(4).reshape(4, 8).tolist()
    nested = tmp_path / "aqa7.json"
    nested.write_text(json.dumps({"diving": {"001": rows}, "gym_vault": {"010": rows}}))
    assert list(read_tracks(nested, "published").tubes) == ["diving_001", "gym_vault_010"]
    pickled = tmp_path / "mtl.pkl"
    pickled.write_bytes(pickle.dumps({(1, 25): track(4), (26, 104): rows}, protocol=4))
    read = read_tracks(pickled, "published")
    assert list(read.tubes) == ["01_25", "26_104"]
    np.testing.assert_array_equal(read.tubes["01_25"], track(4))
    write_tracks(tmp_path / "text", {"01_25": track(4)}, "pysot", "polygon")
    np.testing.assert_allclose(read_tracks(tmp_path / "text", "published").tubes["01_25"], track(4), atol=1e-4)


def test_vot_folders_hold_one_folder_a_sequence(tmp_path: Path) -> None:
    for run in ("001", "002"):
        folder = tmp_path / "bag"
        folder.mkdir(exist_ok=True)
        lines(folder / f"bag_{run}.txt", "1", "10,20,20,40")
    lines(tmp_path / "broken.txt", "a,b,c,d")
    read = read_tracks(tmp_path, "vot")
    assert list(read.tubes) == ["bag"]
    assert list(read.rejected) == ["broken"]


def test_what_cannot_be_written_or_read_says_why(tmp_path: Path) -> None:
    absent = track()
    absent[1] = np.nan
    with pytest.raises(TrackFileError, match="clip 'a' has frames without a box; fill them"):
        write_tracks(tmp_path / "x.json", {"a": absent}, "frfs")
    with pytest.raises(TrackFileError, match="OTB format has no polygons"):
        write_tracks(tmp_path, {"a": track()}, "otb", "polygon")
    with pytest.raises(TrackFileError, match=r"'\.\./a' cannot be a file name"):
        write_tracks(tmp_path, {"../a": track()}, "vot")
    with pytest.raises(TrackFileError, match="unknown track format 'voot'"):
        write_tracks(tmp_path, {"a": track()}, "voot")
    with pytest.raises(TrackFileError, match="has no frames"):
        write_tracks(tmp_path, {"a": track()[:0]}, "pysot")
    with pytest.raises(TrackFileError, match="there is no file or folder"):
        read_tracks(tmp_path / "nowhere", "otb")
    with pytest.raises(TrackFileError, match="unknown track format 'csv'"):
        read_tracks(tmp_path, "csv")
    with pytest.raises(TrackFileError, match=r"holds no NAME\.txt"):
        read_tracks(tmp_path, "otb")
    with pytest.raises(TrackFileError, match="none of its 2 frames has a box"):
        fill_absent(np.full((2, 4, 2), np.nan, dtype=np.float32))
    assert list(tmp_path.iterdir()) == []
