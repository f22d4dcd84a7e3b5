"""Network weights by name: where they come from, whether they are here, and that they are what was published.

A file becomes visible in the weights folder only after its digest was checked. Where upstream
publishes no digest, that of the first file seen is recorded in ``digests.json`` of the folder, and
any other file under that name is refused from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_catalog.atomic import replacing
from data_catalog.locks import locked
from data_catalog.system import sync_folder
from data_catalog.weights.download import ByteProgress, DownloadError, Patience, fetch, forget
from data_catalog.weights.registry import (
    DIGESTS,
    REPOSITORY_MARK,
    WeightFile,
    Weights,
    WeightsError,
    find_entry,
    load_registry,
    require_plain_name,
)


@dataclass(frozen=True, slots=True)
class WeightStatus:
    """One file in the weights folder or missing from it.

    `state` is ``missing``, ``present`` (not read), ``verified``, ``changed`` (not the published or
    recorded file), or ``unregistered`` (the user's own, digest recorded).
    """

    name: str
    file: str
    state: str
    path: Path
    entry: Weights | None = None
    note: str = ""


def list_weights(folder: Path, registry: dict[str, Weights] | None = None) -> list[WeightStatus]:
    """Every registered file, present or missing, the user's own files, those of repositories; without their digests."""
    known = load_registry() if registry is None else registry
    found = []
    for entry in known.values():
        for file in entry.files:
            path = entry.place(file, folder)
            found.append(WeightStatus(entry.name, file.file, "present" if path.is_file() else "missing", path, entry))
    registered = {status.file for status in found}
    own = [name for name in _recorded(folder) if name not in registered and (folder / name).is_file()]
    found += [WeightStatus(Path(name).stem, name, "unregistered", folder / name) for name in sorted(own)]
    for place in sorted(digests.parent for digests in folder.glob(f"*{REPOSITORY_MARK}*/{DIGESTS}")):
        name = place.name.replace(REPOSITORY_MARK, "/")
        there = [file for file in sorted(_recorded(place)) if (place / file).is_file()]
        found += [WeightStatus(name, file, "unregistered", place / file) for file in there]
    return found


def pull(
    name: str,
    folder: Path,
    *,
    registry: dict[str, Weights] | None = None,
    patience: Patience | None = None,
    progress: ByteProgress | None = None,
) -> list[Path]:
    """Download the files of `name` that are not here yet; safe with several processes at once.

    Raises:
        WeightsError: unknown name, not to be had, or not what was published; says how to place the
            file by hand. An interrupted download continues where it stopped when called again.
        OSError: the folder cannot be written.
    """
    entry = find_entry(name, load_registry() if registry is None else registry)
    return [_pull_file(entry, file, folder, patience or Patience(), progress) for file in entry.files]


def add(path: Path, folder: Path, *, file: str | None = None, registry: dict[str, Weights] | None = None) -> Path:
    """Copy a file that was fetched by hand into `folder`, checked like a downloaded one.

    Args:
        path: the file.
        folder: the weights folder.
        file: name it gets there; by default that of the registered file with the same digest, else its own.
        registry: entries by name; by default those of ``models/weights``.

    Raises:
        WeightsError: no such file, or not the published or recorded one.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file {path}; give the weights file that you downloaded")
    known = {f.file: f for entry in (load_registry() if registry is None else registry).values() for f in entry.files}
    digest = _digest(path)
    same = next((f.file for f in known.values() if f.sha256 == digest), None)
    target = require_plain_name(file or same or path.name)
    with _locked(folder, target):
        part = folder / f".{target}.add"
        try:
            shutil.copyfile(path, part)
            _admit(part, folder / target, known.get(target, WeightFile(target)), source=str(path))
        finally:
            part.unlink(missing_ok=True)
    return folder / target


def verify(
    folder: Path,
    registry: dict[str, Weights] | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[WeightStatus]:
    """Read every file in `folder` that is registered or recorded and compare its digest.

    Args:
        folder: the weights folder.
        registry: entries by name; by default those of ``models/weights``.
        advance: is called with how many files are read, and how many there are.
    """
    checked = []
    there = [status for status in list_weights(folder, registry) if status.state != "missing"]
    for done, status in enumerate(there, start=1):
        digest = _digest(status.path)
        recorded = _recorded(status.path.parent if status.path.parent.parent == folder else folder)
        file = next((f for f in status.entry.files if f.file == status.file), None) if status.entry else None
        fault = (file.fault(digest) if file else "") or _record_fault(recorded.get(status.file), digest)
        state = "changed" if fault else ("verified" if status.entry else "unregistered")
        note = f"{fault}; delete {status.path} and pull it again" if fault else digest
        checked.append(WeightStatus(status.name, status.file, state, status.path, status.entry, note))
        advance(done, len(there))
    return checked


def resolve_weights(
    name_or_path: str | Path,
    folder: Path,
    registry: dict[str, Weights] | None = None,
    *,
    suffixes: Sequence[str] = ("",),
) -> Path:
    """The path that a network is loaded from: a path as it is, or what a name means in the weights folder.

    A name is that of a file in `folder` or of a registered entry. For weights of several files
    (``nanotrack_v2_backbone.onnx`` and ``..._head.onnx``) the path is their common prefix,
    ``folder/nanotrack_v2``, which the trackers take.

    Args:
        name_or_path: as the user wrote it.
        folder: the weights folder.
        registry: entries by name; by default those of ``models/weights``.
        suffixes: ends of the file names, where the network wants several files.

    Raises:
        WeightsError: neither a file nor a name that was pulled; says what to type.
    """
    path = Path(name_or_path).expanduser()
    bare = path.name == str(name_or_path)
    for place in (path, folder / path) if bare else (path,):
        if all(place.with_name(place.name + suffix).is_file() for suffix in suffixes):
            return place
    if not bare:
        raise WeightsError(f"there is no weights file {path}; give its path, or a name of `tubeflow weights list`")
    entry = find_entry(str(name_or_path), load_registry() if registry is None else registry)
    missing = [file for file in entry.files if not entry.place(file, folder).is_file()]
    if missing:
        names = ", ".join(file.file for file in missing)
        by_hand = next((_by_hand(file, entry.page, folder) for file in missing if file.url is None), "")
        remedy = by_hand or f"run `tubeflow weights pull {entry.name}`"
        raise WeightsError(f"weights '{entry.name}' are not in {folder} ({names} missing); {remedy}")
    return entry.place(entry.files[0], folder) if len(entry.files) == 1 else folder / entry.name


def _pull_file(
    entry: Weights, file: WeightFile, folder: Path, patience: Patience, progress: ByteProgress | None
) -> Path:
    target, part = entry.place(file, folder), folder / f".{file.file}.part"
    if target.is_file():
        return target
    if file.url is None:
        raise WeightsError(
            f"{file.file} of '{entry.name}' is handed out on {entry.page} only; {_by_hand(file, entry.page, folder)}"
        )
    with _locked(folder, file.file):
        if target.is_file():  # another process pulled it while we waited
            return target
        checked_later = bool(file.sha256) or file.file in _recorded(folder)
        try:
            fetch(file.url, part, size=file.size, resumable=checked_later, patience=patience, progress=progress)
        except DownloadError as exc:
            raise WeightsError(f"{exc}; run the same command again, or {_by_hand(file, entry.page, folder)}") from exc
        try:
            _admit(part, target, file, source=file.url)
        except WeightsError:
            forget(part)  # bytes that are wrong must not be resumed from
            raise
        forget(part)
    return target


def _by_hand(file: WeightFile, page: str, folder: Path) -> str:
    what = f"{file.url} with a browser" if file.url else f"it by hand from {page}"
    return f"download {what} and run `tubeflow weights add FILE`, which checks it and copies it to {folder / file.file}"


def _admit(part: Path, target: Path, file: WeightFile, source: str) -> None:
    """Make `part` visible as `target` if its digest is the published or the recorded one; record it if new."""
    digest = _digest(part)
    with _locked(target.parent, DIGESTS):
        recorded = _recorded(target.parent)
        fault = file.fault(digest) or _record_fault(recorded.get(target.name), digest)
        if fault:
            raise WeightsError(
                f"{target.name} from {source} was refused: {fault}; if you trust the new file, remove the old one's "
                f"line from {target.parent / DIGESTS} or update the registry"
            )
        if target.name not in recorded:
            with replacing(target.parent / DIGESTS) as temporary:
                known = {**recorded, target.name: digest}
                temporary.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(part, target)
        sync_folder(target.parent)


def _record_fault(recorded: str | None, digest: str) -> str:
    if recorded is None or recorded == digest:
        return ""
    return f"its SHA-256 is {digest}, recorded when it was first seen is {recorded}"


def _recorded(folder: Path) -> dict[str, str]:
    path = folder / DIGESTS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise WeightsError(f"{path} is damaged; restore it, or delete it to record all digests anew") from exc
    return {str(name): str(digest) for name, digest in content.items()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """One process at a time for one file; the operating system frees the lock of a process that died."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{name}.lock"):
        yield
