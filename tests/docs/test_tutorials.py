"""The tutorials run: each block of them, in order, in one folder, and what they promise is what is seen."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from data_catalog.catalog import Workspace
from flows.runs.finished import find_run
from tests.support.tutorial_pages import FOLDER, blocks, carry_out

ORDER = ("first-run.md", "own-clips.md", "another-tracker.md")
STAGES = ("normalize", "detect", "track", "masks", "pack", "train", "evaluate")


def to_do(said: str) -> list[dict[str, int]]:
    """For every plan that was printed: how much each stage had to do."""
    plans: list[dict[str, int]] = []
    for line in said.splitlines():
        cells = [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
        if cells[:1] == ["stage"]:
            column = cells.index("to do") if "to do" in cells else None
            plans += [{}] * (column is not None)
        elif cells[:1] and cells[0] in STAGES and column is not None:
            plans[-1] = plans[-1] | {cells[0]: int(cells[column])}
    return plans


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorials")


@pytest.fixture(scope="module")
def first(folder: Path) -> str:
    """What the first tutorial printed; the others go on in its folder."""
    return carry_out(ORDER[0], folder)


def test_every_tutorial_is_carried_out_here() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.md")) == sorted(ORDER)
    for page in ORDER:
        fences = (FOLDER / page).read_text().count("\n```")
        assert len(blocks(page)) * 2 == fences > 4


@pytest.mark.slow
def test_the_first_run(folder: Path, first: str) -> None:
    assert to_do(first) == [{**dict.fromkeys(STAGES[:4], 8), "pack": 1, "train": 1, "evaluate": 1}]
    run = find_run(Workspace(folder / "workspace"), "last")
    assert (run.folder / "report.html").is_file()
    assert {path.suffix for path in (folder / "pictures").iterdir()} == {".png", ".mp4"}
    assert len(list((folder / "workspace" / "artifacts" / "train").rglob("*.h5"))) == 1


@pytest.mark.slow
def test_own_clips(folder: Path, first: str) -> None:
    said = carry_out(ORDER[1], folder)
    assert "gina" in said
    assert "diving_0099.mp4" in said
    clips = Workspace(folder / "workspace").datasets.clips("mine")
    table = pd.read_csv(folder / "labels.csv").iloc[:-1]
    assert {clip.clip_id: clip.score for clip in clips} == dict(zip(table.clip_id, table.score, strict=True))
    assert list((folder / "scored").glob("*.mp4"))


@pytest.mark.slow
def test_another_tracker(folder: Path, first: str) -> None:
    said = carry_out(ORDER[2], folder)
    changed, back = to_do(said)
    assert changed == {"normalize": 0, "detect": 0, "track": 8, "masks": 8, "pack": 1, "train": 1, "evaluate": 1}
    assert set(back.values()) == {0}
    assert list((folder / "compared").iterdir())
