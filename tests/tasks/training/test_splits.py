"""Who trains, who chooses the epoch, who is tested: drawn by name alone, apart from each other, and without a leak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from data_catalog.pack.file import PackReader
from tasks.masks import MasksConfig
from tasks.pack import PackConfig, write_pack
from tasks.train import TrainResult, train
from tasks.training.config import ModelConfig, TrainConfig
from tasks.training.splits import ClipSplits, held_out, split_clips
from tests.support.tiny_training import CONFIG, MODEL, tiny_clips, tiny_pack

pytestmark = pytest.mark.usefixtures("one_thread")
ACTIONS = {0: "vault", 1: "diving", 2: "diving", 3: "diving"}  # of every four clips

REGRESSION = ModelConfig(head="regression")


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(CONFIG.model_dump() | changes)


def many_clips(path: Path, **changes: Any) -> PackReader:
    """80 clips of two actions, the last 6 for testing."""
    return PackReader(tiny_pack(path, count=80, **({"action": lambda n: ACTIONS[n % 4]} | changes)))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> PackReader:
    return many_clips(tmp_path_factory.mktemp("many") / "p.h5")


def names(reader: PackReader, indices: list[int]) -> set[str]:
    return {reader.labels.clip_id[index] for index in indices}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_parts_are_apart_and_every_action_gives_its_share(many: PackReader, share: float, seed: int) -> None:
    parts = split_clips(many, config(validation=share, seed=seed), REGRESSION)
    everyone = parts.train + parts.validation + parts.test
    assert sorted(everyone) == list(range(80))
    assert parts.test == list(range(74, 80))
    for action, clips in (("vault", 19), ("diving", 55)):
        chosen = [index for index in parts.validation if many.labels.action[index] == action]
        assert len(chosen) == round(clips * share)


def test_the_seed_and_the_name_decide_and_nothing_else(many: PackReader, tmp_path: Path) -> None:
    chosen = names(many, split_clips(many, config(validation=0.2), REGRESSION).validation)
    other = names(many, split_clips(many, config(validation=0.2, seed=1), REGRESSION).validation)
    assert chosen != other
    # The same clips in another order, with other scores.
    clips = list(tiny_clips(80, action=lambda n: ACTIONS[n % 4], score=lambda n: float(n)))[::-1]
    write_pack(tmp_path / "p.h5", iter(clips), PackConfig(input_size=16), _masks())
    reversed_pack = PackReader(tmp_path / "p.h5")
    assert names(reversed_pack, split_clips(reversed_pack, config(validation=0.2), REGRESSION).validation) == chosen
    # One action alone: the same of its clips.
    divers = split_clips(many, config(validation=0.2, actions=["diving"]), REGRESSION).validation
    everywhere = split_clips(many, config(validation=0.2), REGRESSION).validation
    assert divers == [index for index in everywhere if many.labels.action[index] == "diving"]


def _masks() -> MasksConfig:
    from tests.support.tiny_training import MASKS

    return MASKS


def test_an_action_gives_at_least_one_and_keeps_at_least_one(many: PackReader) -> None:
    assert len(held_out(many, [0, 1], 0, 0.9)) == 0  # one clip of each action: nobody can be spared
    assert len(held_out(many, [1, 2], 0, 0.9)) == 1
    assert len(held_out(many, [1, 2, 3, 5, 6], 0, 0.01)) == 1


def test_a_split_by_name(tmp_path: Path) -> None:
    split = {0: "holdout", 1: "holdout", 2: "test", 3: "test"}
    reader = many_clips(tmp_path / "p.h5", split=lambda n: split.get(n, "train"))
    parts = split_clips(reader, config(validation="holdout"), REGRESSION)
    assert parts == ClipSplits(list(range(4, 80)), [0, 1], [2, 3])
    with pytest.raises(ValueError, match=r"no clip has the split 'dev' that train\.validation names; the labels"):
        split_clips(reader, config(validation="dev"), REGRESSION)
    for name in ("train", "test"):
        with pytest.raises(ValidationError, match=f"validation clips may be no {name} clips"):
            config(validation=name)


def test_asking_for_validation_selects_by_it() -> None:
    assert config().selecting == "test"
    assert config(validation=0.2).selecting == "validation"
    assert config(validation="dev").selecting == "validation"
    assert config(validation=0.2, select_on="test").selecting == "test"


# -- leaks: whatever one may not learn from is changed, and nothing may move


def same_weights(found: TrainResult, wanted: TrainResult, which: str) -> bool:
    states = getattr(found, which), getattr(wanted, which)
    return all(np.array_equal(states[0][name], states[1][name]) for name in states[1])


@pytest.fixture(scope="module")
def settings() -> TrainConfig:
    return config(validation=0.3, score_range=[0, 150], epochs=5, lr=3e-2)


@pytest.fixture(scope="module")
def selected(pack: Path, settings: TrainConfig, one_thread: None, tmp_path_factory: Any) -> TrainResult:
    return train(pack, MODEL, settings, tmp_path_factory.mktemp("selected"))


def test_test_labels_have_no_say(selected: TrainResult, settings: TrainConfig, tmp_path: Path) -> None:
    scores = {f"c{n}": 95.0 - 5 * n for n in range(14, 20)}
    changed = _with_scores(tmp_path / "p.h5", scores)
    result = train(changed, MODEL, settings, tmp_path / "w")
    assert result.best_epoch == selected.best_epoch
    assert same_weights(result, selected, "last")
    assert same_weights(result, selected, "best")
    assert result.history[-1]["test/mse"] != selected.history[-1]["test/mse"]


def test_validation_labels_choose_and_do_not_teach(
    pack: Path, selected: TrainResult, settings: TrainConfig, tmp_path: Path
) -> None:
    reader = PackReader(pack)
    parts = split_clips(reader, settings, REGRESSION)
    labels = reader.labels
    upside_down = {labels.clip_id[i]: 150.0 - float(labels.score[i]) for i in parts.validation}
    result = train(_with_scores(tmp_path / "p.h5", upside_down), MODEL, settings, tmp_path / "w")
    assert same_weights(result, selected, "last")
    assert result.best_epoch != selected.best_epoch


def _with_scores(path: Path, scores: dict[str, float]) -> Path:
    original = {clip.clip_id: clip.score for clip in tiny_clips()}
    return tiny_pack(path, score=lambda n: scores.get(f"c{n}", original[f"c{n}"]))
