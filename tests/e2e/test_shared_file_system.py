"""What a shared file system may lack: locks, and a clock that is every machine's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPO
from tests.support.tiny_workspace import DATASET, digests, identities, leftovers, new_workspace, plan

SHIFTED = "import time\n_true = time.time\ntime.time = lambda: _true() + 7200\n"
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, now);
    if (id == CLOCK_REALTIME) now->tv_sec += atoi(getenv("SHIFT_SECONDS"));
    return status;
}
"""
COLLECT = """
import sys
from pathlib import Path
from data_catalog.catalog import Workspace
from flows.maintenance.gc import find_garbage
print(len(find_garbage(Workspace(Path(sys.argv[1])), 1, 1.0)))
"""


def test_a_machine_whose_clock_is_ahead_takes_nothing_for_old(finished_workspace: Path, tmp_path: Path) -> None:
    """Nothing refers to a stray artifact of 40 minutes ago: another machine may be at the run that will."""
    root = Path(shutil.copytree(finished_workspace, tmp_path / "w"))
    made = next(root.glob("artifacts/masks/??/*.h5"))
    stray = made.with_name("ab" * 20 + made.suffix)
    shutil.copy(made, stray)
    moment = stray.stat().st_mtime
    (tmp_path / "sitecustomize.py").write_text(SHIFTED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPO)])}
    for minutes, found in ((40, "0"), (80, "1")):
        os.utime(stray, (moment - 60 * minutes,) * 2)
        done = subprocess.run(
            [sys.executable, "-c", COLLECT, str(root)], env=environment, cwd=REPO, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert (done.stdout.strip(), done.returncode) == (found, 0), done.stderr


def links_to(root: Path, tmp_path: Path) -> list[str]:
    """Two names of a workspace: each run writes its summary beside the name that it was given."""
    links = [tmp_path / "one", tmp_path / "two"]
    for link in links:
        link.symlink_to(root)
    return [*map(str, links)]


def computed(links: list[str]) -> list[int]:
    """How many artifacts each run made."""
    summaries = [json.loads(Path(f"{link}.json").read_text()) for link in links]
    assert [summary["quarantined"] for summary in summaries] == [[], []]
    return [sum(stage["computed"] for stage in summary["stages"].values()) for summary in summaries]


@pytest.mark.slow
def test_two_runs_at_once_without_locks_make_what_one_makes(
    engines: Any, tiny_videos: Path, finished_workspace: Path, tmp_path: Path
) -> None:
    root = new_workspace(tmp_path / "w", tiny_videos).root
    links = links_to(root, tmp_path)
    engines.start(*({"root": link, "dataset": DATASET, "lockless": True} for link in links))
    assert engines.wait(2) == [0, 0], engines.errors
    expected = digests(finished_workspace)
    assert digests(root) == expected
    assert sum(computed(links)) >= len(expected)
    for link in links:
        notes = json.loads(Path(f"{link}.json").read_text())["notes"]
        assert sum("has no locks" in note for note in notes) == 1
    assert all(len(found.hits) == len(found.jobs) for found in plan(root).values())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build a clock with")
def test_two_runs_at_once_whose_clocks_are_two_hours_apart_make_everything_once(
    engines_by: Callable[..., Any], tiny_videos: Path, finished_workspace: Path, tmp_path: Path
) -> None:
    """One process is an hour behind, one an hour ahead; files get the kernel's time, as from a file server."""
    root = new_workspace(tmp_path / "w", tiny_videos).root
    links = links_to(root, tmp_path)
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    hosts = [engines_by(tmp_path / shift, LD_PRELOAD=str(library), SHIFT_SECONDS=shift) for shift in ("-3600", "3600")]
    for host, link in zip(hosts, links, strict=True):
        host.start({"root": link, "dataset": DATASET})
    assert [host.wait() for host in hosts] == [[0], [0]], [host.errors for host in hosts]
    expected = digests(finished_workspace)
    assert (digests(root), sum(computed(links))) == (expected, len(expected))
    before = identities(root)
    for host, link in zip(hosts, links, strict=True):
        summary = host.run(Path(link))
        assert sum(stage["computed"] for stage in summary["stages"].values()) == 0
    assert identities(root) == before
    assert leftovers(root) == []
    records = [json.loads(path.read_text()) for path in root.glob("runs/*/run.json")]
    finished = sorted(datetime.fromisoformat(record["finished"]) for record in records)
    assert timedelta(hours=1.9) < finished[-1] - finished[0] < timedelta(hours=2.5)  # their clocks were apart
