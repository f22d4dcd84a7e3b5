"""AQA-7: the real lists, and the layouts of the zip and of extracted frames."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from data_catalog.datasets import DatasetError, build_adapter
from data_catalog.datasets.scores import compute_score_statistics
from tests.support.dataset_files import write_frames, write_video

AQA7 = build_adapter("aqa7")
SMALL = {
    "train": [(1, 1, 84.15), (1, 2, 60.0), (2, 10, 15.5), (6, 3, 70.0)],
    "test": [(1, 3, 90.0), (2, 11, 12.3)],
}


def write_lists(folder: Path, lists: dict[str, list[tuple[float, ...]]], name: str = "split_4_{}_list.mat") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in lists.items():
        savemat(folder / name.format(split), {f"consolidated_{split}_list": np.array(rows, dtype=float).reshape(-1, 3)})
    return folder


def test_the_real_lists_agree_with_everything_published(shared: Path, tmp_path: Path) -> None:
    listing = AQA7.read(tmp_path, shared / "data" / "aqa-7")
    assert listing.rejected == ()
    assert len(listing.missing) == 803 + 303
    assert listing.records == ()
    checks = AQA7.check(listing)
    assert len(checks) == 14
    assert [c for c in checks if not c.ok] == []
    assert listing.notes == ("scores are stored times 100 in this copy and were divided by 100",)
    (warning,) = listing.warnings
    assert warning.startswith("1106 of 1106 annotated clips have no video here")
    assert "http://rtis.oit.unlv.edu" in warning


def test_train_only_statistics_leave_the_test_extremes_out(shared: Path, tmp_path: Path) -> None:
    clips = AQA7.read(tmp_path, shared / "data" / "aqa-7").annotated
    published, train = (compute_score_statistics(clips, source) for source in ("published", "train-only"))
    assert (published["diving"].min, train["diving"].min) == (21.60, 29.70)
    assert (published["sync_diving_10m"].max, train["sync_diving_10m"].max) == (99.36, 93.96)
    # Of split 4's train part; the published C3D-LSTM code divides by those of split 1 (14.49, 0.86, ...).
    assert [round(s.std, 2) for s in train.values()] == [13.95, 0.85, 11.70, 12.97, 14.59, 15.19]
    assert published["diving"].to_percent(21.60) == 0.0
    assert published["diving"].to_percent(102.60) == pytest.approx(100.0)
    assert published["diving"].from_percent(published["diving"].to_percent(84.15)) == pytest.approx(84.15)
    assert train["diving"].to_percent(21.60) < 0


def test_the_zip_as_it_unpacks(tmp_path: Path) -> None:
    write_lists(tmp_path / "Split_4", SMALL)
    for name in ("diving/001.avi", "diving/002.avi", "diving/003.avi", "gym_vault/010.avi", "gym_vault/011.avi"):
        write_video(tmp_path / "Actions" / name)
    listing = AQA7.read(tmp_path)
    assert [(r.clip_id, r.video, r.split, r.score) for r in listing.records] == [
        ("diving_001", "Actions/diving/001.avi", "train", 84.15),
        ("diving_002", "Actions/diving/002.avi", "train", 60.0),
        ("gym_vault_010", "Actions/gym_vault/010.avi", "train", 15.5),
        ("diving_003", "Actions/diving/003.avi", "test", 90.0),
        ("gym_vault_011", "Actions/gym_vault/011.avi", "test", 12.3),
    ]
    assert [r.clip_id for r in listing.missing] == ["sync_diving_10m_003"]
    assert listing.warnings[0].startswith("1 of 6 annotated clips have no video here (sync_diving_10m_003)")
    assert listing.notes == ("scores are stored in points in this copy",)
    failed = {c.name for c in AQA7.check(listing) if not c.ok}
    assert {"train clips", "test clips", "diving: train/test clips"} <= failed


@pytest.mark.parametrize("folder", ["diving-out/{}", "frames/diving-out/{}", "Actions/diving-out/{}", "diving/{}"])
@pytest.mark.parametrize("number", ["001", "01", "1"])
def test_frame_folders_with_two_or_three_digits(tmp_path: Path, folder: str, number: str) -> None:
    write_lists(tmp_path, {"train": [(1, 1, 84.15)], "test": [(1, 2, 50.0)]}, "consolidated_{}_list.mat")
    write_frames(tmp_path / folder.format(number), ["img_00001.jpg", "img_00002.jpg"])
    listing = AQA7.read(tmp_path)
    assert [r.video for r in listing.records] == [folder.format(number)]
    assert [r.clip_id for r in listing.missing] == ["diving_002"]


def test_bad_rows_are_rejected_one_by_one(tmp_path: Path) -> None:
    bad = [(7, 1, 50.0), (1, 1.5, 50.0), (1, 5, np.nan), (1, np.nan, 5.0), (1, 1, 60.0)]
    write_lists(tmp_path, {"train": [(1, 1, 84.15), *bad], "test": [(2, 1, 15.0)]})
    listing = AQA7.read(tmp_path)
    assert [r.clip_id for r in listing.missing] == ["diving_001", "gym_vault_001"]
    assert [(r.line, r.reason) for r in listing.rejected] == [
        (2, "action 7 is not one of 1 to 6"),
        (3, "sample 1.5 is not a whole number from 1"),
        (4, "score nan is not a finite number"),
        (5, "sample nan is not a whole number from 1"),
        (6, "clip 'diving_001' is listed twice"),
    ]


def test_what_is_no_list_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no split_4_train_list\.mat .* get AQA-7\.zip from http"):
        AQA7.read(tmp_path)
    write_lists(tmp_path, {"train": [(1, 1, 8415.0)], "test": [(1, 2, 84.0)]})
    with pytest.raises(DatasetError, match=r"train_list\.mat stores scores times 100 and split_4_test_list\.mat plain"):
        AQA7.read(tmp_path)
    savemat(tmp_path / "split_4_test_list.mat", {"something": np.zeros((2, 3))})
    with pytest.raises(DatasetError, match="holds something instead of consolidated_test_list"):
        AQA7.read(tmp_path)
    savemat(tmp_path / "split_4_test_list.mat", {"consolidated_test_list": np.zeros((2, 2))})
    with pytest.raises(DatasetError, match=r"holds a table of \(2, 2\) float64"):
        AQA7.read(tmp_path)
    (tmp_path / "split_4_test_list.mat").write_bytes(b"<html>not found</html>" * 20)
    with pytest.raises(DatasetError, match=r"split_4_test_list\.mat is damaged or no MATLAB 5 file"):
        AQA7.read(tmp_path)


def test_statistics_of_equal_scores_cannot_normalise(shared: Path, tmp_path: Path) -> None:
    write_lists(tmp_path, {"train": [(1, 1, 50.0)], "test": [(1, 2, 50.0)]})
    statistics = compute_score_statistics(AQA7.read(tmp_path).annotated, "published")
    with pytest.raises(ValueError, match="all 2 scores are 50"):
        statistics["diving"].to_percent(50.0)
