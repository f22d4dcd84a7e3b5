"""Training of the person's network: one that was cut off ends with the weights of one that wasn't."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from data_catalog.footage.labelled import LabelledClip, LabelledPerson
from data_catalog.footage.lessons import Pairs
from data_catalog.synthetic.composites.sequences import CropForm
from models.trackers.siammask.person.person_network import PersonSiamMask
from tasks.pretrain import train_person as training
from tasks.pretrain.train_person import PersonRecipe, PersonStep, train_person

RECIPE = PersonRecipe(steps=4, batch=2, seed=5)


def drawn_pairs() -> Pairs:
    """One clip of somebody of 20 x 40 pixels who moves."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, 96, 128, 3), np.uint8)
    masks = np.zeros((6, 96, 128), bool)
    for number in range(6):
        masks[number, 30:70, 20 + 10 * number : 40 + 10 * number] = True
    boxes = [np.array([20.0 + 10 * number, 30, 40 + 10 * number, 70]) for number in range(6)]
    person = LabelledPerson.of(list(range(6)), boxes, list(masks))
    return Pairs({"drawn": (1.0, [LabelledClip("drawn", frames, (person,))])}, CropForm(80, 160))


def network() -> PersonSiamMask:
    torch.manual_seed(0)
    return PersonSiamMask()


class _CutOff(Exception):
    pass


def test_a_training_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "REPORT_EVERY", 2)
    seen: list[PersonStep] = []
    whole = train_person(network(), drawn_pairs(), RECIPE, tmp_path / "whole.state", seen.append)
    assert [step.step for step in seen] == [2, 4]

    def cut(step: PersonStep) -> None:
        raise _CutOff

    state = tmp_path / "cut.state"
    with pytest.raises(_CutOff):
        train_person(network(), drawn_pairs(), RECIPE, state, cut)
    assert state.is_file()
    resumed: list[PersonStep] = []
    again = train_person(network(), drawn_pairs(), RECIPE, state, resumed.append)
    assert [step.step for step in resumed] == [4]
    assert resumed[0].errors == seen[1].errors
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not list(tmp_path.iterdir())


def test_a_state_of_another_recipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "REPORT_EVERY", 1)

    def cut(step: PersonStep) -> None:
        raise _CutOff

    with pytest.raises(_CutOff):
        train_person(network(), drawn_pairs(), RECIPE, tmp_path / "one.state", cut)
    with pytest.raises(ValueError, match=r"one\.state is of another recipe; delete it to begin again"):
        train_person(network(), drawn_pairs(), dataclasses.replace(RECIPE, rate=1e-4), tmp_path / "one.state")
