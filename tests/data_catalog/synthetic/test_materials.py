"""Packages of pictures are fetched once by name, checked, and unpacked as data and nothing else."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_catalog.synthetic.materials import (
    MANIFEST,
    Material,
    MaterialsError,
    fetch_materials,
    load_manifest,
    material_files,
    unpack,
)
from data_catalog.synthetic.registries import CLIENTS, PackageFile
from tests.support.material_packages import picture, write_manifest
from tests.support.package_archives import deb, tar, wheel
from tests.support.package_registries import Registries, seen
from tests.support.weight_server import Server

PACKAGE = deb(tar({"./usr/share/a.png": picture(1), "./usr/share/b.txt": b"text", "./usr/bin/run": b"#!/bin/sh"}))
OLDER = deb(tar({"./usr/share/a.png": picture(2)}))


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registries]:
    with Server().running() as server:
        yield Registries(server, tmp_path / "clients", monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "materials"


def things(*files: PackageFile) -> dict[str, Material]:
    return {"things": Material("things", "photos", "a test", "MIT", "apt", ("usr/share/*.png",), files)}


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_a_package_is_unpacked_once_and_only_what_is_kept(registries: Registries, folder: Path) -> None:
    manifest = things(registries.apt("things-data", "1:2.0-1", PACKAGE))
    told: list[tuple[str, int, int | None]] = []
    for _ in range(2):
        folders = fetch_materials(folder, manifest=manifest, progress=lambda *now: told.append(now))
    [file] = material_files(folders["things"], (".png", ".txt"))
    assert file.read_bytes() == picture(1)
    assert not list(folder.rglob("run"))
    assert [one.path for one in registries.server.requests].count("/apt/./things-data_2.0-1_all.deb") == 1
    assert left_over(folder) == [f"things-{manifest['things'].files[0].sha256[:8]}"]
    assert (told[0], told[-1]) == (("things", 0, len(PACKAGE)), ("things", len(PACKAGE), len(PACKAGE)))


def test_another_release_of_the_system_offers_another_known_version(registries: Registries, folder: Path) -> None:
    ours = seen("things-data", "1.0", "things-data_1.0_all.deb", OLDER)
    manifest = things(ours, registries.apt("things-data", "2.0", PACKAGE))
    [file] = material_files(fetch_materials(folder, manifest=manifest)["things"], (".png",))
    assert file.read_bytes() == picture(1)


def test_a_version_that_nobody_has_seen_is_refused(registries: Registries, folder: Path) -> None:
    registries.apt("things-data", "3.0", PACKAGE)
    manifest = things(*(seen("things-data", v, f"things-data_{v}_all.deb", OLDER) for v in ("1.0", "2.0")))
    with pytest.raises(MaterialsError) as told:
        fetch_materials(folder, manifest=manifest)
    assert str(told.value) == (
        "materials 'things' are not to be had: apt did not bring things-data 1.0 (Version '1.0' for 'things-data' was "
        "not found); apt did not bring things-data 2.0 (Version '2.0' for 'things-data' was not found); run apt-get "
        f"update, as root, or get things-data_1.0_all.deb or things-data_2.0_all.deb by hand and put it into {folder}"
    )
    assert left_over(folder) == []


def test_another_file_is_refused_and_leaves_nothing(registries: Registries, folder: Path) -> None:
    registries.apt("things-data", "1.0", PACKAGE)
    manifest = things(seen("things-data", "1.0", "things-data_1.0_all.deb", OLDER))
    with pytest.raises(MaterialsError, match=r"not to be had: things-data 1\.0 has the SHA-256 \w{64} here instead of"):
        fetch_materials(folder, manifest=manifest)
    assert left_over(folder) == []


def test_a_machine_without_the_client_takes_what_is_put_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    manifest = things(seen("things-data", "1.0", "things-data_1.0_all.deb", PACKAGE))
    with pytest.raises(MaterialsError) as told:
        fetch_materials(folder, manifest=manifest)
    assert "this machine has no apt-get, which things-data comes by" in str(told.value)
    assert str(told.value).endswith(f"get things-data_1.0_all.deb by hand and put it into {folder}")
    (folder / "things-data_1.0_all.deb").write_bytes(OLDER)
    with pytest.raises(MaterialsError, match=r"things-data_1\.0_all\.deb is not the file of \d+ bytes.*get it again"):
        fetch_materials(folder, manifest=manifest)
    (folder / "things-data_1.0_all.deb").unlink()
    (folder / "as apt-get called it.deb").write_bytes(PACKAGE)
    assert len(material_files(fetch_materials(folder, manifest=manifest)["things"], (".png",))) == 1
    assert (folder / "as apt-get called it.deb").is_file()


def test_what_a_killed_process_left_is_in_nobodys_way(registries: Registries, folder: Path) -> None:
    litter = folder / ".things.part" / "unpacked"
    litter.mkdir(parents=True)
    (litter / "half.png").touch()
    fetched = fetch_materials(folder, manifest=things(registries.apt("things-data", "1.0", PACKAGE)))["things"]
    assert [path.name for path in material_files(fetched, (".png",))] == ["a.png"]


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
    assert {entry.registry for entry in manifest.values()} == CLIENTS.keys()
    for entry in manifest.values():
        assert entry.licence
        assert entry.keep
        for file in entry.files:
            assert len(file.sha256) == 64
            assert file.size > 1000
            assert file.file.endswith({"pip": ".whl", "apt": ".deb", "npm": ".tgz"}[entry.registry])
            assert file.version.split(":")[-1] in file.file
    with pytest.raises(MaterialsError, match="no materials are called 'nothing'"):
        fetch_materials(Path("unused"), ["nothing"])


def test_packages_come_by_name_and_no_host_is_named() -> None:
    for file in MANIFEST.parent.glob("*.*"):
        assert "://" not in file.read_text(encoding="utf-8"), file


def test_a_malformed_manifest_is_told(tmp_path: Path) -> None:
    for text in ("[a]\nkind = ", "[a]\nkind = 'photos'\n", "a = 1\n"):
        (tmp_path / "m.toml").write_text(text)
        with pytest.raises(MaterialsError, match="malformed"):
            load_manifest(tmp_path / "m.toml")


WHEEL = seen("tiny", "1.0", "tiny-1.0-py3-none-any.whl", b"content")


@pytest.mark.parametrize(
    ("registry", "changed", "told"),
    [
        ("pip", {"package": "--index-url"}, "no package and its version"),
        ("npm", {"package": "git+ssh://host/x"}, "no package and its version"),
        ("npm", {"version": "file:../x"}, "no package and its version"),
        ("apt", {"package": "./local.deb"}, "no package and its version"),
        ("pip", {"file": "tiny-1.0.tar.gz"}, "'tiny-1.0.tar.gz' is no wheel"),
        ("cargo", {}, "'cargo' is no registry; pip, apt, npm are"),
    ],
)
def test_a_list_can_only_ask_for_packages(
    tmp_path: Path, registry: str, changed: dict[str, str], told: str
) -> None:
    path = write_manifest(tmp_path / "m.toml", [Material("tiny", "photos", "", "", registry, ("*",), (WHEEL,))])
    for key, value in changed.items():
        path.write_text(path.read_text().replace(f'{key} = "{getattr(WHEEL, key)}"', f'{key} = "{value}"'))
    with pytest.raises(MaterialsError, match=told):
        load_manifest(path)
