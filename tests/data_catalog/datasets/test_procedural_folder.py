"""The procedural adapter on a dataset that its generator wrote."""

from pathlib import Path

import numpy as np
import pytest

from data_catalog.datasets import DatasetError, build_adapter
from data_catalog.datasets.procedural_folder import read_ground_truth
from data_catalog.synthetic.sport import make_dataset

PROCEDURAL = build_adapter("procedural")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sync")
    return make_dataset(out, kind="sync_diving", clips=2, seed=3, size="320x240", workers=1)


def test_its_clips_have_two_athletes_and_their_truth(dataset: Path) -> None:
    listing = PROCEDURAL.read(dataset)
    assert len(listing.records) == 2
    assert listing.rejected == listing.warnings == ()
    assert listing.notes[0].startswith("procedural data, no real athletes: sync_diving, seed 3")
    assert [c for c in PROCEDURAL.check(listing) if not c.ok] == []
    for record in listing.records:
        assert len(record.boxes) == 2
        assert len(record.judges) == 7
        truth = read_ground_truth(dataset, record.clip_id)
        for box, quad in zip(record.boxes, truth.quads[:, 0], strict=True):
            x, y, w, h = box
            # The box is the silhouette's upright one, the quad its smallest rotated one: they share their middle part.
            assert x - 1 <= quad[:, 0].mean() <= x + w + 1
            assert y - 1 <= quad[:, 1].mean() <= y + h + 1


def test_a_lost_video_is_told(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("labels.csv", "dataset.json"):
        (copy / name).write_bytes((dataset / name).read_bytes())
    listing = PROCEDURAL.read(copy)
    assert listing.records == ()
    assert {r.reason for r in listing.rejected} == {"the folder 'videos' does not exist"}
    assert listing.warnings[-1].startswith("dataset.json announces 2 clips, 0 are usable")
    assert not all(c.ok for c in PROCEDURAL.check(listing))


def test_other_folders_and_clips_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no dataset\.json"):
        PROCEDURAL.read(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DatasetError, match="does not describe a procedural dataset"):
        PROCEDURAL.read(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DatasetError, match="is damaged"):
        PROCEDURAL.read(tmp_path)
    for clip_id in ("nobody", "../labels"):
        with pytest.raises(DatasetError, match="no ground truth of clip"):
            read_ground_truth(dataset, clip_id)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_half_a_truth_is_no_truth(dataset: Path, tmp_path: Path, share: float) -> None:
    clip_id = PROCEDURAL.read(dataset).records[0].clip_id
    content = (dataset / "ground_truth" / f"{clip_id}.npz").read_bytes()
    path = tmp_path / "ground_truth" / f"{clip_id}.npz"
    path.parent.mkdir()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match=rf"clip '{clip_id}', .*npz, is damaged; make one with"):
        read_ground_truth(tmp_path, clip_id)


def test_a_truth_with_other_arrays_or_other_bytes_is_refused(dataset: Path, tmp_path: Path) -> None:
    clip_id = PROCEDURAL.read(dataset).records[0].clip_id
    path = tmp_path / "ground_truth" / f"{clip_id}.npz"
    path.parent.mkdir()
    np.savez(path, quads=np.zeros(3))
    with pytest.raises(DatasetError, match="is damaged"):
        read_ground_truth(tmp_path, clip_id)
    content = bytearray((dataset / "ground_truth" / f"{clip_id}.npz").read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="is damaged"):
        read_ground_truth(tmp_path, clip_id)
