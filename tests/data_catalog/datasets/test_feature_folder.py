"""Features of one's own: every format and layout, and one plain sentence for whatever can't be used."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from data_catalog.datasets.feature_files.arrays import MAX_ARRAY_BYTES, BadFeatures, open_arrays
from data_catalog.datasets.feature_files.clip_features import Place, read_clip_features
from data_catalog.datasets.feature_folder import FeaturesAdapter
from data_catalog.datasets.records import Listing
from data_catalog.errors import DatasetError
from tests.support.feature_files import SUFFIXES, write_arrays, write_labels

LABELS = {"a": "train,1.5", "b": "train,2.5", "c": "test,3.5"}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def features_of(root: Path, listing: Listing) -> dict[str, np.ndarray]:
    """As the stage reads them, from the catalog's records alone."""
    return {
        record.clip_id: read_clip_features(root / record.video, Place.of(record.clip_id, record.extra), root)
        for record in listing.records
    }


def rejected(root: Path) -> list[str]:
    return [str(row) for row in FeaturesAdapter().read(root).rejected]


# ---- what is read ----


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_one_file_a_clip_with_a_mask(tmp_path: Path, suffix: str, dtype: str) -> None:
    steps = {clip: (numbers(4, 3, seed=index) * 10).astype(dtype) for index, clip in enumerate(LABELS)}
    mask = np.array([True, False, True, True])
    for clip, array in steps.items():
        write_arrays(tmp_path / f"{clip}{suffix}", {"features": array, "mask": mask})
    write_labels(tmp_path, LABELS)
    listing = FeaturesAdapter().read(tmp_path)
    assert not listing.rejected
    assert [record.score for record in listing.records] == [1.5, 2.5, 3.5]
    assert any("features of 3 numbers, 3 steps a clip" in note for note in listing.notes)
    for clip, found in features_of(tmp_path, listing).items():
        assert found.dtype == np.float32
        assert np.array_equal(found, steps[clip][[0, 2, 3]].astype(np.float32))


def test_npy_files_of_vectors_and_steps_of_any_memory_order(tmp_path: Path) -> None:
    arrays = {"a": numbers(3), "b": np.asfortranarray(numbers(5, 3, seed=1)), "c": numbers(2, 3, seed=2)[::-1]}
    for clip, array in arrays.items():
        np.save(tmp_path / f"{clip}.npy", array)
    write_labels(tmp_path, LABELS)
    listing = FeaturesAdapter().read(tmp_path)
    assert any("1 to 5 steps a clip" in note for note in listing.notes)
    for clip, found in features_of(tmp_path, listing).items():
        assert np.array_equal(found, np.atleast_2d(arrays[clip]))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_file_with_an_array_a_clip(tmp_path: Path, suffix: str) -> None:
    arrays = {clip: numbers(index + 1, 3, seed=index) for index, clip in enumerate(LABELS)}
    write_arrays(tmp_path / f"all{suffix}", arrays)
    write_labels(tmp_path, LABELS)
    listing = FeaturesAdapter().read(tmp_path)
    assert {clip: found.tolist() for clip, found in features_of(tmp_path, listing).items()} == {
        clip: array.tolist() for clip, array in arrays.items()
    }


def test_groups_with_masks_under_names_of_their_own(tmp_path: Path) -> None:
    arrays = {f"set/{n}/features": numbers(3, 2, seed=n) for n in range(3)}
    masks = {f"set/{n}/mask": np.array([0, 1, n % 2], np.uint8) for n in range(3)}
    write_arrays(tmp_path / "all.h5", arrays | masks)
    rows = {clip: f"train,1,set/{n}" for n, clip in enumerate(LABELS)}
    write_labels(tmp_path, rows, "clip_id,split,score,entry")
    found = features_of(tmp_path, FeaturesAdapter().read(tmp_path))
    assert found["a"].tolist() == arrays["set/0/features"][[1]].tolist()
    assert found["b"].tolist() == arrays["set/1/features"][[1, 2]].tolist()


@pytest.mark.parametrize("by", ["row", "clip_id"])
@pytest.mark.parametrize("suffix", [".npz", ".h5", ".pkl"])
def test_rows_of_one_array(tmp_path: Path, suffix: str, by: str) -> None:
    features, mask = numbers(3, 4, 2), np.array([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], bool)
    arrays = {"features": features, "mask": mask, "score": np.arange(3.0)}
    order = ["c", "a", "b"]
    write_arrays(tmp_path / f"all{suffix}", arrays | ({"clip_id": np.array(order)} if by == "clip_id" else {}))
    header = "clip_id,split,score" + (",row" if by == "row" else "")
    places = {clip: f",{number}" if by == "row" else "" for number, clip in enumerate(order)}
    write_labels(tmp_path, {clip: rest + places[clip] for clip, rest in LABELS.items()}, header)
    found = features_of(tmp_path, FeaturesAdapter().read(tmp_path))
    for number, clip in enumerate(order):
        assert np.array_equal(found[clip], features[number][mask[number]])


def test_a_bare_array_of_vectors_by_row(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", numbers(3, 5))
    rows = {clip: f"{rest},{n}" for n, (clip, rest) in enumerate(LABELS.items())}
    write_labels(tmp_path, rows, "clip_id,split,score,row")
    found = features_of(tmp_path, FeaturesAdapter().read(tmp_path))
    assert found["b"].tolist() == numbers(3, 5)[[1]].tolist()


def test_bfloat16_tensors(tmp_path: Path) -> None:
    torch.save(torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16), tmp_path / "a.pt")
    assert read_clip_features(tmp_path / "a.pt", Place("a")).tolist() == [[1.5, -2.0]]


# ---- what is not ----


def one_clip(tmp_path: Path, array: object, name: str = "a.npy", labels: dict[str, str] | None = None) -> list[str]:
    np.save(tmp_path / name, array, allow_pickle=True)
    write_labels(tmp_path, labels or {"a": "train,1"})
    return rejected(tmp_path)


def test_each_fault_is_one_sentence_with_clip_file_and_remedy_and_the_others_go_on(tmp_path: Path) -> None:
    broken = numbers(4, 3)
    broken[2, 1] = np.nan
    too_large = np.full((1, 3), 1e300)
    for clip, array in {
        "good": numbers(4, 3, seed=1), "other": numbers(2, 3, seed=2), "nan": broken, "overflow": too_large,
        "short": numbers(4, 2), "deep": numbers(2, 2, 3), "empty": numbers(0, 3), "text": np.array(["x", "y"]),
    }.items():
        np.save(tmp_path / f"{clip}.npy", array)
    np.save(tmp_path / "objects.npy", np.array([{}, []], object), allow_pickle=True)
    (tmp_path / "torn.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-9])
    (tmp_path / "noise.npz").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "words.csv").write_text("1,2,3\n")
    np.savez(tmp_path / "two.npz", x=numbers(3), y=numbers(3))
    np.savez(tmp_path / "masked.npz", features=numbers(2, 3), mask=np.zeros(2, bool))
    np.savez(tmp_path / "longmask.npz", features=numbers(2, 3), mask=np.ones(3, bool))
    files = {
        "good": "good.npy", "other": "other.npy", "nan": "nan.npy", "overflow": "overflow.npy", "short": "short.npy",
        "deep": "deep.npy", "empty": "empty.npy", "text": "text.npy", "objects": "objects.npy", "torn": "torn.npy",
        "noise": "noise.npz", "csv": "words.csv", "two": "two.npz", "masked": "masked.npz",
        "longmask": "longmask.npz", "gone": "gone.npy", "out": "../elsewhere.npy",
    }
    write_labels(tmp_path, {clip: f"train,1,{file}" for clip, file in files.items()}, "clip_id,split,score,features")
    listing = FeaturesAdapter().read(tmp_path)
    assert [record.clip_id for record in listing.records] == ["good", "other"]
    said = {row.clip_id: str(row) for row in listing.rejected}
    assert set(said) == set(files) - {"good", "other"}
    for clip, words in {
        "nan": "1 numbers that are not finite, the first in step 2 at place 1", "overflow": "not finite",
        "short": "features of 2 numbers where most clips have 3", "deep": "shape 2×2×3", "empty": "shape 0×3",
        "text": "no numbers", "objects": "Python objects", "torn": "ends before its last value",
        "noise": "damaged or no .npz", "csv": "no format", "two": "holds x, y", "masked": "leaves out every step",
        "longmask": "mask of shape 3", "gone": "does not exist", "out": "leaves the feature files folder",
    }.items():
        sentence = said[clip]
        for part in (words, f"clip '{clip}'", "labels.csv line", Path(files[clip]).name, "; "):
            assert part in sentence


def test_a_repeated_clip_and_a_link_that_leaves_the_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "secret.npy"
    root.mkdir()
    np.save(outside, numbers(3))
    np.save(root / "a.npy", numbers(3))
    os.symlink(outside, root / "b.npy")
    (root / "labels.csv").write_text("clip_id,split,score\na,train,1\na,train,1\nb,train,2\n")
    sentences = rejected(root)
    assert "already in line 2" in sentences[0]
    assert "link that leaves the feature files folder" in sentences[1]
    with pytest.raises(BadFeatures, match=r"b\.npy"):
        open_arrays(root / "b.npy", root)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(BadFeatures, match=r"a\.npy"):
        open_arrays(tmp_path / "a.npy")


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("suffix", [".pkl", ".pt"])
def test_a_hostile_pickle_is_not_run(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if suffix == ".pkl":
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": _Runs()}))
    else:
        torch.save({"a": _Runs()}, tmp_path / "a.pt")
    write_labels(tmp_path, {"a": "train,1"})
    (sentence,) = rejected(tmp_path)
    assert f"a{suffix}" in sentence
    assert "was not opened" in sentence
    assert not (tmp_path / "ran").exists()


def test_an_old_tensor_file_is_refused(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(BadFeatures, match=r"before 1\.6"):
        open_arrays(tmp_path / "a.pt")


def test_a_small_archive_that_announces_much_fills_no_memory(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }"
    head = b"\x93NUMPY\x01\x00" + (len(header)).to_bytes(2, "little") + header
    for name, content, words in (("lie", head, "announces"), ("bomb", head + bytes(2**20), "announces")):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("features.npy", content)
        with pytest.raises(BadFeatures, match=words):
            open_arrays(tmp_path / f"{name}.npz")["features"]


def test_an_array_above_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:  # never written, so it takes no room
        file.create_dataset("features", (1024, MAX_ARRAY_BYTES // 4096 + 1), "f4", chunks=(1, 1024))
    with pytest.raises(BadFeatures, match="more than"):
        open_arrays(tmp_path / "a.h5")["features"]


def test_an_expanded_tensor_is_measured_as_what_it_stands_for(tmp_path: Path) -> None:
    torch.save(torch.zeros(1).expand(2**20, 2**14), tmp_path / "a.pt")
    with pytest.raises(BadFeatures, match="more than"):
        open_arrays(tmp_path / "a.pt")[""]


def test_equal_features_in_different_splits_are_said(tmp_path: Path) -> None:
    for clip in "abc":
        np.save(tmp_path / f"{clip}.npy", numbers(3, seed=0 if clip in "ac" else 1))
    write_labels(tmp_path, LABELS)
    assert any("'a' (train) and 'c' (test)" in warning for warning in FeaturesAdapter().read(tmp_path).warnings)


def test_it_says_where_it_cannot_see_which_file_is_whose(tmp_path: Path) -> None:
    write_labels(tmp_path, LABELS)
    with pytest.raises(DatasetError, match="holds no feature files"):
        FeaturesAdapter().read(tmp_path)
    np.save(tmp_path / "x.npy", numbers(3))
    np.save(tmp_path / "y.npy", numbers(3))
    with pytest.raises(DatasetError, match=r"column 'features' of labels\.csv"):
        FeaturesAdapter().read(tmp_path)


def test_an_array_of_nobody_in_a_shared_file_is_not_everybodys(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", features=numbers(3, 4))
    write_labels(tmp_path, LABELS)
    assert all("column 'row'" in sentence for sentence in rejected(tmp_path))
    assert len(rejected(tmp_path)) == 3
    write_labels(tmp_path, {"a": "train,1,7", "b": "train,1,x"}, "clip_id,split,score,row")
    outside, wrong = rejected(tmp_path)
    assert "no row 7 (it is 3×4)" in outside
    assert "its row 'x'" in wrong
