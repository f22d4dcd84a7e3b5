"""FineDiving on its exact layout; the annotation itself may not be passed on, so it is made up here."""

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from data_catalog.datasets import DatasetError, build_adapter
from data_catalog.datasets.finediving import ACTION, WHERE
from data_catalog.datasets.records import Step
from tests.support.dataset_files import write_frames

FINE = build_adapter("finediving")
EVENT = "FINADivingWorldCup2021_Men10m_final_r1"
Key = tuple[str, int]


def fine_row(score: float = 88.0, frames: int = 96) -> list[object]:
    return ["407c", score, np.float64(3.2), np.array([20, 60]), np.zeros(frames, dtype=np.int64)]


def coarse_row(judges: int) -> dict[str, object]:
    return {
        "action_type": "407c", "start_frame": 0, "end_frame": 95, "dive_score": 88.0, "difficulty": 3.2,
        "judge_scores": [8.5] * judges,
    }  # fmt: skip


def write_annotation(
    folder: Path, fine: object, train: list[Key], test: list[Key], coarse: object | None = None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = {"fine-grained_annotation_aqa.pkl": fine, "train_split.pkl": train, "test_split.pkl": test}
    if coarse is not None:
        files["FineDiving_coarse_annotation.pkl"] = coarse
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=4))


@pytest.mark.parametrize("number", ["1", "01", "001"])
@pytest.mark.parametrize("place", ["FineDiving", "frames", "."])
def test_the_published_layout(tmp_path: Path, place: str, number: str) -> None:
    fine = {(EVENT, 1): fine_row(), ("01", 7): fine_row(70.5, 63)}
    write_annotation(
        tmp_path / "Annotations", fine, [(EVENT, 1)], [("01", 7)], {(EVENT, 1): coarse_row(7), ("01", 7): coarse_row(3)}
    )
    write_frames(tmp_path / place / EVENT / number, ["00001.jpg", "00002.jpg"])
    listing = FINE.read(tmp_path)
    (record,) = listing.records
    assert record.video == (Path(place) / EVENT / number).as_posix()
    assert (record.clip_id, record.split, record.action, record.score, record.difficulty) == (
        f"{EVENT}_1", "train", ACTION, 88.0, 3.2,
    )  # fmt: skip
    assert record.judges == (8.5,) * 7
    assert record.extra == {
        "event": EVENT, "clip": 1, "dive_number": "407C", "step_transitions": [20, 60], "length": 96,
        "steps": [["0", 0, 96]],
    }  # fmt: skip
    (missing,) = listing.missing
    assert (missing.clip_id, len(missing.judges), (missing.extra or {})["length"]) == ("01_7", 3, 63)
    assert listing.warnings[0].startswith("1 of 2 annotated dives have no frames here (01_7); ask the authors")
    assert listing.warnings[1].startswith("1 events are MTL-AQA's broadcasts; never train on one")


def test_each_frames_label_makes_the_steps(tmp_path: Path) -> None:
    labels = np.array([13] * 2 + [5] * 3 + [28], np.int64)
    fine = {(EVENT, n): [*fine_row()[:4], labels] for n in (1, 2)}
    fine[EVENT, 3] = [*fine_row()[:4], np.zeros(4, np.float64)]
    write_annotation(tmp_path / "Annotations", fine, [(EVENT, 1), (EVENT, 2)], [(EVENT, 3)])
    for clip, images in ((1, range(481, 487)), (2, range(5))):
        write_frames(tmp_path / "FineDiving" / EVENT / str(clip), [f"{n:05d}.jpg" for n in images])
    listing = FINE.read(tmp_path)
    first, second = listing.records
    assert first.steps == second.steps == (Step("13", 0, 2), Step("5", 2, 5), Step("28", 5, 6))
    assert (listing.missing[0].steps, listing.missing[0].score) == ((), 88.0)
    assert listing.warnings[1:] == (
        f"1 dives of fine-grained_annotation_aqa.pkl have no whole number for each frame ({EVENT}_3), so they have no "
        f"steps; {WHERE}",
        "1 dives have another number of images than of step labels in fine-grained_annotation_aqa.pkl: "
        f"{EVENT}_2 (6 labels, 5 images); labels are counted from the first image, so unpack the frames again",
    )
    assert listing.notes[-1] == "steps of 2 dives read from its label a frame"


def test_the_real_annotation(shared: Path) -> None:
    root = shared / "data" / "finediving"
    if not root.is_dir():
        pytest.skip("shared/data holds no finediving: its annotation is handed out under an agreement")
    listing = FINE.read(root)
    assert len(listing.annotated) == 3000
    for clip in listing.annotated:
        assert clip.steps
        assert clip.steps[0].start == 0
        assert clip.steps[-1].end == (clip.extra or {})["length"]
        assert all(before.end == after.start and before.name != after.name for before, after in pairwise(clip.steps))


def test_the_published_counts_are_checked(tmp_path: Path) -> None:
    keys = [(f"event{n % 135}", n) for n in range(3000)]
    row = {key: fine_row(114.8 * (n % 2)) for n, key in enumerate(keys)}
    for n, key in enumerate(keys):
        row[key][0] = f"{100 + n % 52}b"
    judges = [7] * 1369 + [5] * 607 + [3] * 1024
    coarse = {key: coarse_row(n) for key, n in zip(keys, judges, strict=True)}
    write_annotation(tmp_path, row, keys[:2251], keys[2251:], coarse)
    listing = FINE.read(tmp_path)
    checks = FINE.check(listing)
    assert [c for c in checks if not c.ok] == []
    assert len(checks) == 6
    write_annotation(tmp_path, row, keys[:2250], keys[2251:])
    failed = [(c.name, c.expected, c.found) for c in FINE.check(FINE.read(tmp_path, tmp_path)) if not c.ok]
    assert ("train clips", "2251", "2250") in failed


def test_faulty_dives_are_rejected_one_by_one(tmp_path: Path) -> None:
    outside = write_frames(tmp_path / "outside" / "1", ["1.jpg"]).parent
    root = tmp_path / "root"
    fine = {("e", 1): fine_row(), ("e", 2): fine_row(float("nan")), ("e", 3): ["407c"], ("../outside", 1): fine_row()}
    write_annotation(root, fine, [("e", 1), ("e", 2), ("e", 3)], [("e", 4), ("e", 1), ("../outside", 1), "x"])  # type: ignore[list-item]
    listing = FINE.read(root)
    assert outside.is_dir()
    assert [r.clip_id for r in listing.missing] == ["e_1"]
    assert [r.reason for r in listing.rejected] == [
        "its score is nan, not a finite number",
        "the annotation has no full entry for the dive",
        "the annotation has no full entry for the dive",
        "the dive is listed twice in the splits",
        "the event name '../outside' is no folder name",
        "the key 'x' is not an (event name, clip number) pair",
    ]


def test_missing_files_say_whom_to_ask(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no fine-grained_annotation_aqa\.pkl; ask the authors .*FineDiving"):
        FINE.read(tmp_path)
    write_annotation(tmp_path, {("e", 1): fine_row()}, [("e", 1)], [])
    (tmp_path / "test_split.pkl").unlink()
    with pytest.raises(DatasetError, match=r"holds no test_split\.pkl"):
        FINE.read(tmp_path)
