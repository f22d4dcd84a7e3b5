"""The pack file and the loader: round trips, damage, order, resuming, augmentation."""

import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data_catalog.pack.file import ClipArrays, ClipLabels, DamagedPack, PackGeometry, PackReader, PackWriter
from data_catalog.pack.loader import Augmentation, Batch, ClipLoader, Remask, augment, epoch_order

GEOMETRY = PackGeometry(
    length=20, input_size=6, crop=12, grid=(2, 3), starts=(0, 4), segment_length=16, stride=4, tau=0.5
)
CLIPS = 7


def remask(coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The slow definition of the tube mask, independent of models.geometry.quads."""
    mask = np.zeros((2, 4, 2, 3), bool)
    for n, start in enumerate(GEOMETRY.starts):
        for t in range(4):
            for frame in range(start + 4 * t, start + 4 * t + 4):
                mask[n, t] |= coverage[frame] >= GEOMETRY.tau
    return mask


def arrays(seed: int) -> ClipArrays:
    rng = np.random.default_rng(seed)
    coverage = rng.random((20, 2, 3), dtype=np.float32) ** 4
    frames = rng.integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
    return ClipArrays(frames, coverage, remask(coverage))


def labels(number: int) -> ClipLabels:
    return ClipLabels(
        clip_id=f"clip_{number}é",
        split="train" if number < 5 else "test",
        action="diving" if number % 2 else "vault",
        score=None if number == 3 else 10.5 * number,
        difficulty=2.1,
        judges=(7.0, 7.5) if number == 0 else (),
        label=None,
    )


def write(path: Path, clips: int = CLIPS) -> Path:
    with PackWriter(path, GEOMETRY) as writer:
        for number in range(clips):
            writer.append(arrays(number), labels(number))
        writer.finish({"extra": [1, 2]})
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write(tmp_path / "pack.h5")


def indices(batches: list[Batch]) -> list[list[int]]:
    return [batch["index"].tolist() for batch in batches]


# -- the file


def test_what_is_written_is_read(pack: Path) -> None:
    reader = PackReader(pack)
    assert len(reader) == CLIPS
    assert reader.geometry == GEOMETRY
    assert reader.attributes["extra"] == [1, 2]
    for number in [*range(CLIPS), *range(CLIPS)]:  # the second reading takes the way without checksums
        found, wanted = reader.read(number), arrays(number)
        np.testing.assert_array_equal(found.frames, wanted.frames)
        np.testing.assert_array_equal(found.coverage, wanted.coverage)
        np.testing.assert_array_equal(found.mask, wanted.mask)
    assert reader.labels.clip_id[2] == "clip_2é"
    assert reader.labels.score[4] == 42.0
    assert np.isnan(reader.labels.score[3])
    assert np.isnan(reader.labels.label).all()
    assert reader.labels.judges[0, :2].tolist() == [7.0, 7.5]
    assert np.isnan(reader.labels.judges[0, 2:]).all()
    assert reader.indices("test") == [5, 6]
    assert reader.indices("train", ["diving"]) == [1, 3]


def test_same_clips_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a.h5").read_bytes() == write(tmp_path / "b.h5").read_bytes()


def test_every_dataset_has_a_checksum(pack: Path) -> None:
    with h5py.File(pack) as file:
        names: list[str] = []
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        assert len(names) == 10
        assert all(file[name].fletcher32 for name in names)


def test_a_flipped_bit_is_noticed_and_names_the_clip(pack: Path) -> None:
    data = bytearray(pack.read_bytes())
    place = bytes(data).find(arrays(4).frames.tobytes())
    assert place > 0
    data[place + 11] ^= 4
    pack.write_bytes(data)
    reader = PackReader(pack)
    np.testing.assert_array_equal(reader.read(3).frames, arrays(3).frames)
    with pytest.raises(DamagedPack, match=r"clip_4é' cannot be read.*run the pack stage again"):
        reader.read(4)
    with pytest.raises(DamagedPack):
        reader.verify()


@pytest.mark.parametrize("keep", [0, 100, 600, -1000])
def test_a_truncated_pack_is_refused(pack: Path, keep: int) -> None:
    pack.write_bytes(pack.read_bytes()[:keep])
    with pytest.raises(DamagedPack, match=r"pack\.h5 .*delete it"):
        PackReader(pack).verify()


def test_an_unfinished_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with PackWriter(tmp_path / "half.h5", GEOMETRY) as writer:
        writer.append(arrays(0), labels(0))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    for name in ("half.h5", "other.h5"):
        with pytest.raises(DamagedPack, match="not a whole pack"):
            PackReader(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="run the pack stage first"):
        PackReader(tmp_path / "none.h5")


def test_a_clip_of_another_shape_is_refused(tmp_path: Path) -> None:
    clip = arrays(0)
    with (
        PackWriter(tmp_path / "p.h5", GEOMETRY) as writer,
        pytest.raises(ValueError, match=r"mask of clip 'clip_1é' has shape \(2, 3, 2, 3\)"),
    ):
        writer.append(ClipArrays(clip.frames, clip.coverage, clip.mask[:, :3]), labels(1))


def test_a_reader_can_be_sent_to_another_process(pack: Path) -> None:
    reader = PackReader(pack)
    reader.read(0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read(1).frames, arrays(1).frames)


# -- order


def test_order_is_a_shuffle_that_depends_on_seed_and_epoch_alone() -> None:
    clips = list(range(50))
    orders = {(s, e): tuple(epoch_order(clips, s, e)) for s in (0, 1) for e in (0, 1)}
    assert all(sorted(order) == clips for order in orders.values())
    assert len(set(orders.values())) == 4
    # Fixed for ever: a checkpoint of one version must be resumable by the next.
    assert epoch_order(range(8), 0, 0) == [3, 7, 4, 6, 0, 2, 1, 5]


@pytest.mark.parametrize(("done", "workers"), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (6, 0), (1, 1), (4, 1)])
def test_resuming_after_any_batch_gives_the_rest(pack: Path, done: int, workers: int) -> None:
    def loader(workers: int = 0) -> ClipLoader:
        augmentation = Augmentation(flip=0.5, shift=(0, 2))
        return ClipLoader(
            PackReader(pack),
            range(CLIPS),
            batch_size=3,
            seed=5,
            shuffle=True,
            augmentation=augmentation,
            remask=remask,
            workers=workers,
        )

    whole = [batch for source in [loader()] for _ in range(2) for batch in source]
    assert len(whole) == 6
    first = loader(workers)
    seen: list[Batch] = []
    while len(seen) < done:
        for batch in first:
            seen.append(batch)
            if len(seen) == done:
                break
    state = first.state_dict()
    second = loader(workers)
    second.load_state_dict(state)
    rest = [batch for _ in range(2) for batch in second][: 6 - done]
    assert indices(seen + rest) == indices(whole)
    for found, wanted in zip(rest, whole[done:], strict=True):
        assert (found["frames"] == wanted["frames"]).all()
        assert (found["mask"] == wanted["mask"]).all()


COPIED: list[int] = []
"""What a process that was forked from this one would find filled."""


def remask_of_a_clean_process(coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
    assert not COPIED
    return remask(coverage)


def test_reading_processes_give_the_same_and_are_no_forks(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(workers: int, remask: Remask) -> list[Batch]:
        augmentation = Augmentation(flip=0.5, shift=(0, 2))
        options = {"batch_size": 2, "seed": 5, "shuffle": True, "augmentation": augmentation, "remask": remask}
        loader = ClipLoader(PackReader(pack), range(CLIPS), workers=workers, **options)  # type: ignore[arg-type]
        return [batch for _ in range(2) for batch in loader]

    monkeypatch.setattr(f"{__name__}.COPIED", [1])
    with pytest.raises(AssertionError):
        batches(0, remask_of_a_clean_process)
    for found, wanted in zip(batches(2, remask_of_a_clean_process), batches(0, remask), strict=True):
        assert found.keys() == wanted.keys()
        for name, values in found.items():
            assert torch.equal(values.nan_to_num(), wanted[name].nan_to_num()), name  # type: ignore[literal-required,attr-defined]
    assert multiprocessing.active_children() == []


def test_a_process_without_children_is_told_so(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"set train\.workers to 0"):
        ClipLoader(PackReader(pack), range(CLIPS), batch_size=2, workers=1)


def test_length_stays_that_of_a_whole_epoch(pack: Path) -> None:
    loader = ClipLoader(PackReader(pack), range(CLIPS), batch_size=3, shuffle=True)
    loader.load_state_dict({"epoch": 2, "position": 2})
    assert len(loader) == 3
    assert len(list(loader)) == 1


def test_evaluation_starts_again_each_time(pack: Path) -> None:
    loader = ClipLoader(PackReader(pack), [5, 1, 2], batch_size=2)
    next(iter(loader))
    assert indices(list(loader)) == [[5, 1], [2]]
    assert indices(list(loader)) == [[5, 1], [2]]


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_each_batch(pack: Path, world_size: int) -> None:
    def loader(**share: int) -> ClipLoader:
        return ClipLoader(PackReader(pack), range(CLIPS), batch_size=4, shuffle=True, **share)

    alone = indices(list(loader()))
    shares = [indices(list(loader(rank=rank, world_size=world_size))) for rank in range(world_size)]
    together = [[index for share in shares for index in share[b]] for b in range(len(alone))]
    assert together[0] == alone[0]
    assert together[1][:3] == alone[1]  # filled up from the front of the order, so that nobody waits for nobody
    assert together[1][3] == alone[0][0]


def test_bad_requests_say_what_to_do(pack: Path) -> None:
    reader = PackReader(pack)
    with pytest.raises(ValueError, match="no clip for this split"):
        ClipLoader(reader, [], batch_size=2)
    with pytest.raises(ValueError, match="shared evenly by 2"):
        ClipLoader(reader, [0], batch_size=3, world_size=2)
    with pytest.raises(ValueError, match="remask"):
        ClipLoader(reader, [0], batch_size=1, eval_shift=1)


# -- augmentation


def test_draws_follow_the_odds_and_depend_on_seed_epoch_and_clip_alone() -> None:
    augmentation = Augmentation(flip=0.5, shift=(-1, 2))
    draws = [augmentation.draw(0, epoch, f"c{clip}") for epoch in range(20) for clip in range(50)]
    assert 440 < sum(flip for flip, _ in draws) < 560
    counts = [sum(shift == wanted for _, shift in draws) for wanted in (-1, 0, 1, 2)]
    assert sum(counts) == 1000
    assert min(counts) > 190
    assert augmentation.draw(0, 3, "c7") == draws[3 * 50 + 7]
    assert draws != [augmentation.draw(1, epoch, f"c{clip}") for epoch in range(20) for clip in range(50)]
    assert not any(replace(augmentation, flip=0.0).draw(0, e, "c")[0] for e in range(50))
    assert all(replace(augmentation, flip=1.0).draw(0, e, "c")[0] for e in range(50))


def test_flip_moves_pixels_and_tube_together() -> None:
    clip = arrays(0)
    frames, mask = augment(clip, flip=True, shift=0, remask=None)
    for column in range(6):
        np.testing.assert_array_equal(frames[:, :, column], clip.frames[:, :, 5 - column])
    for column in range(3):
        np.testing.assert_array_equal(mask[..., column], clip.mask[..., 2 - column])
    np.testing.assert_array_equal(clip.frames, arrays(0).frames)


@pytest.mark.parametrize("shift", [-3, 2])
def test_shift_moves_pixels_and_tube_together(shift: int) -> None:
    clip = arrays(1)
    frames, mask = augment(clip, flip=False, shift=shift, remask=remask)
    coverage = np.empty_like(clip.coverage)
    for i in range(20):
        source = min(max(i + shift, 0), 19)
        np.testing.assert_array_equal(frames[i], clip.frames[source])
        coverage[i] = clip.coverage[source]
    np.testing.assert_array_equal(mask, remask(coverage))


def test_a_clip_is_augmented_the_same_in_any_batch(pack: Path) -> None:
    def by_clip(batch_size: int) -> dict[int, NDArray[np.uint8]]:
        loader = ClipLoader(
            PackReader(pack), range(CLIPS), batch_size=batch_size, shuffle=True, augmentation=Augmentation(flip=0.5)
        )
        return {
            int(index): frames.numpy()
            for batch in loader
            for index, frames in zip(batch["index"], batch["frames"], strict=True)
        }

    alone, together = by_clip(1), by_clip(4)
    flipped = 0
    for index in range(CLIPS):
        np.testing.assert_array_equal(alone[index], together[index])
        flipped += not np.array_equal(alone[index], arrays(index).frames)
    assert 0 < flipped < CLIPS
