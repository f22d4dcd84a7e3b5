"""A better tracker's weights in the workspace are said once, where tracks are made; figures are those of the page."""

import re
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from data_catalog.weights.registry import Weights, WeightsError, load_registry
from flows.config import PipelineConfig, load_config
from flows.tracking.better_tracker import better_tracker
from models.trackers import TRACKERS
from tests.support import REPO
from tests.support.tiny_workspace import copy_workspace, run

MIL = ("track.tracker=mil", "track.weights=null")
NANO2 = ("track.tracker=nano", "track.weights=nanotrack_v2")
NANO3 = ("track.tracker=nano", "track.weights=nanotrack_v3")
SHORT = ("normalize.length=16", "masks.starts=[0]")


def page_figures() -> dict[str, float]:
    """Row → IoU in the table of real clips on docs/trackers.md."""
    lines = (REPO / "docs" / "trackers.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    begin = next(k for k, row in enumerate(rows) if row[0] == "row" and "IoU" in row)
    column, found = rows[begin].index("IoU"), {}
    for row in rows[begin + 2 :]:
        if not re.fullmatch(r"`[\w.:-]+`", row[0]):
            break
        found[row[0].strip("`")] = float(row[column])
    return found


def test_the_page_and_the_registry_say_the_same() -> None:
    figures = page_figures()
    del figures["truth"]
    assert len(figures) >= 4
    measured = {f"{w.measured.tracker}:{w.name}": w.measured.iou for w in load_registry().values() if w.measured}
    measured |= {name: one.measured_iou for name, one in TRACKERS.items() if one.measured_iou is not None}
    assert measured == figures
    assert {name.split(":")[0] for name in measured} <= TRACKERS.keys()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws")


def lay(workspace: Workspace, *names: str) -> None:
    workspace.weights.mkdir(exist_ok=True)
    for file in (file for name in names for file in entry(name).files):
        (workspace.weights / file.file).touch()


def entry(name: str) -> Weights:
    return load_registry()[name]


def config(*overrides: str) -> PipelineConfig:
    return load_config("folder", list(overrides))


def test_the_best_whose_weights_are_there_is_named_with_its_figure(workspace: Workspace) -> None:
    lay(workspace, "nanotrack_v2", "nanotrack_v3")
    figures = page_figures()
    assert better_tracker(config(), workspace) == (
        f"nano with nanotrack_v3, which is in {workspace.weights}, follows the real clips of docs/trackers.md better "
        f"than siammask with siammask-s (IoU {figures['nano:nanotrack_v3']:.3f} against "
        f"{figures['siammask:siammask-s']:.3f}): -o track.tracker=nano -o track.weights=nanotrack_v3"
    )
    said = better_tracker(config(*MIL), workspace)
    assert said is not None
    assert f"better than mil (IoU {figures['nano:nanotrack_v3']:.3f} against {figures['mil']:.3f})" in said
    assert better_tracker(config("track.tracker=nano", f"track.weights={workspace.weights}/nanotrack_v2"), workspace)


@pytest.mark.parametrize(
    ("there", "overrides"),
    [
        ((), ()),                                                # nothing better is there
        (("nanotrack_v3", "nanotrack_v2"), NANO3),               # the best is chosen
        (("nanotrack_v2",), NANO3),                              # a worse one is there
        (("nanotrack_v3",), ("masks.source=mask",)),             # it has no masks
        (("nanotrack_v3",), ("track.weights=/own/net.pth",)),    # nobody has measured what is chosen
        (("nanotrack_v3",), ("track.tracker=sam2", "track.weights=sam2.1_t")),
    ],
)
def test_nothing_is_said_otherwise(workspace: Workspace, there: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    lay(workspace, *there)
    assert better_tracker(config(*overrides), workspace) is None


def test_half_of_the_files_are_not_there(workspace: Workspace) -> None:
    lay(workspace, "nanotrack_v3")
    (workspace.weights / entry("nanotrack_v3").files[1].file).unlink()
    assert better_tracker(config(), workspace) is None


def test_a_run_says_it_where_it_tracks(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "w")
    lay(Workspace.open(root), "nanotrack_v3")
    clips = ("normalize", "detect", "track")
    notes = [run(root, *MIL, *SHORT, selected=clips).notes for _ in range(2)]
    assert [sum(note.startswith("nano with nanotrack_v3") for note in said) for said in notes] == [1, 0]


def test_a_figure_of_no_tracker_is_malformed(tmp_path: Path) -> None:
    words = "\n".join(f'{word} = ""' for word in ("purpose", "page", "licence", "citation"))
    (tmp_path / "odd.toml").write_text(f'{words}\n[measured]\ntracker = "nano"\n[[files]]\nfile = "a"\n')
    with pytest.raises(WeightsError, match="malformed"):
        load_registry(tmp_path)
