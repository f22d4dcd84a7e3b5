"""Training learns, resumes to the bit, survives damage, and says what is wrong."""

import csv
from pathlib import Path

import numpy as np
import pytest

from data_catalog.pack.file import PackReader
from tasks.train import TrainResult, train
from tasks.training.checkpoints import find_checkpoint
from tasks.training.config import EpochRow, ModelConfig
from tasks.training.splits import split_clips
from tasks.training.targets import score_scale
from tests.support.interrupted_training import assert_same, train_and_kill, train_and_stop
from tests.support.tiny_training import CONFIG, MODEL, tiny_pack

pytestmark = pytest.mark.usefixtures("one_thread")


# -- learning


def test_brightness_inside_the_tube_is_learned(pack: Path, tmp_path: Path) -> None:
    rows: list[EpochRow] = []
    config = CONFIG.model_copy(update={"epochs": 20, "lr": 1e-2})
    result = train(pack, MODEL, config, tmp_path, on_epoch=rows.append)
    assert rows == list(result.history)
    assert [row["epoch"] for row in rows] == list(range(20))
    losses = [row["train/loss"] for row in rows]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < losses[0] / 3
    best = result.history[result.best_epoch]["test/spearman"]
    assert best is not None
    assert best >= 0.8


@pytest.mark.parametrize(
    "model",
    [
        MODEL.model_copy(update={"head": "usdl", "head_options": {"kl_scale": "batch"}}),
        MODEL.model_copy(update={"head": "musdl"}),
        MODEL.model_copy(update={"attention": "none"}),
        MODEL.model_copy(update={"attention": "nonlocal", "affinity": "softmax"}),
        MODEL.model_copy(update={"attention": "mask"}),
        MODEL.model_copy(update={"attention": "pointwise"}),
        MODEL.model_copy(update={"stacks": 3, "attention_norm": True, "attention_gain": 0.1}),
    ],
    ids=lambda model: f"{model.head}-{model.attention_words}",
)
def test_every_head_and_attention_brings_the_loss_down(pack: Path, tmp_path: Path, model: ModelConfig) -> None:
    result = train(pack, model, CONFIG.model_copy(update={"lr": 1e-2}), tmp_path)
    first, last = result.history[0]["train/loss"], result.history[-1]["train/loss"]
    assert first is not None
    assert last is not None
    assert last < first


def test_labels_are_learned_and_the_best_epoch_is_chosen_by_accuracy(pack: Path, tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"head": "classification"})
    result = train(pack, model, CONFIG.model_copy(update={"lr": 1e-2, "epochs": 10}), tmp_path)
    accuracies = [row["test/accuracy"] or 0.0 for row in result.history]
    assert max(accuracies) >= 5 / 6
    assert result.best_epoch == int(np.argmax(accuracies))
    assert "test/spearman" not in result.history[0]


def test_the_seed_decides_everything(pack: Path, tmp_path: Path, trained: TrainResult) -> None:
    other = train(pack, MODEL, CONFIG.model_copy(update={"seed": 1}), tmp_path)
    assert other.history[0]["train/loss"] != trained.history[0]["train/loss"]


# -- resuming after an end


@pytest.mark.slow  # its short form is the command line killed during training, tests/e2e/test_kill.py
def test_killed_twice_and_the_same_to_the_bit(pack: Path, tmp_path: Path, trained: TrainResult) -> None:
    train_and_kill(pack, tmp_path, kill_at=3)  # in the first epoch, one batch after a checkpoint
    assert find_checkpoint(tmp_path / "checkpoints").path == tmp_path / "checkpoints" / "00000-0000002.ckpt"
    train_and_kill(pack, tmp_path, kill_at=5)  # one batch after the end of an epoch
    result = train(pack, MODEL, CONFIG, tmp_path)
    assert result.resumed == "00000-0000004.ckpt"
    assert_same(result, trained)


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", range(1, 17))
def test_killed_anywhere(pack: Path, tmp_path: Path, trained: TrainResult, kill_at: int) -> None:
    train_and_kill(pack, tmp_path, kill_at)
    assert_same(train(pack, MODEL, CONFIG, tmp_path), trained)


def test_a_finished_training_is_not_repeated(pack: Path, tmp_path: Path) -> None:
    first = train(pack, MODEL, CONFIG, tmp_path)
    rows: list[EpochRow] = []
    again = train(pack, MODEL, CONFIG, tmp_path, on_epoch=rows.append)
    assert rows == []
    assert_same(again, first)


def test_accumulated_gradients_survive_too(pack: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"batch": 2, "accumulate": 2, "checkpoint_steps": 3, "epochs": 2})
    whole = train(pack, MODEL, config, tmp_path / "whole")
    train_and_stop(pack, tmp_path / "stopped", 0, MODEL, config)
    result = train(pack, MODEL, config, tmp_path / "stopped")
    assert result.resumed == "00000-0000004.ckpt"
    assert_same(result, whole)


# -- damage


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def drop_digest(path: Path) -> None:
    path.with_name(path.name + ".sha256").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [(flip_a_bit, "is damaged"), (truncate, "is damaged"), (drop_digest, "has no digest")],
    ids=["bit", "truncated", "no digest"],
)
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    pack: Path, tmp_path: Path, trained: TrainResult, damage: object, words: str
) -> None:
    train_and_stop(pack, tmp_path, 2, MODEL, CONFIG)
    folder = tmp_path / "checkpoints"
    newest, before = sorted(folder.glob("*.ckpt"), reverse=True)
    assert callable(damage)
    damage(newest)
    (folder / "00009-0000001.ckpt.tmp").write_bytes(b"killed while writing")
    (folder / "00009-0000001.ckpt.sha256").write_text("killed before renaming")
    result = train(pack, MODEL, CONFIG, tmp_path)
    assert result.resumed == before.name
    (note,) = result.notes
    assert newest.name in note
    assert words in note
    assert note.endswith(f"training resumes from {before.name}.")
    assert_same(result, trained)
    assert not list(folder.glob("*.tmp"))
    assert len(list(folder.iterdir())) == 4  # two checkpoints and their digests


def test_all_checkpoints_damaged_starts_from_the_beginning(pack: Path, tmp_path: Path, trained: TrainResult) -> None:
    train_and_stop(pack, tmp_path, 1, MODEL, CONFIG)
    for path in (tmp_path / "checkpoints").glob("*.ckpt"):
        truncate(path)
    result = train(pack, MODEL, CONFIG, tmp_path)
    assert result.resumed is None
    assert len(result.notes) == 2
    assert all(note.endswith("training starts from the beginning.") for note in result.notes)
    assert_same(result, trained)


# -- who trains, on what


def test_validation_clips_come_from_training_and_choose_the_epoch(pack: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"validation": 0.3, "select_on": "validation"})
    parts = split_clips(PackReader(pack), config, MODEL)
    assert len(parts.validation) == 4
    assert sorted(parts.train + parts.validation) == list(range(14))
    assert parts.test == list(range(14, 20))
    result = train(pack, MODEL, config, tmp_path)
    chosen = [(row["validation/spearman"], -(row["validation/mse"] or 0.0)) for row in result.history]
    assert result.best_epoch == chosen.index(max(chosen))


def test_clips_without_a_score_do_not_train_but_are_no_error(tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "p.h5", score=lambda n: None if n in (3, 16) else float(n))
    parts = split_clips(PackReader(pack), CONFIG, MODEL)
    assert 3 not in parts.train
    assert len(parts.train) == 13
    result = train(pack, MODEL, CONFIG.model_copy(update={"epochs": 1}), tmp_path)
    assert result.history[0]["test/mse"] is not None


def test_no_test_clips_means_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "p.h5", split=lambda n: "train")
    result = train(pack, MODEL, CONFIG.model_copy(update={"epochs": 2}), tmp_path)
    assert result.best_epoch == 1
    assert "test/mse" not in result.history[0]


def test_nothing_to_train_on_says_so(tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "p.h5", label=lambda n: None)
    with pytest.raises(ValueError, match="no clip of split 'train' has a label"):
        train(pack, MODEL.model_copy(update={"head": "classification"}), CONFIG, tmp_path)
    with pytest.raises(ValueError, match="select_on is 'validation'"):
        train(pack, MODEL, CONFIG.model_copy(update={"select_on": "validation"}), tmp_path)


def test_a_pack_for_another_network_says_what_to_change(pack: Path, tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"backbone": "i3d_small"})
    with pytest.raises(ValueError, match=r"frames of 16, the network takes 112; set pack\.input_size to 112"):
        train(pack, model, CONFIG, tmp_path)


def test_loggers_write_where_they_are_told(pack: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = CONFIG.model_copy(update={"epochs": 3, "loggers": ("csv", "tensorboard")})
    train_and_stop(pack, tmp_path, 1, MODEL, config)
    result = train(pack, MODEL, config, tmp_path)
    assert result.resumed is not None
    with (tmp_path / "logs" / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["test/spearman"]) for row in rows] == [row["test/spearman"] for row in result.history]
    assert list((tmp_path / "logs" / "tensorboard").glob("events*"))
    out, err = capfd.readouterr()
    assert out == ""
    assert "GPU available" not in err


# -- score scale


def test_scores_become_shares_of_their_actions_range_and_back(tmp_path: Path) -> None:
    pack = tiny_pack(
        tmp_path / "p.h5",
        action=lambda n: "vault" if n % 2 else "diving",
        score=lambda n: 12.0 + n / 10 if n % 2 else 50.0 + n,
    )
    labels = PackReader(pack).labels
    index = np.arange(20)
    for score_range, low, high in (("all", [50, 12.1], [68, 13.9]), ("train", [50, 12.1], [62, 13.3])):
        scale = score_scale(labels, score_range, with_difficulty=False)  # type: ignore[arg-type]
        np.testing.assert_allclose([scale.low[0], scale.low[1]], low)
        np.testing.assert_allclose([scale.high[0], scale.high[1]], high)
        np.testing.assert_allclose(scale.points(scale.shares(labels.score), index), labels.score)
    shares = score_scale(labels, "all", with_difficulty=False).shares(labels.score)
    assert (shares.min(), shares.max()) == (0.0, 1.0)
    fixed = score_scale(labels, (0.0, 104.5), with_difficulty=False)
    np.testing.assert_allclose(fixed.shares(labels.score), labels.score / 104.5)
    execution = score_scale(labels, (0.0, 30.0), with_difficulty=True)
    np.testing.assert_allclose(execution.shares(labels.score), labels.score / 2.0 / 30.0)
    segments = execution.points(np.full((3, 2), 0.5), index[:3])
    np.testing.assert_allclose(segments, np.full((3, 2), 30.0))


@pytest.mark.parametrize(
    ("score_range", "difficulty", "told"),
    [
        ((0.0, 104.5), True, r"\[0, 104.5\] is one of final scores \(up to 102.6 here\).*executions.*up to 27 here"),
        ((0.0, 30.0), False, r"leaves out the score of clip 'c19', 102.6; set it to a range"),
        ((5.0, 104.5), False, r"leaves out the score of clip 'c0', 3.8"),
        ((0.0, 25.0), True, r"leaves out the execution \(score / difficulty\) of clip 'c19', 27"),
        ((0.0, 30.0), True, None),
        ((0.0, 104.5), False, None),
    ],
)
def test_a_range_that_cannot_be_right_is_refused(
    score_range: tuple[float, float], difficulty: bool, told: str | None, tmp_path: Path
) -> None:
    """MTL-AQA's final scores reach 102.6 on the training split, and their executions 27, at a difficulty of 3.8."""
    pack = tiny_pack(tmp_path / "p.h5", difficulty=lambda n: 3.8, score=lambda n: 3.8 if n == 0 else 102.6 * n / 19)
    config = CONFIG.model_copy(update={"score_range": score_range, "difficulty": difficulty, "epochs": 1})
    if told is None:
        train(pack, MODEL, config, tmp_path)
        return
    with pytest.raises(ValueError, match=told) as caught:
        train(pack, MODEL, config, tmp_path)
    assert "\n" not in str(caught.value)


def test_one_score_for_all_does_not_divide_by_zero(tmp_path: Path) -> None:
    labels = PackReader(tiny_pack(tmp_path / "p.h5", score=lambda n: 7.0)).labels
    assert score_scale(labels, "all", with_difficulty=False).shares(labels.score).tolist() == [0.0] * 20


def test_a_missing_difficulty_names_the_clip(tmp_path: Path) -> None:
    labels = PackReader(tiny_pack(tmp_path / "p.h5", difficulty=lambda n: None if n == 8 else 2.0)).labels
    with pytest.raises(ValueError, match="clip 'c8' has no difficulty"):
        score_scale(labels, "all", with_difficulty=True)
