"""Ctrl-C and SIGTERM: one sentence, exit status 130 or 143, and no process left behind.

What is finished is in the store already, whole, and what is half done is not; so nothing has to be tidied up, and the
process ends without waiting for the work in its threads. A thread of its own acts on the signals: the main thread may
sit in a long computation, and Prefect and uvicorn put handlers of their own in place of ours.

Imported before everything that takes time to import, so that a Ctrl-C during that time is met in the same way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

SENTENCE = "Stopped; what is done is kept. Run the same command to go on."
GRACE_SECONDS = 3.5  # for a server that closes its connections, or a notice to another machine
CHILDREN_SECONDS = 0.5
SHOW_CURSOR = "\x1b[?25h"

_farewells: list[Callable[[], None]] = []
_ends_by_itself = threading.Event()


def stop_cleanly() -> None:
    """From now on SIGINT and SIGTERM end this process as the module says. A second signal ends it at once."""
    reader, writer = socket.socketpair()  # Windows wakes no pipe
    writer.setblocking(False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _left_to_the_thread)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True, name="stopping").start()


@contextlib.contextmanager
def farewell(action: Callable[[], None]) -> Iterator[None]:
    """While the block runs, `action` is called before a stopped process ends; it has `GRACE_SECONDS`."""
    _farewells.append(action)
    try:
        yield
    finally:
        _farewells.remove(action)


@contextlib.contextmanager
def ending_by_itself() -> Iterator[None]:
    """While the block runs, a signal leaves the process `GRACE_SECONDS` to end in its own way (a web server)."""
    _ends_by_itself.set()
    try:
        yield
    finally:
        _ends_by_itself.clear()


def _left_to_the_thread(number: int, frame: object) -> None:
    """Python writes the signal's number into the pipe that the thread reads; nothing is to do here."""


def _watch(reader: socket.socket) -> None:
    while (number := reader.recv(1)[0]) not in (signal.SIGINT, signal.SIGTERM):
        pass
    threading.Thread(target=_end_at_the_next, args=(reader, number), daemon=True).start()
    if _ends_by_itself.is_set():
        time.sleep(GRACE_SECONDS)
    _say(SENTENCE)
    _bid_farewell()
    _end(number)


def _end_at_the_next(reader: socket.socket, number: int) -> None:
    while reader.recv(1)[0] not in (signal.SIGINT, signal.SIGTERM):
        pass
    if _ends_by_itself.is_set():
        _say(SENTENCE)
    _end(number)


def _say(text: str) -> None:
    """Write the sentence, then nothing more: what the main thread still complains of is no news."""
    with contextlib.suppress(OSError):
        if os.isatty(2):
            os.write(2, SHOW_CURSOR.encode())
        os.write(2, f"\n{text}\n".encode())
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)


def _bid_farewell() -> None:
    def all_of_them() -> None:
        for action in [*_farewells]:
            with contextlib.suppress(Exception):  # the process ends in any case
                action()

    thread = threading.Thread(target=all_of_them, daemon=True)
    thread.start()
    thread.join(GRACE_SECONDS)


def _end(number: int) -> None:
    """End the children, then this process, with the status that shells expect of a signal."""
    with contextlib.suppress(Exception):
        import psutil  # only now: nothing else of the command line needs it

        children = psutil.Process().children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.terminate()
        _, alive = psutil.wait_procs(children, CHILDREN_SECONDS)
        for child in alive:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(alive, CHILDREN_SECONDS)
    sys.stdout = sys.stderr = None  # nothing is flushed into a closed terminal
    os._exit(128 + number)
