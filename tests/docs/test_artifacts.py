"""docs/artifacts.md says what is in the files: its example runs, and its table is compared with real artifacts."""

import contextlib
import io
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_catalog.catalog import Workspace
from tests.support import REPO

PAGE = (REPO / "docs" / "artifacts.md").read_text()
STAGES = ("normalize", "detect", "track", "masks")
ONLY_SOME_TRACKERS = {"rle", "rle_offsets"}
SIZES = {"L": 24, "A": 1, "W": 228, "H": 128, "N": 2, "T": 4, "Hf": 14, "Wf": 14}  # of the tiny workspace


def table() -> dict[str, dict[str, tuple[str, str]]]:
    """Stage → dataset → its shape and its type, as the page says."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    stage = ""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 4:
            continue
        stage = cells[0] or stage
        names, kinds = re.findall(r"`([\w/*]+)`", cells[1]), re.findall(r"(\([^)]*\)) (\w+)", cells[2])
        if re.search(r"\) \w+, \w+$", cells[2]):  # one shape for two types
            kinds = [(kinds[0][0], kind) for kind in re.findall(r"\) (\w+), (\w+)$", cells[2])[0]]
        kinds = kinds * len(names) if len(kinds) == 1 else kinds
        found.setdefault(stage, {}).update(zip(names, kinds, strict=False))
    return {name: found[name] for name in STAGES}


@pytest.mark.parametrize("stage", STAGES)
def test_every_dataset_is_as_documented(finished_workspace: Path, stage: str) -> None:
    documented = table()[stage]
    paths = sorted(finished_workspace.glob(f"artifacts/{stage}/*/*.h5"))
    assert len(paths) == 4
    for path in paths:
        with h5py.File(path) as file:
            assert set(documented) - set(file) <= ONLY_SOME_TRACKERS
            assert set(file) <= set(documented), "a dataset that the page doesn't name"
            for name, dataset in file.items():
                shape, kind = documented[name]
                assert dataset.dtype == np.dtype(kind), name
                assert_shape(dataset.shape, shape, name)


def assert_shape(found: tuple[int, ...], documented: str, name: str) -> None:
    parts = [part.strip() for part in documented.strip("()").split(",") if part.strip()]
    assert len(found) == len(parts), name
    for size, part in zip(found, parts, strict=True):
        known = {"L+1": SIZES["L"] + 1, **SIZES}.get(part, int(part) if part.isdigit() else None)
        assert known in (None, size), (name, part)


def test_attributes_are_as_documented(finished_workspace: Path) -> None:
    documented = set(re.findall(r"`(\w+)`", PAGE[PAGE.index("| attribute |") : PAGE.index("## What each stage adds")]))
    (path, *_) = finished_workspace.glob("artifacts/track/*/*.h5")
    with h5py.File(path) as file:
        assert documented <= set(file.attrs)
        assert set(file.attrs) - documented == {"width", "height"}
    head = path.read_bytes()[:512].split()
    assert head[0] == b"tubeflow-artifact"
    assert int(head[3].rstrip(b"\0")) == path.stat().st_size - 512


def test_the_example_runs_on_real_artifacts(
    finished_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = PAGE[PAGE.index("```python") + len("```python") : PAGE.rindex("```")]
    assert len([line for line in example.splitlines() if line.strip()]) <= 11
    (tmp_path / "workspace").symlink_to(finished_workspace)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "docs/artifacts.md", "exec"), names)
    frame, tube = names["frame"], names["tube"]
    assert isinstance(frame, np.ndarray)
    assert isinstance(tube, h5py.File)
    assert frame.shape == (SIZES["H"], SIZES["W"], 3)
    assert (frame == (255, 209, 64)).all(axis=-1).sum() > 50  # the tube is drawn in
    key = str(tube.attrs["key"])
    for name in ("source", "tube", "masks"):
        names[name].close()  # type: ignore[attr-defined]
    store = Workspace(finished_workspace).store
    assert store.lineage("track", key).clip_id == "diving_0003"
    assert printed.getvalue().startswith(str(store.read("track", key).arrays["scores"][0, 20]))
