"""A server that forks real engine processes, so that each can be killed without paying for imports every time.

It imports everything once and then, for every JSON line on its input (`root`, `dataset`, `overrides`, `options`,
`trace`, `lockless`), forks a child that runs the pipeline as `tiny_workspace.run` does. It prints `pid <n>` and, when
the child has ended, `end <status>`. With `trace`, the child names each moment at which a kill could hurt, just before
it comes: the begin of each computation, each sync and each rename, one line a moment in that file. With `lockless`,
its file system has no locks.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401  imported here so that no child has to
import torch

import tasks.training.module  # noqa: F401
from data_catalog import system
from flows import stages
from flows.stages import STAGE_NAMES
from tests.support.tiny_workspace import run


def trace_moments(path: Path) -> None:
    """Write a line before each begin of a computation, sync and rename of this process."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(moment: str) -> None:
        os.write(log, f"{moment}\n".encode())

    def told(name: str, function: Any) -> Any:
        def call(*args: Any, **settings: Any) -> Any:
            say(f"{name} {args[-1] if isinstance(args[-1], (str, Path)) else ''}")
            return function(*args, **settings)

        return call

    os.replace, os.fsync = told("replace", os.replace), told("sync", os.fsync)
    for group in ("CLIP_STAGES", "DATASET_STAGES"):
        originals = getattr(stages, group)
        watched = [
            dataclasses.replace(stage, compute=told(f"begin {stage.name}", stage.compute)) for stage in originals
        ]
        setattr(stages, group, tuple(watched))


def no_locks(file: Any, operation: int) -> None:
    """As on a file system that has none."""
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def child(request: dict[str, Any]) -> int:
    """Run the pipeline once; the summary goes to `<root>.json`."""
    torch.set_num_threads(1)
    if request.get("lockless"):
        system.fcntl.flock = no_locks
    if request.get("trace"):
        trace_moments(Path(request["trace"]))
    summary = run(
        Path(request["root"]),
        *request.get("overrides", ()),
        dataset=request["dataset"],
        selected=request.get("selected", STAGE_NAMES),
        **request.get("options", {}),
    )
    Path(request["root"] + ".json").write_text(json.dumps(summary.as_json()))
    return 0


def main() -> None:
    """Serve requests, several at a time: a request names a list of runs that are started together."""
    for line in sys.stdin:
        requests = json.loads(line)
        pids = []
        for request in requests:
            pid = os.fork()
            if pid == 0:
                status = 70
                try:
                    status = child(request)
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(status)
            pids.append(pid)
            sys.stdout.write(f"pid {pid}\n")
            sys.stdout.flush()
        for pid in pids:
            _, status = os.waitpid(pid, 0)
            sys.stdout.write(f"end {os.waitstatus_to_exitcode(status)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
