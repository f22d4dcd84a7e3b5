"""The table of damage in docs/artifacts.md, made by damaging a real workspace.

`TUBEFLOW_WRITE_DOCS=1 python -m pytest -m slow tests/docs/test_damage_table.py` writes it anew (half an hour).
"""

import os
import re
from pathlib import Path

import pytest

from tests.support import REPO
from tests.support.damage import KINDS, WAYS, damage, make_workspace, table

PAGE = REPO / "docs" / "artifacts.md"
BEGIN, END = "<!-- damage -->\n", "<!-- /damage -->"
QUICK = [
    ("artifact of masks", "rot"),
    ("edits.jsonl", "empty"),
    ("run.json", "flip"),
    ("metrics.json", "FIFO"),
    ("clips.parquet", "folder"),
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("damage") / "reference")


def cells_of_page() -> dict[tuple[str, str], str]:
    text = re.search(f"{BEGIN}(.*?){END}", PAGE.read_text(), re.S)
    assert text is not None
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text[1].splitlines()]
    return {(row[0], way): cell for row in rows[2:] for way, cell in zip(rows[0][1:], row[1:], strict=True)}


def test_the_page_has_every_kind_and_way() -> None:
    assert list(cells_of_page()) == [(kind, way) for kind in KINDS for way in WAYS]
    assert not [cell for cell in cells_of_page().values() if "nothing" in cell]


@pytest.mark.parametrize(("kind", "way"), QUICK)
def test_damage_is_noticed_and_healed_as_the_page_says(kind: str, way: str, reference: Path, tmp_path: Path) -> None:
    cell = damage(reference, tmp_path / "w", kind, way)
    assert not cell.used
    assert str(cell) == cells_of_page()[kind, way]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_kind_in_every_way(reference: Path, tmp_path: Path) -> None:
    cells = [damage(reference, tmp_path / "w", kind, way) for kind in KINDS for way in WAYS]
    assert [cell for cell in cells if cell.used] == []
    assert [cell for cell in cells if cell.healed == "nothing"] == []
    if os.environ.get("TUBEFLOW_WRITE_DOCS"):
        page = PAGE.read_text()
        PAGE.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: BEGIN + table(cells) + END, page, flags=re.S))
    assert {(cell.kind, cell.way): str(cell) for cell in cells} == cells_of_page()
