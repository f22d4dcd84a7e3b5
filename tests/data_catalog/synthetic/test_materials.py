"""Packages of pictures are fetched once, checked, and unpacked as data and nothing else."""

import dataclasses
import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_catalog.synthetic.materials import (
    Material,
    MaterialsError,
    fetch_materials,
    load_manifest,
    material_files,
    unpack,
)
from data_catalog.weights.download import Patience
from tests.support.material_packages import deb, picture, tar, wheel
from tests.support.weight_server import Rule, Server

HASTY = Patience(timeout_s=2, tries=2, pause_s=0.01)
PACKAGE = deb(tar({"./usr/share/a.png": picture(1), "./usr/share/b.txt": b"text", "./usr/bin/run": b"#!/bin/sh"}))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server().running() as running:
        yield running


def material(server: Server, content: bytes = PACKAGE, **fields: object) -> Material:
    digest = hashlib.sha256(content).hexdigest()
    made = Material(
        "things", "photos", "a test", "MIT", f"{server.url}/things", len(content), digest, ("usr/share/*.png",)
    )
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


def test_a_package_is_unpacked_once_and_only_what_is_kept(server: Server, tmp_path: Path) -> None:
    server.rules["/things"] = Rule(PACKAGE)
    manifest = {"things": material(server)}
    for _ in range(2):
        folders = fetch_materials(tmp_path, manifest=manifest, patience=HASTY)
    [file] = material_files(folders["things"], (".png", ".txt"))
    assert file.read_bytes() == picture(1)
    assert not list(tmp_path.rglob("run"))
    assert len(server.requests) == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [manifest["things"].folder]
    assert not list(tmp_path.glob(".*.part*"))


def test_a_mirror_is_asked_where_the_first_address_fails(server: Server, tmp_path: Path) -> None:
    server.rules["/things"] = Rule(status=404)
    server.rules["/mirror"] = Rule(PACKAGE)
    entry = material(server, mirrors=(f"{server.url}/mirror",))
    assert fetch_materials(tmp_path, manifest={"things": entry}, patience=HASTY)["things"].is_dir()


def test_another_file_is_refused_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.rules["/things"] = Rule(PACKAGE[:-1] + b"?")
    with pytest.raises(MaterialsError, match=r"'things' are not to be had.*has the SHA-256"):
        fetch_materials(tmp_path, manifest={"things": material(server)}, patience=HASTY)
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")]


def test_nothing_is_written_outside_and_no_link_is_followed(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("../up.png", "/tmp/absolute.png", "in/../../up.png", "fine.png"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "a.tar.gz").write_bytes(packed.getvalue())
    assert unpack(tmp_path / "a.tar.gz", tmp_path / "out", ["*.png"]) == 1
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*.png"))] == ["out/fine.png"]
    (tmp_path / "a.whl").write_bytes(wheel({"../up.pth": b"1", "w/net.pth": b"2"}))
    assert unpack(tmp_path / "a.whl", tmp_path / "wheel", ["*.pth"]) == 1
    assert (tmp_path / "wheel/w/net.pth").read_bytes() == b"2"
    assert not (tmp_path / "up.pth").exists()


@pytest.mark.parametrize("content", [b"no archive", deb(b"", "other"), deb(b"broken"), b"PK\x03\x04 cut short", b""])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(MaterialsError, match="delete it and try again"):
        unpack(tmp_path / "odd", tmp_path / "out", ["*"])


def test_the_manifest_is_whole() -> None:
    manifest = load_manifest()
    assert {"photos", "cutouts", "weights"} <= {entry.kind for entry in manifest.values()}
    for entry in manifest.values():
        assert entry.licence
        assert entry.keep
        assert len(entry.sha256) == 64
        assert entry.size > 1000
        assert entry.url.startswith(("http://deb.debian.org/", "https://"))
    with pytest.raises(MaterialsError, match="no materials are called 'nothing'"):
        fetch_materials(Path("unused"), ["nothing"])


def test_a_malformed_manifest_is_told(tmp_path: Path) -> None:
    for text in ("[a]\nkind = ", "[a]\nkind = 'photos'\n", "a = 1\n"):
        (tmp_path / "m.toml").write_text(text)
        with pytest.raises(MaterialsError, match="malformed"):
            load_manifest(tmp_path / "m.toml")
