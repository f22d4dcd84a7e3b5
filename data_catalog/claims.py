"""Who is making which artifact: a claim for each key, so that several runs at once compute nothing twice.

A claim is a locked file. The lock goes with the process that holds it, however that ends, so nobody has to renew a
claim or find out whether its owner is alive. Where a file system has no locks, every claim is granted: work may be
done twice there, and both results are the same (`data_catalog.locks` says so once).
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import IO

from data_catalog.locks import try_lock


class Claim:
    """The right to make one artifact, until it is released or this process ends."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file

    def release(self) -> None:
        """Let others have it; the artifact is there by now, or could not be made."""
        if not self._file.closed:
            self._path.unlink(missing_ok=True)
            self._file.close()


class Claims:
    """The claims of one workspace: `<folder>/<stage>/<key>`, a file for each artifact that is being made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, stage: str, key: str) -> Claim | None:
        """Claim an artifact; None while somebody else, in this process or another, is making it.

        Raises:
            OSError: the workspace can't be written.
        """
        path = self.folder / stage / key
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = path.open("ab")
            if try_lock(file) is False:
                file.close()
                return None
            if os.fstat(file.fileno()).st_nlink:
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
                file.flush()
                return Claim(path, file)
            file.close()  # released, and so removed, in the moment before it was locked

    def owner(self, stage: str, key: str) -> str:
        """Who holds a claim, for a sentence to the user."""
        with contextlib.suppress(OSError):
            if found := (self.folder / stage / key).read_text(errors="replace"):
                return found
        return "another run"

    def sweep(self) -> None:
        """Remove the files that killed processes left; what is held stays."""
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(OSError), path.open("ab") as file:
                if try_lock(file):
                    path.unlink()
