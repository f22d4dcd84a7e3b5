"""Labelled footage comes back as it was kept, and lessons cut out of it say where the person is."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_catalog.footage import lessons as lessons_module
from data_catalog.footage.labelled import LabelledClip, LabelledPerson, keep_labelled, open_labelled
from data_catalog.footage.lessons import Pairs
from data_catalog.synthetic.composites.sequences import CropForm

FORM = CropForm(80, 160)


def clip_of(name: str, colour: int, size: tuple[int, int] = (120, 200)) -> LabelledClip:
    """A bright rectangle of 20 x 50 that moves to the right over eight frames."""
    frames, boxes, masks = np.full((8, *size, 3), 40, np.uint8), [], []
    for index in range(8):
        mask = np.zeros(size, bool)
        mask[30:80, 40 + 8 * index : 60 + 8 * index] = True
        frames[index][mask] = colour
        masks.append(mask)
        boxes.append(np.array([40 + 8 * index, 30, 60 + 8 * index, 80], float))
    return LabelledClip(name, frames, (LabelledPerson.of(range(8), boxes, masks),))


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    clip = clip_of("one", 200)
    frames = [np.zeros_like(clip.frames[0])] * 3 + list(clip.frames)
    keep_labelled(tmp_path / "one", frames, [clip.people[0].later(3)])
    back = open_labelled(tmp_path / "one")
    assert (back.name, back.frames.shape) == ("one", (8, 120, 200, 3))   # frames without labels are not kept
    assert (back.frames == clip.frames).all()
    [person] = back.people
    assert person.frames.tolist() == list(range(8))
    assert (person.boxes == clip.people[0].boxes).all()
    assert (person.mask(5, 200) == clip.people[0].mask(5, 200)).all()


def test_large_frames_are_shrunk_with_their_labels(tmp_path: Path) -> None:
    clip = clip_of("large", 200, (600, 1024))
    keep_labelled(tmp_path / "large", list(clip.frames), clip.people)
    back = open_labelled(tmp_path / "large")
    assert back.frames.shape == (8, 300, 512, 3)
    assert back.people[0].boxes[0].tolist() == [20, 15, 30, 40]
    rows, columns = np.nonzero(back.people[0].mask(0, 512))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (20, 15, 30, 40)


def test_a_clip_without_people_is_kept_as_such(tmp_path: Path) -> None:
    keep_labelled(tmp_path / "nobody", [np.zeros((20, 30, 3), np.uint8)] * 4, [])
    assert open_labelled(tmp_path / "nobody").people == ()
    with pytest.raises(ValueError, match="nobody is labelled"):
        Pairs({"footage": (1.0, [open_labelled(tmp_path / "nobody")])}, FORM)


def test_what_was_not_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_labelled(tmp_path)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_boxes_lie_around_the_outline(seed: int) -> None:
    """Wherever the crop lies and however it is turned, what is seen of the person is inside the box and fills it."""
    lessons = Pairs({"footage": (1.0, [clip_of("one", 200)])}, FORM)
    pair = lessons.draw(np.random.default_rng(seed))   # of one clip alone: nobody is pasted in, nobody is absent
    assert pair.present
    assert (pair.template.shape, pair.search.shape) == ((80, 80, 3), (160, 160, 3))
    rows, columns = np.nonzero(pair.mask > 0.5)
    if not len(rows):
        return
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) - 80.0
    assert (seen[:2] >= pair.box[:2] - 1).all()
    assert (seen[2:] <= pair.box[2:] + 1).all()
    whole = (pair.box[:2] > -79).all() and (pair.box[2:] < 79).all()
    if whole:
        assert np.abs(seen - pair.box).max() < 2.5


def test_lessons_depend_on_the_seed_alone() -> None:
    lessons = Pairs({"a": (0.5, [clip_of("one", 200)]), "b": (0.5, [clip_of("two", 90)])}, FORM)
    first, again = (lessons.draw(np.random.default_rng(7)) for _ in range(2))
    assert (first.search == again.search).all()
    assert (first.box == again.box).all()


def test_strangers_come_from_other_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons_module, "ABSENT", 1.0)
    alone = Pairs({"a": (1.0, [clip_of("one", 250)])}, FORM)
    assert all(alone.draw(np.random.default_rng(seed)).present for seed in range(20))
    two = Pairs({"a": (0.5, [clip_of("one", 250)]), "b": (0.5, [clip_of("two", 130)])}, FORM)
    present = [two.draw(np.random.default_rng(seed)).present for seed in range(40)]
    assert 5 < sum(present) < 35   # half of the strangers drawn are of the same clip, and no strangers


def test_company_hides_a_part_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons_module, "ABSENT", 0.0)
    clips = {"a": (0.5, [clip_of("one", 250)]), "b": (0.5, [clip_of("two", 130)])}
    shares = []
    for company in (0.0, 1.0):
        monkeypatch.setattr(lessons_module, "COMPANY", company)
        lessons = Pairs(clips, FORM)
        shares.append([float(lessons.draw(np.random.default_rng(seed)).mask.sum()) for seed in range(40)])
    seen = np.array(shares[1]) / np.maximum(shares[0], 1)
    assert (seen > 1 - lessons_module.HIDDEN - 0.01).all()
    assert (seen < 0.99).any()
