"""What is installed: every data file is in the wheel, the programs start from it, and shadowed packages are named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import REPO

PACKAGES = ("flows", "tasks", "models", "data_catalog")
# The wheel is built from these alone: a tree without egg-info, whose file list could hide what is missing.
SOURCES = (*PACKAGES, "tubeflow", "pyproject.toml", "README.md", "LICENSE")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPO / name, folder / "source" / name)
    # As pip's own build does, without fetching setuptools for it again.
    source = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    built = subprocess.run(
        [sys.executable, "-c", source, str(folder)], cwd=folder / "source", capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("tubeflow-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is installed; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Run Python in an empty folder with the installed wheel, and with other folders before it."""

    def call(*words: str | Path, before: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        empty = tmp_path / "empty"
        empty.mkdir(exist_ok=True)
        path = os.pathsep.join(str(folder) for folder in (*before, installed))
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, *words], cwd=empty, env=environment, capture_output=True, text=True, check=False
        )

    return call


def data_files() -> set[str]:
    """Every file below the four packages that is not source code, as git knows them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return {name for name in listed if not name.endswith(".py") and (REPO / name).is_file()}


def test_every_data_file_is_in_the_wheel(wheel: Path) -> None:
    wanted = data_files()
    assert {f"{name}/py.typed" for name in PACKAGES} <= wanted
    for kind in ("flows/presets/", "flows/experiments/matrices/", "flows/report/templates/", "flows/view/static/",
                 "data_catalog/synthetic/", "models/weights/"):  # fmt: skip
        assert any(name.startswith(kind) for name in wanted), kind
    assert wanted <= set(zipfile.ZipFile(wheel).namelist()), wanted - set(zipfile.ZipFile(wheel).namelist())


def test_every_module_is_in_the_wheel(wheel: Path) -> None:
    wanted = {path.relative_to(REPO).as_posix() for name in PACKAGES for path in (REPO / name).rglob("*.py")}
    face = {"tubeflow/__init__.py", "tubeflow/__main__.py", "tubeflow/py.typed"}
    assert wanted | face <= set(zipfile.ZipFile(wheel).namelist())


def test_wheel_is_not_for_a_public_index(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        assert "Classifier: Private :: Do Not Upload" in archive.read(name).decode().splitlines()


def test_programs_start_from_the_wheel(run: Run, installed: Path) -> None:
    for command in ((installed / "bin" / "tubeflow", "--help"), ("-m", "flows.cli", "--help")):
        shown = run(*command)
        assert shown.returncode == 0, shown.stderr
        assert "Usage: " in shown.stdout
        assert "ingest" in shown.stdout


def test_worker_is_importable_from_the_wheel(run: Run, installed: Path) -> None:
    found = run("-c", "import tasks.training.worker as worker; print(worker.__file__)")
    assert found.stdout.strip() == str(installed / "tasks" / "training" / "worker.py"), found.stderr


def shadow(folder: Path, name: str, *, as_file: bool = False) -> Path:
    """Another project's package or module of this name."""
    path = folder / (f"{name}.py" if as_file else f"{name}/__init__.py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('"""Of another project."""\n')
    return path


@pytest.mark.parametrize(
    ("program", "name", "as_file"),
    [
        ("tubeflow", "flows", False), ("tubeflow", "models", False), ("tubeflow", "tasks", True),
        ("module", "data_catalog", False), ("module", "models", True),
    ],
)  # fmt: skip
def test_shadowed_package_is_one_sentence(
    run: Run, installed: Path, tmp_path: Path, program: str, name: str, as_file: bool
) -> None:
    other = shadow(tmp_path / "other", name, as_file=as_file)
    words = (installed / "bin" / "tubeflow", "--help") if program == "tubeflow" else ("-m", "flows.cli", "--help")
    said = run(*words, before=(tmp_path / "other",))
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith(f"Tubeflow's own package '{name}' is hidden: Python finds {other} instead. Rename")
    assert len(said.stderr.splitlines()) == 1, said.stderr


def test_importing_program_gets_an_exception(run: Run, tmp_path: Path) -> None:
    shadow(tmp_path / "other", "models")
    said = run("-c", "import flows", before=(tmp_path / "other",))
    assert said.stderr.splitlines()[-1].startswith("flows.shadowed.ShadowedPackage: Tubeflow's own package 'models'")


def test_folders_without_init_shadow_nothing(run: Run, installed: Path, tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / "other" / name).mkdir(parents=True)
    assert run(installed / "bin" / "tubeflow", "--help", before=(tmp_path / "other",)).returncode == 0
