"""`tubeflow plugin new` writes packages that are installed into an environment of their own, tested and run there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_catalog.catalog import Workspace
from flows.config import ConfigError
from flows.plugins.listing import KINDS
from flows.plugins.new_package import new_package
from tests.support.fresh_environment import FreshEnvironment
from tests.support.tiny_workspace import DATASET, SETTINGS, new_workspace

NAMES = {
    "tracker": "template", "detector": "outstanding", "backbone": "three_layers", "head": "huber", "dataset": "dives",
}  # fmt: skip
OVERRIDES = [word for setting in SETTINGS for word in ("-o", setting)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package of each kind, as the command writes it."""
    folder = tmp_path_factory.mktemp("packages")
    found = {kind: folder / f"tubeflow-{name}" for kind, name in NAMES.items()}
    for kind, name in NAMES.items():
        new_package(kind, name, found[kind])
    return found


@pytest.fixture
def root(tiny_videos: Path, tmp_path: Path) -> Path:
    new_workspace(tmp_path / "ws", tiny_videos)
    return tmp_path / "ws"


def run_tests(environment: FreshEnvironment, *packages: Path) -> None:
    tests = [package / "tests" for package in packages]
    words = ("-q", "-p", "no:cacheprovider", "--rootdir", packages[0].parent, *tests)
    done = environment.run("-m", "pytest", *words, cwd=packages[0].parent)
    (counted,) = re.findall(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    assert int(counted) >= 2 * len(packages), done.stdout


def raise_version(package: Path, version: str) -> None:
    project = package / "pyproject.toml"
    text = re.sub(r'^version = "[\d.]+"', f'version = "{version}"', project.read_text(), flags=re.MULTILINE)
    project.write_text(text)


def call(environment: FreshEnvironment, command: str, root: Path, *overrides: str, **settings: Any) -> Any:
    words = [*OVERRIDES, *(word for one in overrides for word in ("-o", one)), "-w", str(root)]
    return environment.run("-m", "flows.cli", command, "demo", "-d", DATASET, *words, cwd=root, **settings)


def planned(environment: FreshEnvironment, root: Path, *overrides: str) -> dict[str, Any]:
    words = [*OVERRIDES, *(word for one in overrides for word in ("-o", one)), "--json", "-w", str(root)]
    done = environment.run("-m", "flows.cli", "plan", "demo", "-d", DATASET, *words, cwd=root)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_kind_has_a_template_and_the_files_of_a_package(packages: dict[str, Path]) -> None:
    assert NAMES.keys() == KINDS.keys()
    for kind, package in packages.items():
        files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
        module = f"tubeflow_{NAMES[kind]}"
        assert files == {"pyproject.toml", "README.md", f"src/{module}/__init__.py", f"tests/test_{module}.py"}
        assert not [path for path in package.rglob("*") if path.is_file() and "$" in path.read_text()]


@pytest.mark.slow
def test_a_tracker_is_installed_tested_listed_and_run(packages: dict[str, Path], root: Path, tmp_path: Path) -> None:
    fresh, asked = FreshEnvironment(tmp_path / "venv"), "track.tracker=template"
    said = call(fresh, "plan", root, asked, status=2).stderr
    assert said.startswith("There is no tracker 'template'; choose one of mil,"), said
    assert len(said.splitlines()) == 1

    fresh.install(packages["tracker"])
    run_tests(fresh, packages["tracker"])
    shown = fresh.run("-m", "flows.cli", "plugins", cwd=tmp_path).stdout
    assert re.search(r"tracker +│ template +│ tubeflow-template +│ 0\.1\.0 +│ yes", shown)

    fresh.run("-m", "flows.cli", "run", "demo", "-d", DATASET, *OVERRIDES, "-o", asked, "--until", "track",
              "-w", root, cwd=tmp_path)  # fmt: skip
    artifacts = [Workspace(root).store.read("track", key) for key in Workspace(root).store.scan("track")]
    assert len(artifacts) == 4
    for one in artifacts:
        assert one.lineage.config["track"]["tracker_plugin"] == "tubeflow-template 0.1.0"
        found = one.arrays["quads"][0, 1:, 0]
        assert np.array_equal(found, found.round()), "this tracker's places are whole pixels"
        assert len(np.unique(found, axis=0)) > 1, "it follows"
    assert planned(fresh, root, asked)["track"]["hits"] == 4

    raise_version(packages["tracker"], "0.2.0")
    fresh.install(packages["tracker"])
    stages = planned(fresh, root, asked)
    assert stages["track"]["reasons"] == [
        "track.tracker_plugin changed: tubeflow-template 0.1.0 → tubeflow-template 0.2.0: 4 clips"
    ]
    assert (stages["normalize"]["hits"], stages["detect"]["hits"]) == (4, 4)


@pytest.mark.slow
def test_every_kind_is_installed_tested_listed_and_run(packages: dict[str, Path], root: Path, tmp_path: Path) -> None:
    fresh = FreshEnvironment(tmp_path / "venv")
    fresh.install(*packages.values())
    run_tests(fresh, *packages.values())
    rows = json.loads(fresh.run("-m", "flows.cli", "plugins", "--json", cwd=tmp_path).stdout)
    assert {(row["kind"], row["name"], row["distribution"], row["loads"]) for row in rows} == {
        (kind, name, f"tubeflow-{name.replace('_', '-')}", True) for kind, name in NAMES.items()
    }

    asked = ["detect.detector=outstanding", "track.tracker=template", "model.backbone=three_layers",
             "model.head=huber", "train.difficulty=false", "detect.select=largest"]  # fmt: skip
    call(fresh, "run", root, *asked)
    stages = planned(fresh, root, *asked)
    assert {name: stage["misses"] for name, stage in stages.items()} == dict.fromkeys(stages, 0)
    raise_version(packages["head"], "0.3.0")
    fresh.install(packages["head"])
    stages = planned(fresh, root, *asked)
    assert stages["train"]["reasons"] == ["model.head_plugin changed: tubeflow-huber 0.1.0 → tubeflow-huber 0.3.0"]
    assert [name for name, stage in stages.items() if stage["misses"]] == ["train", "evaluate"]

    videos = Workspace(root).datasets.info(DATASET).root
    folder = tmp_path / "dives"
    folder.mkdir()
    for number, video in enumerate(sorted(Path(videos).rglob("*.mp4"))):
        shutil.copy(video, folder / f"{number}.mp4")
    (folder / "scores.txt").write_text("0.mp4, train, 50\n1.mp4, test, 60\n")
    fresh.run("-m", "flows.cli", "ingest", "dives", "--name", "own", "--videos", folder, "-w", root, cwd=tmp_path)
    info = Workspace(root).datasets.info("own")
    assert (info.adapter, info.plugin) == ("dives", "tubeflow-dives 0.1.0")
    words = [*OVERRIDES, "-o", "normalize.length=25", "--until", "normalize", "-w", str(root)]
    fresh.run("-m", "flows.cli", "run", "demo", "-d", "own", *words, cwd=tmp_path)
    store = Workspace(root).store
    made = [store.lineage("normalize", key) for key in store.scan("normalize")]
    assert {(one.dataset, one.libraries.get("tubeflow-dives")) for one in made} == {(DATASET, None), ("own", "0.1.0")}

    raise_version(packages["dataset"], "0.2.0")  # which reads the same: nothing is made anew
    fresh.install(packages["dataset"])
    fresh.run("-m", "flows.cli", "ingest", "dives", "--name", "own", "--videos", folder, "-w", root, cwd=tmp_path)
    assert Workspace(root).datasets.info("own").plugin == "tubeflow-dives 0.2.0"
    found = json.loads(fresh.run("-m", "flows.cli", "plan", "demo", "-d", "own", *words, "--json", cwd=tmp_path).stdout)
    assert (found["normalize"]["hits"], found["normalize"]["misses"]) == (len(made) - 4, 0)


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("tracker", "Bad Name", "'Bad Name' can't be a plug-in's name; use small letters and digits"),
        ("tracker", "../up", "can't be a plug-in's name"),
        ("tracker", "class", "can't be a plug-in's name"),
        ("tracker", "mil", "There is a tracker 'mil' already"),
        ("detector", "annotation", "There is a detector 'annotation' already"),
        ("gadget", "one", "no kind of plug-in 'gadget'; kinds: tracker, detector, backbone, head, dataset"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(kind: str, name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        new_package(kind, name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there already and nothing is overwritten; choose another folder"):
        new_package("tracker", "other", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
