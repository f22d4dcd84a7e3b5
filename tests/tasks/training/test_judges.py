"""Panels of other sizes than seven, from the pack to a score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_catalog.pack.file import PackReader
from tasks.evaluate import EvaluateConfig, evaluate
from tasks.train import train
from tasks.training.splits import split_clips
from tests.support.tiny_training import CONFIG, MODEL, tiny_pack

pytestmark = pytest.mark.usefixtures("one_thread")


def marks(number: int) -> tuple[float, ...]:
    """Nine judges, but for clip 2, which six have marked, and clip 3, which nobody has."""
    panel = tuple((number % 10 + seat / 2) % 10.5 for seat in range(9))
    return {2: panel[:6], 3: ()}.get(number, panel)


def test_nine_judges_by_a_trimmed_mean_from_the_pack_to_a_score(tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "pack.h5", judges=marks, difficulty=lambda number: None)
    reader = PackReader(pack)
    assert reader.labels.judges.shape == (20, 9)
    options = {"judges": 9, "rule": "mean", "drop": 2, "with_difficulty": False}
    nine = MODEL.model_copy(update={"head": "musdl", "head_options": options})
    assert split_clips(reader, CONFIG, nine).train == [0, 1, *range(4, 14)]
    six = nine.model_copy(update={"head_options": {**options, "judges": 6, "drop": 1}})
    assert split_clips(reader, CONFIG, six).train == [2]
    seven = nine.model_copy(update={"head_options": {}})
    with pytest.raises(ValueError, match="marks of 7 judges and difficulty"):
        split_clips(reader, CONFIG, seven)

    result = train(pack, nine, CONFIG.model_copy(update={"epochs": 1}), tmp_path / "w")
    found = evaluate(pack, {"last": result.last}, nine, CONFIG, EvaluateConfig(splits=("test",), device="cpu"))
    predicted = found.predictions["predicted"].to_numpy()
    # A mean of five marks in half points: tenths from 0 to 10.
    np.testing.assert_allclose(predicted * 10, np.round(predicted * 10), atol=1e-4)
    assert ((predicted >= 0) & (predicted <= 10)).all()
