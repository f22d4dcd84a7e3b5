"""Plug-ins in the registries: found by name, imported when asked for, named when they fail, never hiding our own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.backbones import BACKBONES
from models.plugins import PluginError, installed_plugins
from models.registry import Entry
from models.trackers import TRACKERS, TrackerEntry, build_tracker, weights_files
from tests.support.plugin_packages import install_by_hand

STILL = """
from models.trackers import FrameLoopTracker, TrackStep, TrackerEntry
from models.trackers.base import rectangle

class Still(FrameLoopTracker):
    def __init__(self, files, device): self.files = files
    def init(self, frame, box): self.box = box
    def update(self, frame): return TrackStep(rectangle(self.box), 0.5)

SAID = TrackerEntry("plain_module:Still", segments=True, suffixes=("_a.pt",))
ABSENT = TrackerEntry("plain_module:Nothing")
OF_THE_BASE = __import__("models.registry").registry.Entry("plain_module:Still")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages; forgotten behind the test."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    installed_plugins.cache_clear()
    yield folder
    installed_plugins.cache_clear()
    for name in ("plain_module", "broken_module"):
        sys.modules.pop(name, None)


def install(site: Path, name: str = "still-tracker", version: str = "1.2", **points: str) -> None:
    points = points or {"still": "plain_module:Still"}
    install_by_hand(site, name, version, "tubeflow.trackers", points, {"plain_module": STILL})


def test_a_plug_in_is_known_by_name_and_imported_when_it_is_asked_for(site: Path) -> None:
    install(site)
    assert TRACKERS.names()[-1] == "still"
    assert "still" not in BACKBONES.names()
    TRACKERS.check("still")
    assert TRACKERS.origin("still") == "still-tracker 1.2"
    assert "plain_module" not in sys.modules, "names and origins are read without importing"
    entry = TRACKERS.find("still")
    assert isinstance(entry, TrackerEntry)
    assert (entry.segments, entry.suffixes) == (False, ())
    assert type(build_tracker("still")).__name__ == "Still"


def test_a_built_in_name_never_reads_entry_points(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.registry.installed_plugins", None)
    assert TRACKERS.find("mil").load().__name__ == "MilTracker"
    assert TRACKERS.origin("mil") is None
    with pytest.raises(TypeError):
        TRACKERS.origin("another")


def test_what_an_entry_says_is_kept(site: Path, tmp_path: Path) -> None:
    install(site, said="plain_module:SAID", of_the_base="plain_module:OF_THE_BASE")
    assert (TRACKERS.find("said").segments, TRACKERS.find("said").suffixes) == (True, ("_a.pt",))
    weights = tmp_path / "w_a.pt"
    weights.touch()
    assert weights_files("said", tmp_path / "w") == [weights]
    assert TRACKERS.find("of_the_base").suffixes == ()
    assert TRACKERS.find("of_the_base").load().__name__ == "Still"


def test_a_misspelt_name_is_corrected_to_a_plug_in(site: Path) -> None:
    install(site)
    with pytest.raises(ValueError, match=r"there is no tracker 'stills' \(did you mean 'still'\?\); .*, vit, still$"):
        TRACKERS.find("stills")


def test_a_built_in_name_wins(site: Path) -> None:
    install(site, mil="plain_module:Still")
    assert TRACKERS.find("mil").load().__name__ == "MilTracker"
    assert TRACKERS.origin("mil") is None
    assert TRACKERS.names().count("mil") == 1


def test_two_packages_with_one_name_are_one_sentence(site: Path) -> None:
    install(site)
    install(site, name="other", version="2.0")
    with pytest.raises(
        PluginError, match=r"^there are 2 trackers 'still', of the packages other 2\.0 and still-tracker 1\.2; uninst"
    ):
        TRACKERS.find("still")
    assert TRACKERS.find("mil")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("broken_module:Still", r"ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("plain_module:Missing", r"AttributeError: module 'plain_module' has no attribute 'Missing'"),
        ("plain_module:ABSENT", r"AttributeError: module 'plain_module' has no attribute 'Nothing'"),
    ],
)
def test_one_that_cannot_be_imported_is_one_sentence_and_hurts_nobody_else(site: Path, target: str, why: str) -> None:
    install(site, broken=target)
    (site / "broken_module.py").write_text("import nowhere_to_be_found\n")
    assert "broken" in TRACKERS.names()
    assert TRACKERS.find("mil").load()
    with pytest.raises(
        PluginError,
        match=rf"^the plug-in 'broken' of the package still-tracker 1\.2 can't be imported \({why}\); install what it "
        r"needs, or remove it: pip uninstall still-tracker$",
    ):
        TRACKERS.find("broken").load()


def test_a_part_that_was_assigned_is_no_plug_in(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site)
    monkeypatch.setitem(TRACKERS, "still", TrackerEntry("models.trackers.mil:MilTracker"))
    assert TRACKERS.origin("still") is None
    assert TRACKERS.find("still").load().__name__ == "MilTracker"
    assert isinstance(TRACKERS["still"], Entry)
