"""Checkpoints that survive a kill at any moment, and the search for the newest whole one.

A checkpoint is `<epoch>-<batch>.ckpt` (Lightning's format, loadable with weights_only=True) with
`<epoch>-<batch>.ckpt.sha256` beside it. The digest is written first and the checkpoint is renamed into
place last, so a checkpoint that is there is whole; whatever damages it later is noticed by the digest.
"""

import hashlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from data_catalog.errors import ArtifactDamaged
from data_catalog.plain_file import clear, file_digest, read_plain
from data_catalog.system import sync_folder

logger = logging.getLogger(__name__)

_KEPT = 2  # the newest may be damaged, then the one before it is needed


@dataclass(frozen=True)
class NewestCheckpoint:
    """The newest whole checkpoint, or None, and one sentence for each damaged one."""

    path: Path | None
    notes: tuple[str, ...]


class DurableCheckpoints(Checkpoint):
    """Saves at the end of every epoch and, within an epoch, after every `every_steps` batches.

    Args:
        folder: where the checkpoints are kept; the two newest stay.
        every_steps: batches between two checkpoints of one epoch; 0 for only one per epoch.
        apart: seconds that must have gone by since the last one; the end of the training is saved anyway.
    """

    def __init__(self, folder: Path, every_steps: int, apart: float = 0.0) -> None:
        self._folder, self._every_steps, self._apart = folder, every_steps, apart
        self._saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch."""
        done = batch_idx + 1
        wanted = self._every_steps and done % self._every_steps == 0 and done < trainer.num_training_batches
        if wanted and self._due(trainer):
            self._save(trainer, done)

    # Lightning calls Checkpoint callbacks after the module's own hook, so the epoch's row is in the
    # checkpoint.
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of an epoch."""
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if last or self._due(trainer):
            self._save(trainer, int(trainer.num_training_batches))

    def _due(self, trainer: Trainer) -> bool:
        """Whether enough time has gone by; all processes save together, so the first one's clock decides."""
        due = time.monotonic() - self._saved >= self._apart
        return bool(trainer.strategy.broadcast(due)) if self._apart and trainer.world_size > 1 else due

    def _save(self, trainer: Trainer, batches: int) -> None:
        self._saved = time.monotonic()
        path = self._folder / f"{trainer.current_epoch:05d}-{batches:07d}.ckpt"
        temporary = path.with_name(path.name + ".tmp")
        trainer.save_checkpoint(temporary)  # every process of a distributed run takes part
        if not trainer.is_global_zero:
            return
        _write_synced(_sidecar(path), f"{_sync_and_digest(temporary)}  {path.name}\n")
        os.replace(temporary, path)
        sync_folder(self._folder)
        for old in sorted(self._folder.glob("*.ckpt"))[:-_KEPT]:
            _remove(old)


def find_checkpoint(folder: Path) -> NewestCheckpoint:
    """The newest checkpoint whose digest fits; damaged ones and leftovers of a kill are removed.

    The sentences name what was damaged and what is used instead.
    """
    for leftover in folder.glob("*.tmp"):
        clear(leftover)
    damaged: list[str] = []
    usable = None
    for path in sorted(folder.glob("*.ckpt"), reverse=True):
        problem = _problem(path)
        if problem is None:
            usable = path
            break
        damaged.append(f"The checkpoint {path} {problem};")
        _remove(path)
    for orphan in folder.glob("*.sha256"):
        if not orphan.with_suffix("").exists():
            orphan.unlink()
    rest = f"training resumes from {usable.name}." if usable else "training starts from the beginning."
    return NewestCheckpoint(usable, tuple(f"{sentence} {rest}" for sentence in damaged))


def _problem(path: Path) -> str | None:
    try:
        expected = read_plain(_sidecar(path)).decode().split()[0]
        found = file_digest(path)
    except FileNotFoundError:
        return "has no digest beside it"
    except ArtifactDamaged as exc:
        return exc.what if exc.path == path else f"has no digest beside it ({exc.path.name} {exc.what})"
    except (OSError, IndexError, UnicodeDecodeError):
        return "cannot be read"
    return None if found == expected else "is damaged (its digest does not fit)"


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _remove(path: Path) -> None:
    clear(path)
    clear(_sidecar(path))


def _sync_and_digest(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_synced(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
