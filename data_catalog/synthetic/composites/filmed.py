"""Sequences for a Siamese tracker that are cut out of clips of the procedural dataset, as a tracker crops them.

Composed sequences show anything before anything; these show athletes who fly, fold, dive in and skate, among the others
of their clip, at the sizes, blur and compression that the pipeline's normalised frames have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.composites.sequences import CropForm, Sequence
from data_catalog.synthetic.sport.distractors import ALONE, Setting
from data_catalog.synthetic.sport.render_clip import render
from data_catalog.synthetic.sport.storyboard import Kind, Storyboard, plan_clip
from data_catalog.synthetic.sport.write import first_box

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

FIRST_SEED: Final = 8_000_000     # far from the seeds that people choose, so that no clip is seen twice
EACH: Final = 12                  # sequences of one clip
_LENGTH: Final = 103              # frames a clip is brought to, and
_FRAME_WH: Final = (455, 256)     # their size
_MIN_TEMPLATE_PX: Final = 250     # visible pixels from which an athlete can be learnt, and
_MIN_SEARCH_PX: Final = 60        # looked for
_KINDS: Final[tuple[Kind, ...]] = ("diving", "diving", "diving", "sync_diving", "skating")


@dataclass(frozen=True, eq=False)
class Filmed:
    """A clip as the tracker gets it: frames (F, H, W, 3), visible silhouettes (A, F, H, W)."""

    frames: Image
    masks: Mask


def filmed_sequences(clip: int, seed: int, searches: int, form: CropForm | None = None) -> Iterator[Sequence]:
    """`EACH` sequences out of one clip; they depend on (clip, seed) alone.

    Args:
        clip: number of the clip; kinds, arenas, distances and company go round with it.
        seed: other clips.
        searches: search crops of a sequence.
        form: see there.
    """
    form = form or CropForm()
    rng = np.random.default_rng((seed, clip, 2))
    film = film_clip(clip, seed, rng)
    sizes = film.masks.sum(axis=(2, 3))
    templates = np.argwhere(sizes >= _MIN_TEMPLATE_PX)
    earliest = templates[templates[:, 1] == templates[:, 1].min()]
    for _ in range(EACH):
        choice = earliest if rng.random() < 0.5 else templates   # pipelines begin with the first frame
        who, frame = (int(number) for number in choice[rng.integers(len(choice))])
        template, _, _ = _crop(film, who, frame, _loosened(_box(film.masks[who, frame]), rng, form), form.template_px)
        found = np.flatnonzero(sizes[who] >= _MIN_SEARCH_PX)
        drawn = [_search(film, who, found, int(place), rng, form) for place in rng.integers(0, len(found), searches)]
        yield Sequence(
            template,
            np.stack([picture for picture, _, _ in drawn]),
            np.stack([box for _, box, _ in drawn]).astype(np.float32),
            np.stack([mask for _, _, mask in drawn]),
        )


def film_clip(clip: int, seed: int, rng: np.random.Generator) -> Filmed:
    """Plan and render clip `clip` of `seed`; what `rng` draws makes it harder or easier."""
    return _film(_story(clip, seed, rng), rng)


def _story(clip: int, seed: int, rng: np.random.Generator) -> Storyboard:
    kind = _KINDS[clip % len(_KINDS)]
    setting = ALONE
    if rng.random() < 0.6:
        company = int(rng.integers(0, 3)) if kind == "diving" else 0
        setting = Setting(company, float(rng.uniform(0.45, 1.0)))
    return plan_clip(kind, clip, FIRST_SEED + 10_000 * seed + clip, "mixed", setting)


def _film(story: Storyboard, rng: np.random.Generator) -> Filmed:
    """Rendered, brought to the pipeline's length and size, and compressed."""
    shots = list(render(story))
    kept = np.rint(np.linspace(0, len(shots) - 1, _LENGTH)).astype(int)
    quality = int(rng.integers(35, 96))
    frames, masks = [], []
    for index in kept:
        shot = shots[index]
        small = cv2.resize(shot.frame, _FRAME_WH, interpolation=cv2.INTER_AREA)
        _, packed = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        frames.append(cv2.imdecode(packed, cv2.IMREAD_COLOR))   # the order of channels is that of what was packed
        planes = [cv2.resize(mask.astype(np.float32), _FRAME_WH, interpolation=cv2.INTER_AREA) for mask in shot.masks]
        masks.append(np.stack(planes) >= 0.5)
    return Filmed(np.asarray(frames, np.uint8), np.stack(masks, axis=1))


def _search(
    film: Filmed, who: int, found: NDArray[np.int64], place: int, rng: np.random.Generator, form: CropForm
) -> tuple[Image, Floats, Mask]:
    """A search crop around where the athlete was some frames before, as trackers have it, often less exactly."""
    before = found[max(0, place - int(rng.integers(0, 4)))]
    centre, side = _loosened(_box(film.masks[who, before]), rng, form)
    side *= form.search_px / form.template_px
    if rng.random() < 0.4:
        centre = centre + rng.uniform(-0.3, 0.3, 2) * side
    return _crop(film, who, int(found[place]), (centre, side), form.search_px)


def _loosened(box: Floats, rng: np.random.Generator, form: CropForm) -> tuple[Floats, float]:
    """Centre and side of the template's window around a box that is moved and resized a little."""
    size = box[2:] - box[:2]
    centre = (box[:2] + box[2:]) / 2 + rng.normal(0, 0.06, 2) * size
    return centre, form.template_px / form.scale(size * np.exp(rng.normal(0, 0.12, 2)))


def _crop(
    film: Filmed, who: int, frame: int, window: tuple[Floats, float], side_px: int
) -> tuple[Image, Floats, Mask]:
    """The window (centre, side) of a frame: its picture, and box (4,) and mask of the athlete in the crop's pixels."""
    centre, side = window
    scale, corner = side_px / side, centre - side / 2
    # OpenCV counts from the middle of the first pixel.
    to_crop = np.array([[scale, 0, 0], [0, scale, 0]], np.float64)
    to_crop[:, 2] = scale * (0.5 - corner) - 0.5
    picture = film.frames[frame]
    mean = tuple(float(colour) for colour in film.frames[0].mean(axis=(0, 1)))
    seen = cv2.warpAffine(picture, to_crop, (side_px, side_px), flags=cv2.INTER_LINEAR, borderValue=mean)
    mask = film.masks[who, frame]
    shown = cv2.warpAffine(mask.astype(np.float32), to_crop, (side_px, side_px), flags=cv2.INTER_LINEAR)
    return np.asarray(seen, np.uint8), (_box(mask) - np.tile(corner, 2)) * scale, np.asarray(shown >= 0.5)


def _box(mask: Mask) -> Floats:
    """(4,) xyxy around a mask (H, W), continuous."""
    x, y, width, height = first_box(mask)
    return np.array([x, y, x + width, y + height], np.float64)
