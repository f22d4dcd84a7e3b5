"""Reads hostile files in a child process with limits, and says what became of it and which files were opened.

`python -m tests.support.limited_process KIND FOLDER COUNT SEED` is the child: COUNT mutants of the files in
FOLDER/corpus are read one after the other; the mutant in hand lies in FOLDER/inside, so that it is still there when the
process dies of it.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support import REPO

SECONDS_A_FILE = 10
MEMORY = 2**30
STATUS = "/proc/self/status"
ADDRESS_SPACE = 6 * 2**30  # libraries reserve far more than they use; `MEMORY` is what is measured


@dataclass(frozen=True)
class Outcome:
    """What became of the mutants.

    Attributes:
        read: how many were read without complaint.
        refused: how many were refused with a sentence.
        slowest: seconds of the slowest.
        memory: bytes that the process held at most, of which `before` were there when the first was read.
        opened: files opened outside of the folder, by Python or, in the watched folder, by anybody.
    """

    read: int
    refused: int
    slowest: float
    memory: int
    before: int
    opened: list[str]


def read_mutants(kind: str, folder: Path, count: int, seed: int = 0) -> Outcome:
    """Run the child. Fails with its last words, and the mutant's path, where it crashed, hung or raised."""
    (folder / "inside").mkdir(exist_ok=True)
    (folder / "outside").mkdir(exist_ok=True)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.limited_process", kind, str(folder), str(count), str(seed)],
        cwd=REPO,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    mutants = sorted((folder / "inside").iterdir())
    assert ended.returncode == 0, f"status {ended.returncode} at {mutants}: {ended.stderr[-2000:]}"
    return Outcome(**json.loads(ended.stdout.splitlines()[-1]))


def mutate(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Bits, bytes, numbers, pieces moved, doubled, cut out or taken from another file; one to eight of these."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        at, length = rng.randrange(len(data) + 1), min(rng.randint(1, 64), len(data))
        match rng.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                data[at : at + 4] = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, rng.getrandbits(32))).to_bytes(4, "little")
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                start = rng.randrange(len(data) + 1)
                data[at : at + length] = data[start : start + length]
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                data[at:at] = other[start : start + length]
            case _ if rng.random() < 0.2:
                del data[at:]
    return bytes(data)


def _pickle(path: Path) -> None:
    from data_catalog.errors import DatasetError
    from data_catalog.safe_pickle import load_pickle

    try:
        repr(load_pickle(path))  # what is in it is used, or a wrong pointer would not show
    except DatasetError as exc:
        raise Refusal(str(exc)) from exc


def _hdf5(path: Path) -> None:
    from data_catalog.store import USERBLOCK, ArtifactDamaged, Store, seal
    from tests.support.artifact_files import KEY

    store = Store(path.parent)
    kept = store.path("track", KEY)
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, kept)
    if kept.stat().st_size > USERBLOCK:
        seal(kept)  # or the digest would keep every mutant from HDF5
    try:
        store.verify("track", KEY)
        store.read("track", KEY)
    except ArtifactDamaged as exc:
        raise Refusal(str(exc)) from exc


class Refusal(Exception):
    """The one way in which a hostile file may fail: with a sentence."""


READERS: dict[str, Callable[[Path], None]] = {"pickle": _pickle, "hdf5": _hdf5}


def watch(folder: Path) -> int:
    """An inotify descriptor that can be read when a file of `folder` was opened, by whatever library."""
    opened = 0x20
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.inotify_init1(os.O_NONBLOCK))
    assert descriptor >= 0
    assert libc.inotify_add_watch(descriptor, os.fsencode(folder), opened) >= 0
    return descriptor


def peak_memory() -> int:
    """Bytes that this process held at most (`ru_maxrss` also counts what its parent held)."""
    words = Path(STATUS).read_text().split()
    return int(words[words.index("VmHWM:") + 1]) * 1024


def was_opened(watched: int) -> bool:
    """Whether a file of the folder that `watch` watches was opened since."""
    try:
        return bool(os.read(watched, 4096))
    except BlockingIOError:
        return False


def main(kind: str, folder: Path, count: int, seed: int) -> None:
    """The child's work; prints an `Outcome` as JSON."""
    corpus = [path.read_bytes() for path in sorted((folder / "corpus").iterdir())]
    read, rng = READERS[kind], random.Random(seed)
    mutant = folder / "inside" / f"mutant.{kind}"
    outcome = Outcome(0, 0, 0.0, 0, 0, [])
    numbers = {"read": 0, "refused": 0}

    def attempt(content: bytes) -> float:
        mutant.write_bytes(content)
        signal.alarm(SECONDS_A_FILE)  # its default is to end the process, also inside a library
        start = time.monotonic()
        try:
            read(mutant)
            numbers["read"] += 1
        except Refusal:
            numbers["refused"] += 1
        signal.alarm(0)
        return time.monotonic() - start

    for content in corpus:  # everything that is loaded lazily is loaded now
        attempt(content)
    numbers.update(read=0, refused=0)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    before = peak_memory()
    watched = watch(folder / "outside")
    # The interpreter loads modules when it needs them.
    own = (str(folder / "inside"), sys.prefix, sys.base_prefix, STATUS)

    def listen(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes) and not os.fsdecode(args[0]).startswith(own):
            outcome.opened.append(os.fsdecode(args[0]))

    sys.addaudithook(listen)
    slowest = max(attempt(mutate(rng.choice(corpus), rng, corpus)) for _ in range(count))
    if was_opened(watched):
        outcome.opened.append(str(folder / "outside"))
    memory = peak_memory()
    figures = {**numbers, "slowest": slowest, "memory": memory, "before": before}
    sys.stdout.write(json.dumps({**outcome.__dict__, **figures}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
