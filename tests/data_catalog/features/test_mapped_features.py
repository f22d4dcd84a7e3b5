"""Features of a clip on the disk: what is read is what was written, where it lies, and damage is noticed."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from data_catalog.errors import ArtifactDamaged
from data_catalog.features.mapped_features import FeatureReader, write_features

VERSIONS = [(False, 0), (True, 0), (True, 3)]


@pytest.fixture(params=[(2, 4, 3, 3, 5), (2, 7)], ids=["cut", "pooled"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(len(VERSIONS), *request.param)).astype(np.float16)
    write_features(tmp_path / "features.h5", VERSIONS, iter(arrays))
    return tmp_path / "features.h5", arrays


def test_every_version_is_read_as_it_was_written_also_by_another_process(made: tuple[Path, np.ndarray]) -> None:
    path, arrays = made
    reader = FeatureReader([path.with_name("of another clip.h5"), path])
    for again in (reader, pickle.loads(pickle.dumps(reader))):
        for (flip, shift), array in zip(VERSIONS, arrays, strict=True):
            assert torch.equal(again.read(1, flip, shift), torch.from_numpy(array))
    with pytest.raises(ValueError, match="no features of a clip moved by 3 frames"):
        reader.read(1, False, 3)


def test_what_is_read_lies_in_the_mapped_file_and_is_no_copy(made: tuple[Path, np.ndarray]) -> None:
    path, _ = made
    found = FeatureReader([path]).read(0, True, 3)
    address = found.data_ptr()
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line]
    assert any(int(first, 16) <= address < int(last, 16) for first, last in (line[0].split("-") for line in mapped))


def test_a_flipped_bit_is_damage_of_that_file(made: tuple[Path, np.ndarray]) -> None:
    path, arrays = made
    content = bytearray(path.read_bytes())
    place = content.index(arrays[1].tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactDamaged, match=path.name):
        FeatureReader([path]).read(0, False, 0)


def test_a_file_that_is_none_of_ours_is_damage(tmp_path: Path) -> None:
    (tmp_path / "f.h5").write_text("no features")
    with pytest.raises(ArtifactDamaged):
        FeatureReader([tmp_path / "f.h5"]).read(0, False, 0)
    with pytest.raises(FileNotFoundError):
        FeatureReader([tmp_path / "nowhere.h5"]).read(0, False, 0)
