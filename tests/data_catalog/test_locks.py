"""Locks: held by one process, gone with it, and done without where the file system has none."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from data_catalog import locks, notices, system
from data_catalog.locks import locked, sentences, try_lock

HOLD = (
    "import sys; from pathlib import Path; from data_catalog.locks import locked\n"
    "with locked(Path(sys.argv[1])):\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)


def test_another_process_waits_until_the_owner_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with path.open("ab") as file:
            assert try_lock(file) is False
        os.kill(owner.pid, signal.SIGKILL)
    with locked(path), path.open("ab") as file:
        assert try_lock(file) is False  # ours now, through another handle


def test_on_the_command_line_a_wait_of_seconds_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = f"import flows.quiet; import prefect\n{HOLD}"
    with locked(path):
        command = [sys.executable, "-c", script, str(path)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        waiting = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == f"Waiting for another process, which holds {path} …\n"
    assert waiting.communicate()[0] == "held\n"


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(tmp_path / "lock"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_without_locks_work_goes_on_and_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(system.fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "_lockless", set())
    monkeypatch.setattr(locks, "_sentences", [])
    for _ in range(2):
        with locked(tmp_path / "lock"), (tmp_path / "lock").open("ab") as file:
            assert try_lock(file) is None
    (sentence,) = sentences()
    assert sentence in notices.take()  # so that a command that is no run says it too
    assert sentence == (
        f"The file system of {tmp_path} has no locks: two runs at once in this workspace are not kept apart; "
        "run one at a time."
    )


def test_other_errors_are_not_taken_for_missing_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: object, operation: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(system.fcntl, "flock", broken)
    with (tmp_path / "lock").open("ab") as file, pytest.raises(OSError, match="input/output"):
        try_lock(file)
