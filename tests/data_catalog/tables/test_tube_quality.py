"""The table of judged tubes: kept, merged, read in parts, lost and found again."""

from pathlib import Path

import numpy as np
import pytest

from data_catalog.store import Lineage, Store
from data_catalog.tables.tube_quality import TubeQuality, TubeQualityTable, TubeSeries

LENGTH = 6


def row(name: str, **changes: object) -> TubeQuality:
    facts: dict[str, object] = {
        "track_key": f"track-{name}", "masks_key": f"masks-{name}", "dataset": "tiny", "clip_id": name,
        "suspicion": 0.5, "reasons": ["The tube leaps in frame 3."], "cuts": [], "score_drops": [2], "jumps": [3],
        "area_changes": [], "lost_frames": [], "outside_frames": [], "border_frames": [0, 1], "empty_segments": [],
        "drift_frames": [], "drift": 0.0, "athletes": 2, "frames": LENGTH, "settings": "abc", "version": 1,
    }  # fmt: skip
    return TubeQuality(**{**facts, **changes})  # type: ignore[arg-type]


def series(start: float = 0.0) -> TubeSeries:
    both = np.arange(2 * LENGTH, dtype=np.float32).reshape(2, LENGTH) + start
    return TubeSeries(
        change=both[0], elapsed=both[1], likeness=both, scores=both + 1, lost=both * 0, step=both + 2, area=both + 3,
        inside=both + 4, border=both * 0, omega=np.asarray([5, 0, 7], np.float32),
    )  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> TubeQualityTable:
    return again(tmp_path)


def again(root: Path) -> TubeQualityTable:
    return TubeQualityTable(root / "tube_quality.parquet", Store(root / "artifacts"))


def test_a_row_comes_back_as_it_was(table: TubeQualityTable, tmp_path: Path) -> None:
    assert table.rows == {}
    table.add(row("one"), series())
    table.save()
    fresh = again(tmp_path)
    assert fresh.rows == {("track-one", "masks-one"): row("one")}
    found = fresh.series("track-one", "masks-one")
    assert found is not None
    for name, array in vars(series()).items():
        np.testing.assert_array_equal(getattr(found, name), array)
    assert fresh.series("track-one", "another") is None


def test_what_is_added_is_there_before_it_is_saved(table: TubeQualityTable) -> None:
    table.add(row("one"), series())
    assert table.rows["track-one", "masks-one"].clip_id == "one"
    assert table.series("track-one", "masks-one") is not None


def test_rows_of_others_stay_and_a_newer_one_replaces(table: TubeQualityTable, tmp_path: Path) -> None:
    other = again(tmp_path)
    table.add(row("one"), series())
    other.add(row("two"), series())
    table.save()
    other.save()
    newer = again(tmp_path)
    newer.add(row("one", suspicion=0.9), series(100))
    newer.save()
    fresh = again(tmp_path)
    assert {one.clip_id: one.suspicion for one in fresh.rows.values()} == {"one": 0.9, "two": 0.5}
    assert fresh.all_series(list(fresh.rows))["track-one", "masks-one"].change[0] == 100


def test_a_damaged_table_is_told_and_made_again(table: TubeQualityTable, tmp_path: Path) -> None:
    table.add(row("one"), series())
    table.save()
    path = tmp_path / "tube_quality.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    notices: list[str] = []
    damaged = TubeQualityTable(path, Store(tmp_path / "artifacts"), notices.append)
    assert damaged.all_series([("track-one", "masks-one")]) == {}
    assert notices
    assert "measures the tubes again" in notices[0]
    damaged.add(row("one"), series())
    damaged.save()
    assert again(tmp_path).series("track-one", "masks-one") is not None


def test_rows_of_tubes_that_are_gone_go(table: TubeQualityTable, tmp_path: Path) -> None:
    lineage = Lineage("track", 1, {}, {}, {}, {}, "ab" * 20, "tiny", "kept")
    Store(tmp_path / "artifacts").write(lineage, {"quads": np.zeros((1, LENGTH, 4, 2), np.float32)})
    table.add(row("kept", track_key="ab" * 20), series())
    table.add(row("gone"), series())
    table.save()
    assert table.prune() == 1
    assert [one.clip_id for one in again(tmp_path).rows.values()] == ["kept"]
    assert table.prune() == 0
