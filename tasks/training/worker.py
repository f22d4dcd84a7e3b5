"""One process of a training on several devices: `python -m tasks.training.worker JOB.json`.

Started by `tasks.training.distributed`, and by Lightning once more for each further device. The first one's standard
output is the pipe in which it says how far it is, a line of JSON each time; what else is printed goes where errors go.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from data_catalog.pack.file import PackReader
from models.backbones import BACKBONES
from models.registry import Entry
from tasks.engine.progress import Progress, listening
from tasks.training.distributed import RECORD, TrainJob
from tasks.training.module import build_module
from tasks.training.trainer import fit, is_first_process

logger = logging.getLogger(__name__)


def main(path: str) -> int:
    """Train as the job says; the process's exit status."""
    threading.Thread(target=_end_with_the_flow, daemon=True).start()
    job = TrainJob.read(Path(path))
    BACKBONES.update((name, Entry(target)) for name, target in job.backbones.items())
    if not is_first_process():
        _fit(job, None)
        return 0
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as events:
        os.dup2(2, 1)  # for everything below, and for the further processes

        def send(**event: Any) -> None:
            events.write(RECORD + json.dumps(event) + "\n")

        def progress(message: Progress) -> None:
            send(progress=[message.stage, message.done, message.total, message.note])

        try:
            with listening(progress):
                _fit(job, send)
        except Exception as exc:
            logger.exception("training failed")
            kind = next((one.__name__ for one in (OSError, ValueError) if isinstance(exc, one)), "RuntimeError")
            send(error=[kind, str(exc)])
            return 1
    return 0


def _fit(job: TrainJob, send: Any) -> None:
    reader = PackReader(job.pack)
    on_epoch = None if send is None else lambda row: send(epoch=row)
    module = build_module(reader, job.model, job.config, on_epoch, job.features)
    fit(module, job.config, job.workdir, job.checkpoint)


def _end_with_the_flow() -> None:
    """Wait until nobody holds the other end of our standard input, then end at once: checkpoints are whole anyway."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
