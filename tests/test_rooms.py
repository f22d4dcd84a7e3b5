"""A room for each subject: no folder too full, and one name for one thing in all four packages."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
ROOMS = ("flows", "tasks", "models", "data_catalog")
MOST_FILES = 16
EVERYWHERE = {"__init__.py", "__main__.py"}
SUFFIXES = (".py", ".js", ".css", ".html", ".j2", ".yaml", ".toml")

COMMAND = "flows/cli: the command's own word"
SAME_FILE_NAME: dict[str, str] = {
    "athlete.py": "the detector of athletes, and the athlete who is drawn",
    "base.py": "what every detector, and what every tracker, has to be",
    "catalog.py": COMMAND,
    "checkpoint.py": "how a backbone's released file is read, and how a SiamMask's is",
    "config.py": "the fields of a pipeline, what a stage's fields have in common, and those of the training",
    "detect.py": COMMAND,
    "errors.py": "of the engine, and of files that can't be used",
    "labels.py": COMMAND,
    "network.py": "building the network that is trained, and the one of the tracker SiamMask",
    "plugins.py": COMMAND,
    "registry.py": "of parts that have a name, and of weights files",
    "run.py": COMMAND,
    "scores.py": "metrics of scores, and scores as label files write them",
    "shared_content.py": "one subject: the flow that looks, the pure comparison, and the table that remembers",
    "text.py": "text of label files, and of tracks",
}
"""Name → why several modules have it."""
SAME_CLASS_NAME: dict[str, str] = {
    "Workspace": "the folders and tables of a workspace, and what Python users call on them",
}
"""Name → why several classes have it."""
FULL: dict[tuple[str, str], str] = {
    ("data_catalog", ".py"): "system.py and threads.py are what every folder below stands on",
    ("models/weights", ".toml"): "an entry of the registry for each published network",
}
"""(Folder, ending) → why it may hold more files than others."""


def modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((REPO / room).rglob("*.py"))]


def file_names() -> dict[str, list[str]]:
    names = defaultdict(list)
    for path in modules():
        if path.name not in EVERYWHERE:
            names[path.name].append(path.relative_to(REPO).as_posix())
    return names


def class_names() -> dict[str, list[str]]:
    """Classes of modules; those inside a function or a class are nobody else's business."""
    names = defaultdict(list)
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                names[node.name].append(path.relative_to(REPO).as_posix())
    return names


@pytest.mark.parametrize(
    ("names", "agreed"),
    [
        pytest.param(file_names, SAME_FILE_NAME, id="a module's file name"),
        pytest.param(class_names, SAME_CLASS_NAME, id="a class's name"),
    ],
)
def test_a_name_means_one_thing(names: Callable[[], dict[str, list[str]]], agreed: dict[str, str]) -> None:
    twice = {name: places for name, places in names().items() if len(places) > 1}
    assert {name: places for name, places in twice.items() if name not in agreed} == {}
    assert [name for name in agreed if name not in twice] == [], "no longer so: take it off the list"
    assert all(agreed.values()), "every pair that stays says why"


def test_no_folder_is_too_full() -> None:
    """Python files of its own; page assets are counted for each kind."""
    files = defaultdict(list)
    for path in (path for room in ROOMS for path in sorted((REPO / room).rglob("*"))):
        if path.is_file() and path.suffix in SUFFIXES:
            files[path.parent.relative_to(REPO).as_posix(), path.suffix].append(path.name)
    full = {place: len(names) for place, names in files.items() if len(names) > MOST_FILES}
    assert {place: count for place, count in full.items() if place not in FULL} == {}
    assert [place for place in FULL if place not in full] == [], "no longer so: take it off the list"
