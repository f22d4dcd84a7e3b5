"""The artifact store: immutable HDF5 files named by their key, whole and verified or not there at all.

A file starts with a 512-byte HDF5 user block that holds one line, ``tubeflow-artifact 1 <sha256> <bytes>``: the
digest and length of everything after it, so that each file can be checked with nothing but itself. Writes go to a
folder of the writing process, are synced, then renamed into place. That folder is locked (flock) while the process
lives; `sweep` removes the folders whose lock is free, so a SIGKILL leaves nothing behind for long.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import ArtifactDamaged as ArtifactDamaged
from data_catalog.locks import hold_lock, try_lock
from data_catalog.plain_file import clear, is_plain, make_room, open_plain, read_plain, require_plain
from data_catalog.self_contained import NotSelfContained, open_self_contained
from data_catalog.system import sync_folder

USERBLOCK = 512
MAGIC = "tubeflow-artifact 1"
COORDINATES = "continuous pixels of the normalised frame: pixel i spans [i, i+1), origin top left, y down"


@dataclass(frozen=True)
class Lineage:
    """Why an artifact is what it is; written as root attributes of its file.

    The first seven fields determine the key. The rest says where and how it was made and may differ between two
    files of the same key.
    """

    stage: str
    stage_version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    weights: Mapping[str, str]
    parents: Mapping[str, str]
    key: str
    dataset: str
    clip_id: str
    libraries: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    host: str = ""
    created: str = ""

    def attributes(self) -> dict[str, Any]:
        """Root attributes: mappings as JSON text, the rest as they are."""
        return {
            name: json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_attributes(cls, attrs: Mapping[str, Any]) -> Lineage:
        """The inverse of `attributes`. Raises KeyError where one is absent."""
        mappings = ("config", "inputs", "weights", "parents", "libraries")
        values = {name: attrs[name] for name in cls.__dataclass_fields__}
        for name in mappings:
            values[name] = json.loads(values[name])
        values["stage_version"], values["seconds"] = int(values["stage_version"]), float(values["seconds"])
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Artifact:
    """One verified artifact in memory: its arrays by name, its attributes, its lineage."""

    arrays: Mapping[str, NDArray[Any]]
    attrs: Mapping[str, Any]
    lineage: Lineage


class Store:
    """All artifacts of one workspace, below `root` (``artifacts/``)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._session: Path | None = None
        self._lock: IO[bytes] | None = None
        self._one_session = threading.Lock()

    def path(self, stage: str, key: str) -> Path:
        """Where the artifact is, if it is: ``<stage>/<first two of key>/<key>.h5``."""
        return self.root / stage / key[:2] / f"{key}.h5"

    def exists(self, stage: str, key: str) -> bool:
        """Whether the artifact's file is there; its content is not read."""
        return is_plain(self.path(stage, key))

    def scan(self, stage: str) -> dict[str, os.stat_result]:
        """Everything that is in the place of an artifact of a stage, with its stat (of links themselves), by key."""
        found: dict[str, os.stat_result] = {}
        for folder in (self.root / stage).glob("??"):
            for entry in os.scandir(folder):
                if entry.name.endswith(".h5"):
                    with contextlib.suppress(FileNotFoundError):  # removed by another process just now
                        found[entry.name[:-3]] = entry.stat(follow_symlinks=False)
        return found

    def write(
        self, lineage: Lineage, arrays: Mapping[str, NDArray[Any]], attrs: Mapping[str, Any] | None = None
    ) -> Path:
        """Write arrays, any shape (...) and dtype, as an artifact, atomically.

        Raises:
            OSError: the disk is full, the workspace can't be written, …; nothing is left behind.
        """
        # Made in memory: HDF5 on a full disk can neither finish nor close a file, and complains past all handlers.
        image = io.BytesIO()
        with create_file(image) as file:
            for name, array in arrays.items():
                write_array(file, name, array)
            file.attrs.update(attrs or {})
            _sign(file, lineage)
        body = image.getbuffer()[USERBLOCK:]
        temporary = self.scratch(f"{lineage.key}.h5")
        try:
            with temporary.open("wb") as out:
                out.write(_seal_of(hashlib.sha256(body).hexdigest(), len(body)))
                out.write(body)
                out.flush()
                os.fsync(out.fileno())
            return self._publish(lineage, temporary)
        finally:
            temporary.unlink(missing_ok=True)

    def adopt(self, lineage: Lineage, file: Path) -> Path:
        """Make a file that `create_file` made (in `scratch`) the artifact of a key: lineage, digest, sync, rename."""
        with h5py.File(file, "r+", locking=False) as handle:
            if handle.userblock_size != USERBLOCK:
                raise ValueError(f"{file} has no user block; make it with create_file")
            _sign(handle, lineage)
        seal(file)
        return self._publish(lineage, file)

    def _publish(self, lineage: Lineage, file: Path) -> Path:
        target = self.path(lineage.stage, lineage.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        make_room(target)
        os.replace(file, target)
        sync_folder(target.parent)
        return target

    def read(self, stage: str, key: str, names: Sequence[str] | None = None) -> Artifact:
        """Read an artifact and verify every byte of it on the way.

        Args:
            stage: the stage that wrote it.
            key: its key.
            names: only these datasets; all where None.

        Raises:
            FileNotFoundError: there is no such artifact.
            ArtifactDamaged: it is there and not what was written.
        """
        path = self.path(stage, key)
        data = read_plain(path)
        check_bytes(path, data)
        with _readable(path), open_self_contained(io.BytesIO(data)) as file:
            attrs = dict(file.attrs)
            arrays = {name: read_array(file[name]) for name in (names or dataset_names(file)) if name in file}
            lineage = Lineage.from_attributes(attrs)
        check_name(path, lineage, stage, key)
        return Artifact(arrays, attrs, lineage)

    def lineage(self, stage: str, key: str) -> Lineage:
        """Only the lineage, without reading the arrays. Raises ArtifactDamaged, FileNotFoundError."""
        return read_lineage(self.path(stage, key))

    def attributes(self, stage: str, key: str) -> dict[str, Any]:
        """Only the root attributes, without reading the arrays. Raises ArtifactDamaged, FileNotFoundError."""
        return read_attributes(self.path(stage, key))

    def verify(self, stage: str, key: str) -> Lineage:
        """Read every byte, compare with the digest, and the key with the name. Raises as `read` does."""
        path = self.path(stage, key)
        verify_file(path)
        lineage = read_lineage(path)
        check_name(path, lineage, stage, key)
        return lineage

    def remove(self, stage: str, key: str) -> None:
        """Delete the artifact if it is there, or what is in its place. Raises OSError."""
        clear(self.path(stage, key))

    def name_of(self, path: Path) -> tuple[str, str] | None:
        """Stage and key of the artifact whose place is `path`; None where it is no artifact's."""
        stage, key = path.parent.parent.name, path.stem
        return (stage, key) if path == self.path(stage, key) else None

    def remove_damaged(self, stage: str, key: str) -> bool:
        """Delete an artifact unless it is whole: another run may have put a whole one there since it was read.

        Returns:
            Whether something was deleted.

        Raises:
            OSError: it can't be deleted.
        """
        try:
            self.verify(stage, key)
        except ArtifactDamaged:
            self.remove(stage, key)
            return True
        except FileNotFoundError:
            pass
        return False

    def scratch(self, name: str) -> Path:
        """A path for a temporary file, in the locked folder of this process, on the store's own file system."""
        with self._one_session:
            if self._session is None or not self._session.is_dir():
                self._session, self._lock = self._new_session()
            return self._session / f"{uuid.uuid4().hex[:8]}-{name}"

    def _new_session(self) -> tuple[Path, IO[bytes]]:
        while True:
            session = self.root / "tmp" / uuid.uuid4().hex
            session.mkdir(parents=True)
            with contextlib.suppress(FileNotFoundError):
                lock = (session / "lock").open("wb")
                hold_lock(lock)
                if os.fstat(lock.fileno()).st_nlink:
                    return session, lock
                lock.close()  # another process swept the folder in the moment before it was locked

    def work_folder(self, stage: str, key: str) -> Path:
        """A folder in which a long computation keeps what it needs to resume after a kill (checkpoints, logs).

        Whoever works in it holds a lock on its ``.lock`` file (`data_catalog.locks.locked`).
        """
        return self.path(stage, key).with_suffix(".work")

    def sweep(self) -> list[Path]:
        """Remove what dead processes left in ``tmp/`` and in work folders; what live ones hold is locked and stays."""
        removed: list[Path] = []
        for session in (self.root / "tmp").glob("*"):
            if session != self._session and (lock := _take(session / "lock")) is not None:
                with lock:
                    removed += [path for path in session.iterdir() if path.name != "lock"]
                    shutil.rmtree(session, ignore_errors=True)
        for work in self.root.glob("*/??/*.work"):
            leftovers = list(work.rglob("*.tmp"))
            if leftovers and (lock := _take(work / ".lock")) is not None:
                with lock:
                    for path in leftovers:
                        path.unlink(missing_ok=True)
                    removed += leftovers
        return removed

    def close(self) -> None:
        """Give up the temporary folder; the store can still be read."""
        if self._session is not None and self._lock is not None:
            shutil.rmtree(self._session, ignore_errors=True)
            self._lock.close()
        self._session = self._lock = None


def _take(path: Path) -> IO[bytes] | None:
    """The opened and locked file of a lock that nobody holds; None where somebody does, or nobody can know."""
    try:
        lock = path.open("ab")
    except FileNotFoundError:
        return None
    if not try_lock(lock):
        lock.close()
        return None
    return lock


def _sign(file: h5py.File, lineage: Lineage) -> None:
    file.attrs.update(lineage.attributes())
    file.attrs["coordinates"] = COORDINATES


def _seal_of(digest: str, size: int) -> bytes:
    """The user block: what `_promise` reads."""
    return f"{MAGIC} {digest} {size}\n".encode().ljust(USERBLOCK, b"\0")


@contextlib.contextmanager
def create_file(path: Path | io.BytesIO) -> Iterator[h5py.File]:
    """A new HDF5 file, on the disk or in memory, with the artifact's user block and without time stamps inside."""
    settings = {"userblock_size": USERBLOCK, "libver": ("v108", "v110"), "track_order": False, "locking": False}
    with h5py.File(path, "w", **settings) as file:
        yield file


def write_array(group: h5py.Group, name: str, array: NDArray[Any]) -> None:
    """Write one dataset, any shape (...) and dtype, with a checksum on every chunk; text becomes UTF-8 strings."""
    data = np.asarray(array)
    if data.dtype.kind in "UO":
        group.create_dataset(name, data=data.astype(object), dtype=h5py.string_dtype(), track_times=False)
        return
    checksum = data.ndim > 0 and data.size > 0
    # Small numeric arrays compress well (quads are smooth, masks are mostly empty); encoded frames would not.
    gzip = checksum and data.dtype != np.uint8
    group.create_dataset(
        name,
        data=data,
        fletcher32=checksum,
        compression="gzip" if gzip else None,
        compression_opts=1 if gzip else None,
        shuffle=gzip,
        track_times=False,
    )


def dataset_names(group: h5py.Group) -> list[str]:
    """Paths of all datasets below a group, sorted."""
    names: list[str] = []
    group.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
    return sorted(names)


def read_array(dataset: h5py.Dataset) -> NDArray[Any]:
    """One dataset in memory, shape (...) and dtype as stored; UTF-8 strings become an object array of str."""
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[()], dtype=object)
    return np.asarray(dataset[()])


def seal(path: Path) -> None:
    """Write digest and length of the file into its user block, and sync it to the disk."""
    with path.open("r+b") as file:
        file.seek(USERBLOCK)
        digest = hashlib.sha256()
        size = 0
        while block := file.read(1 << 22):
            digest.update(block)
            size += len(block)
        file.seek(0)
        file.write(_seal_of(digest.hexdigest(), size))
        file.flush()
        os.fsync(file.fileno())


def _promise(path: Path, head: bytes) -> tuple[str, int]:
    words = head[:USERBLOCK].rstrip(b"\0\n").decode("ascii", "replace").split(" ")
    if len(words) != 4 or " ".join(words[:2]) != MAGIC or not words[3].isdigit():
        raise ArtifactDamaged(path, "doesn't begin with an artifact's digest")
    return words[2], int(words[3])


def check_bytes(path: Path, data: bytes) -> None:
    """Compare the bytes of an artifact with the digest that it carries. Raises ArtifactDamaged."""
    expected, size = _promise(path, data)
    body = memoryview(data)[USERBLOCK:]
    if len(body) != size:
        raise ArtifactDamaged(path, f"has {len(body)} bytes of {size}")
    if hashlib.sha256(body).hexdigest() != expected:
        raise ArtifactDamaged(path, "doesn't match its checksum")


def verify_file(path: Path) -> None:
    """As `check_bytes`, reading a file of any size in blocks. Raises ArtifactDamaged, FileNotFoundError."""
    with open_plain(path) as file:
        expected, size = _promise(path, file.read(USERBLOCK))
        found = os.fstat(file.fileno()).st_size - USERBLOCK
        if found != size:
            raise ArtifactDamaged(path, f"has {found} bytes of {size}")
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise ArtifactDamaged(path, "doesn't match its checksum")


def check_name(path: Path, lineage: Lineage, stage: str, key: str) -> None:
    """A file that somebody renamed or copied over another is whole and yet wrong. Raises ArtifactDamaged."""
    if (lineage.stage, lineage.key) != (stage, key):
        raise ArtifactDamaged(path, f"holds the artifact of another key ({lineage.stage} {lineage.key})")


def read_lineage(path: Path) -> Lineage:
    """The lineage attributes of an artifact file. Raises ArtifactDamaged, FileNotFoundError."""
    with _readable(path, "has no readable lineage"):
        return Lineage.from_attributes(read_attributes(path))


def read_attributes(path: Path) -> dict[str, Any]:
    """The root attributes of an artifact file. Raises ArtifactDamaged, FileNotFoundError."""
    require_plain(path)
    with _readable(path, "has no readable lineage"), open_self_contained(path) as file:
        return dict(file.attrs)


@contextlib.contextmanager
def _readable(path: Path, otherwise: str = "can't be read as HDF5") -> Iterator[None]:
    """A sealed file may still be none of ours: what HDF5 makes of it is damage. Raises ArtifactDamaged."""
    try:
        yield
    except FileNotFoundError:
        raise
    except NotSelfContained as exc:
        raise ArtifactDamaged(path, str(exc)) from exc
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as exc:
        raise ArtifactDamaged(path, otherwise) from exc


def content_digest(path: Path) -> str:
    """Digest of what an artifact says, without where and when it was made: datasets and key, not lineage.

    Two runs that computed the same thing give files with the same content digest.
    """
    digest = hashlib.sha256()
    with open_self_contained(path) as file:
        for name in dataset_names(file):
            array = read_array(file[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            text = array.dtype == object
            digest.update("\0".join(array.ravel()).encode() if text else np.ascontiguousarray(array).tobytes())
        digest.update(str(file.attrs["key"]).encode())
    return digest.hexdigest()
