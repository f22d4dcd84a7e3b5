"""Registries: every entry leads to something, a misspelt name is corrected, a part of one's own is found."""

from dataclasses import dataclass

import pytest

from data_catalog.datasets import ADAPTERS
from models.backbones import BACKBONES
from models.detectors import DETECTORS
from models.heads import HEADS
from models.registry import Entry, Registry
from models.trackers import TRACKERS

ALL = (BACKBONES, TRACKERS, DETECTORS, HEADS, ADAPTERS)


@dataclass(frozen=True)
class Tool(Entry[type]):
    """An entry that says more than where its part is."""

    weight: int = 0


@pytest.mark.parametrize("registry", ALL, ids=lambda registry: registry.kind)
def test_every_entry_leads_to_something_that_can_be_called(registry: Registry[Entry[object]]) -> None:
    assert registry
    for entry in registry.values():
        assert callable(entry.load())


@pytest.mark.parametrize("registry", ALL, ids=lambda registry: registry.kind)
def test_an_unknown_name_is_one_sentence_with_the_nearest_and_all_known(registry: Registry[Entry[object]]) -> None:
    name = max(registry, key=len)
    with pytest.raises(ValueError, match=f"there is no {registry.kind} '{name}x'") as caught:
        registry.find(name + "x")
    assert f"(did you mean '{name}'?); choose one of" in str(caught.value)
    assert all(known in str(caught.value) for known in registry)
    with pytest.raises(ValueError, match="'0'; choose one of"):
        registry.find("0")


def test_a_part_is_imported_when_it_is_asked_for_and_not_before() -> None:
    registry = Registry("tool", {"absent": Tool("no_such_module:Tool", weight=3)}, also=("none",))
    assert registry.find("absent").weight == 3
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        registry.find("absent").load()
    with pytest.raises(ValueError, match="choose one of none, absent"):
        registry.find("hammer")


def test_a_part_of_ones_own_is_found_and_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "mine", Entry("tests.models.test_registry:Tool"))
    assert BACKBONES.find("mine").load().__name__ == "Tool"
    assert BACKBONES.targets()["mine"] == "tests.models.test_registry:Tool"
    assert BACKBONES.targets()["i3d"] == "models.backbones.i3d:build_i3d"
