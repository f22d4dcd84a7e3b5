"""What only Linux has is called in one module, and the pipeline runs where it is absent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPO

ONLY = REPO / "data_catalog" / "system.py"
# Calls of Linux, or of Unix alone. Signals that Windows has too (SIGINT, SIGTERM) and os.getppid may be used anywhere.
LINUX = re.compile(
    r"sched_(?:get|set)affinity|\bimport (?:fcntl|resource|pwd|grp|termios|pty)\b|[\"']/(?:proc|dev|sys)/|\bprctl\b|"
    r"os\.(?:fork|forkpty|killpg|getpgid|setsid|pread|pwrite|set_blocking|mkfifo|mknod|geteuid|getuid|statvfs|"
    r"fdatasync|posix_fadvise|sendfile|uname|getloadavg|O_(?:DIRECTORY|NOFOLLOW|NONBLOCK|CLOEXEC|PATH|TMPFILE))\b|"
    r"\bdir_fd=|signal\.SIG(?!INT\b|TERM\b|nals\b)[A-Z]+|preexec_fn|pass_fds|get_context\(\"fork|"
    r"os\.(?:symlink|link|memfd_create|pidfd_open|wait|wait3|wait4|register_at_fork|mkfifo|nice|getpgrp)\b|symlink_to\(|"
    r"select\.(?:poll|epoll|kqueue)\b|AF_UNIX|add_signal_handler|time\.CLOCK_|time\.clock_gettime"
)
# As Windows and macOS together: none of it is there (/proc/PID stays: psutil, which is a system's own, counts there).
# Python runs this at the start of every process.
ABSENT = """
import multiprocessing, os, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("sched_getaffinity", "pread", "killpg", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY"):
    delattr(os, name)
multiprocessing.get_all_start_methods = lambda: ["spawn"]
import subprocess
start = subprocess.Popen.__init__
def plain(self, *words, start_new_session=False, pass_fds=(), **options):
    if pass_fds or options.get("preexec_fn"):
        raise ValueError("not on this system")
    start(self, *words, **options)
subprocess.Popen.__init__ = plain
def hidden(real):
    def call(path=".", *more, **options):
        if isinstance(path, str) and path.startswith(("/proc/self", "/dev/fd")):
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, *more, **options)
    return call
exists = os.path.exists
os.path.exists = lambda path: exists(path) and not str(path).startswith(("/proc", "/dev/fd"))
os.listdir, os.readlink = hidden(os.listdir), hidden(os.readlink)
"""
RUN = """
import json, os, sys
from pathlib import Path
import tests.support.tiny_workspace as tiny
from data_catalog import system
root, videos = map(Path, sys.argv[1:])
tiny.new_workspace(root, videos)
summary = tiny.run(root, "train.workers=1")
descriptor = os.open(sys.executable, os.O_RDONLY)
del sys.modules["resource"]  # psutil is a system's own, and this one's asks for it
print(json.dumps({
    "failures": [str(one) for one in summary.failures], "notes": summary.notes, "metrics": sorted(summary.metrics),
    "processors": system.processors(), "path": system.path_of(descriptor), "limit": system.handle_limit(),
    "open": system.open_handles() > 2, "head": system.read_at(descriptor, 4, 0).hex(),
}))
"""


def sources() -> list[Path]:
    rooms = ("data_catalog", "models", "tasks", "flows")
    return [path for room in rooms for path in sorted((REPO / room).rglob("*.py")) if path != ONLY]


def test_only_one_module_calls_what_only_linux_has() -> None:
    assert len(set(LINUX.findall(ONLY.read_text()))) >= 5  # the pattern finds what it is for
    found = [
        f"{path.relative_to(REPO)}:{number} {line.strip()}"
        for path in sources()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if LINUX.search(line)
    ]
    assert found == []


def where_it_is_absent(folder: Path, program: str, *words: Path) -> Any:
    """What a program prints last, as JSON, in a process that has none of it, as those that it starts."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(ABSENT)
    environment = os.environ | {"PYTHONPATH": f"{folder / 'site'}{os.pathsep}{REPO}"}
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_pipeline_runs_where_it_is_absent(tiny_videos: Path, tmp_path: Path) -> None:
    told = where_it_is_absent(tmp_path, RUN, tmp_path / "workspace", tiny_videos)
    assert told["failures"] == []
    assert told["metrics"] == ["best", "last"]
    assert [note for note in told["notes"] if "no locks" in note], told["notes"]
    assert told["processors"] == os.cpu_count()
    assert (told["path"], told["limit"], told["open"]) == (None, None, True)
    assert told["head"] == Path(sys.executable).read_bytes()[:4].hex()


SERVE_AND_TRAIN = """
import json, sys
from pathlib import Path
import httpx, subprocess
from flows.execution.server.temporary_server import temporary_server
from prefect.settings import get_current_settings
import tests.support.tiny_workspace as tiny
try:
    subprocess.Popen([sys.executable, "-c", ""], pass_fds=[2])
    refused = False
except ValueError:
    refused = True
with temporary_server(print):
    url = get_current_settings().api.url
    healthy = httpx.get(f"{url}/health", trust_env=False).json()
try:
    httpx.get(f"{url}/health", trust_env=False)
    ended = False
except httpx.ConnectError:
    ended = True
root, videos = map(Path, sys.argv[1:])
tiny.new_workspace(root, videos)
summary = tiny.run(root, "train.devices=2", "train.batch=2")
print(json.dumps({"refused": refused, "healthy": healthy, "ended": ended,
                  "failures": [str(one) for one in summary.failures], "metrics": sorted(summary.metrics)}))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_and_a_training_in_several_processes_run_where_it_is_absent(tiny_videos: Path, tmp_path: Path) -> None:
    told = where_it_is_absent(tmp_path, SERVE_AND_TRAIN, tmp_path / "workspace", tiny_videos)
    assert told == {"refused": True, "healthy": True, "ended": True, "failures": [], "metrics": ["best", "last"]}
