"""The real pip, apt-get and npm, sent to registries on loopback, download and do nothing else."""

import io
import os
import platform
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_catalog.synthetic import registries as clients
from data_catalog.synthetic.materials import fetch_materials, material_files
from data_catalog.synthetic.registries import ClientError, PackageFile, fetch_package
from tests.support.package_archives import deb, tar
from tests.support.package_registries import Registries, seen
from tests.support.weight_server import Rule, Server

DEB = deb(tar({"./usr/a.png": b"picture"}))


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registries]:
    with Server().running() as server:
        yield Registries(server, tmp_path / "clients", monkeypatch)


def fetched(registry: str, wanted: PackageFile, folder: Path) -> bytes:
    return fetch_package(registry, wanted, folder, lambda done: None).read_bytes()


def tarball(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def test_pip_brings_a_wheel_of_another_machine(registries: Registries, tmp_path: Path) -> None:
    wanted = registries.pip("tiny-things", "1.0", {"a.png": b"picture"}, "cp38.cp39-cp39-win_arm64")
    assert fetched("pip", wanted, tmp_path / "w") == registries.server.rules[f"/files/{wanted.file}"].body


def test_pip_brings_a_wheel_of_any_python(registries: Registries, tmp_path: Path) -> None:
    """Packages say from which Python on they run; of what is only read that is no matter."""
    wanted = registries.pip("plain-things", "1.0", {"a.png": b"picture"}, "py3-none-any")
    assert fetched("pip", wanted, tmp_path / "w") == registries.server.rules[f"/files/{wanted.file}"].body


def test_pip_never_builds(registries: Registries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "1")   # else it would fail for want of setuptools, before the script
    touched = tmp_path / "touched"
    program = f"open({str(touched)!r}, 'w'); from setuptools import setup; setup(name='tiny', version='1.0')".encode()
    page = b'<!DOCTYPE html><a href="/tiny-1.0.tar.gz">tiny-1.0.tar.gz</a>'
    registries.server.rules |= {
        "/simple/tiny/": Rule(page, content_type="text/html"),
        "/tiny-1.0.tar.gz": Rule(tarball({"tiny-1.0/setup.py": program, "tiny-1.0/PKG-INFO": b"Name: tiny\n"})),
    }
    with pytest.raises(ClientError, match=r"pip did not bring tiny 1\.0 \(Could not find a version"):
        fetched("pip", seen("tiny", "1.0", "tiny-1.0-py3-none-any.whl", b""), tmp_path / "w")
    assert not touched.exists()


def test_npm_brings_the_tarball_and_runs_no_script_of_it(registries: Registries, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    scripts = ", ".join(f'"{name}": "touch {touched}"' for name in ("prepare", "prepack", "preinstall", "postinstall"))
    about = f'{{"name": "tiny", "version": "1.2.3", "scripts": {{{scripts}}}}}'.encode()
    content = tarball({"package/package.json": about, "package/a.png": b"picture"})
    assert fetched("npm", registries.npm("tiny", "1.2.3", content), tmp_path / "w") == content
    assert not touched.exists()


def test_apt_brings_a_deb_and_installs_nothing(registries: Registries, tmp_path: Path) -> None:
    wanted = registries.apt("tiny-data", "1:1.0-1", DEB)
    assert fetched("apt", wanted, tmp_path / "w") == DEB
    assert (registries.folder / "apt/status").read_text() == ""


@pytest.mark.parametrize("registry", ["pip", "apt", "npm"])
def test_a_registry_that_does_not_answer_is_told(registries: Registries, tmp_path: Path, registry: str) -> None:
    publish: dict[str, Callable[[], PackageFile]] = {
        "pip": lambda: registries.pip("tiny", "1.0", {}),
        "apt": lambda: registries.apt("tiny", "1.0", DEB),
        "npm": lambda: registries.npm("tiny", "1.0", b"content"),
    }
    wanted = publish[registry]()
    for path in registries.server.rules:
        registries.server.rules[path] = Rule(status=404)
    with pytest.raises(ClientError, match=rf"{registry} did not bring tiny 1\.0 \(.*(404|Could not find)"):
        fetched(registry, wanted, tmp_path / "w")


def test_folders_that_the_client_takes_away_are_passed_over(tmp_path: Path) -> None:
    """pip unpacks into folders of its own and removes them while its progress is measured."""
    (tmp_path / "kept").write_bytes(b"12345")
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            for number in range(20):
                (tmp_path / f"unpack-{number}" / "inner").mkdir(parents=True)
            for number in range(20):
                shutil.rmtree(tmp_path / f"unpack-{number}")

    client = threading.Thread(target=come_and_go)
    client.start()
    try:
        assert {clients._bytes_in(tmp_path) for _ in range(2000)} == {5}
    finally:
        stop.set()
        client.join()


def test_a_package_that_swells_is_stopped(
    registries: Registries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_SLACK_BYTES", 50_000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    wanted = registries.pip("tiny", "1.0", {})
    endless = Rule(bytes(40 << 20), slow_s=0.01)
    registries.server.rules[f"/files/{wanted.file}"] = endless
    with pytest.raises(ClientError, match=rf"tiny 1\.0 is larger than its {wanted.size} bytes"):
        fetched("pip", wanted, tmp_path / "w")


REAL = {"pip": ("mediapipe_pose", "pose_landmark_full.tflite"), "apt": ("noto_emoji", "NotoColorEmoji.ttf")}


@pytest.mark.slow
@pytest.mark.parametrize("registry", REAL)
def test_the_real_registries_have_them(registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reachable(registry)
    name, file = REAL[registry]
    if registry == "apt":   # this machine's sources, but lists of one's own, which need no root
        (tmp_path / "lists").mkdir()
        (tmp_path / "cache").mkdir()
        config = f'Dir::State::Lists "{tmp_path}/lists"; Dir::Cache "{tmp_path}/cache"; APT::Sandbox::User "";'
        (tmp_path / "apt.conf").write_text(config)
        monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
        subprocess.run(["apt-get", "update"], check=True, capture_output=True)
    folder = fetch_materials(tmp_path / "materials", [name])[name]
    [found] = material_files(folder, (".tflite", ".ttf"))
    assert found.name == file
    assert found.stat().st_size > 5_000_000


@pytest.mark.slow
def test_the_real_npm_has_them(tmp_path: Path) -> None:
    """A tiny package in the place of a large one."""
    reachable("npm")
    digest = "f6616e15e530ed552f9daa2d3ce71963947c6bc7c98c9b64fd3e673fd02622c6"
    content = fetched("npm", PackageFile("ms", "2.1.3", "ms-2.1.3.tgz", 2967, digest), tmp_path / "w")
    assert seen("ms", "2.1.3", "ms-2.1.3.tgz", content).sha256 == digest


def reachable(registry: str) -> None:
    """Skip where the test can't be tried: no network by the machine's own word, or no such client."""
    if os.environ.get("PIP_NO_INDEX"):
        pytest.skip("PIP_NO_INDEX says that registries are out of reach")
    if registry == "apt" and platform.freedesktop_os_release().get("ID") != "debian":
        pytest.skip("apt's packages are Debian's")
