"""Sequences cut out of procedural clips: the truth is where the crop shows the athlete; clips come round by rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_catalog.synthetic.composites import mixture as mixture_module
from data_catalog.synthetic.composites.cutouts import open_cast
from data_catalog.synthetic.composites.filmed import EACH, filmed_sequences
from data_catalog.synthetic.composites.mixture import FILMED, Mixture
from data_catalog.synthetic.composites.sequences import CropForm, Sequence, compose
from tests.support.material_packages import picture


@pytest.fixture(scope="module")
def dive() -> list[Sequence]:
    return list(filmed_sequences(1, 0, 2))


def test_a_clip_gives_its_sequences(dive: list[Sequence]) -> None:
    assert len(dive) == EACH
    for made in dive:
        assert made.template.shape == (127, 127, 3)
        assert made.searches.shape == (2, 255, 255, 3)
        assert made.masks.shape == (2, 255, 255)
        assert made.boxes.dtype == np.float32
    again = next(iter(filmed_sequences(1, 0, 2)))
    assert np.array_equal(again.searches, dive[0].searches)
    assert np.array_equal(again.template, dive[0].template)
    assert not np.array_equal(next(iter(filmed_sequences(1, 1, 2))).template, dive[0].template)


def test_boxes_lie_around_the_masks(dive: list[Sequence]) -> None:
    compared = 0
    for made in dive:
        for box, mask in zip(made.boxes, made.masks, strict=True):
            rows, columns = np.nonzero(mask)
            inside = (box[:2] > 2).all() and (box[2:] < 253).all()
            if not inside or not len(rows):
                continue  # cut off by the crop
            seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert np.abs(seen - box).max() < 8, (
                seen,
                box,
            )  # a pixel of the frame is some of the crop, where a thin one may vanish
            compared += 1
    assert compared > EACH


def test_masks_show_the_athlete(dive: list[Sequence]) -> None:
    """Within the mask the crop looks otherwise than in the ring around it, wherever the athlete is large."""
    apart = []
    for made in dive:
        for search, mask in zip(made.searches, made.masks, strict=True):
            if mask.sum() > 1500:
                apart.append(np.abs(search[mask].mean(axis=0) - search[~mask].mean(axis=0)).max())
    assert np.median(apart) > 20


def test_one_run_in_three_is_filmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {}
    for name, alpha in (("views", False), ("tuxpaint", True)):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        for number in range(2):
            (folders[name] / f"{number}.png").write_bytes(picture(number, 90 if alpha else 240, alpha))
    cast, form = open_cast(folders), CropForm()
    rendered: list[int] = []
    real = filmed_sequences

    def counted(clip: int, *rest: object) -> object:
        rendered.append(clip)
        return real(clip, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(mixture_module, "filmed_sequences", counted)
    mixture = Mixture(cast, 5, 1, form)
    composed = mixture(3)
    assert np.array_equal(composed.searches, compose(cast, np.random.default_rng((5, 3)), 1, form).searches)
    first = (FILMED - 1) * EACH
    filmed = [mixture(first + place) for place in range(3)]
    assert rendered == [0]  # once for all of its sequences
    assert not np.array_equal(filmed[0].template, filmed[2].template)
    assert mixture(first - 1).template.shape == filmed[0].template.shape
