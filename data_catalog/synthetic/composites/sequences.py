"""Synthetic sequences for a Siamese tracker: a template crop of a target, and search crops of it some frames later.

Crops are drawn directly, at the size the network sees them: a photograph, in front of it other things and look-alikes,
then the target, moved, turned, bent, resized, blurred, partly hidden, then what cameras and codecs do to pictures.
Coordinates are pixels of the crop, continuous: pixel i spans [i, i + 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.composites.cutouts import Cast, Image, tight

Floats = NDArray[np.float64]

_TURNED: Final = 0.5     # share of sequences whose target turns in the picture
_TUMBLING: Final = 0.2   # share of those in which it turns anyhow between frames
_SHOWN: Final = 0.5      # alpha from which a pixel is the target's


@dataclass(frozen=True)
class CropForm:
    """Sizes of crops in pixels, and how much of the template crop surrounds the target (share of its mean side)."""

    template_px: int = 127
    search_px: int = 255
    context: float = 0.5

    def scale(self, size: Floats) -> float:
        """Factor by which a target of `size` (2,) is enlarged in a crop."""
        return float(self.template_px / np.sqrt(np.prod(size + self.context * size.sum())))


@dataclass(frozen=True, eq=False)
class Sequence:
    """One target.

    Attributes:
        template: (T, T, 3) uint8 RGB, the target in its middle.
        searches: (n, S, S, 3) uint8 RGB.
        boxes: (n, 4) float32 xyxy, all of the target, hidden parts too.
        masks: (n, S, S) bool, its visible pixels.
    """

    template: Image
    searches: Image
    boxes: NDArray[np.float32]
    masks: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Layer:
    """A cut-out in the crop: premultiplied colours (S, S, 3) float32 and alpha (S, S) float32, 0 to 1."""

    colours: NDArray[np.float32]
    alpha: NDArray[np.float32]

    def over(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(picture * (1 - self.alpha[..., None]) + self.colours, np.float32)


def compose(cast: Cast, rng: np.random.Generator, searches: int, form: CropForm | None = None) -> Sequence:
    """Make a sequence with one template and `searches` search crops, never the same twice."""
    form = form or CropForm()
    scene = _Scene(cast, rng, searches + 1, form)
    template, _, _ = scene.draw(0, form.template_px)
    drawn = [scene.draw(frame, form.search_px) for frame in range(1, searches + 1)]
    return Sequence(
        template,
        np.stack([picture for picture, _, _ in drawn]),
        np.stack([box for _, box, _ in drawn]).astype(np.float32),
        np.stack([mask for _, _, mask in drawn]),
    )


class _Scene:
    """What stays the same through a sequence, and where things are in each frame."""

    def __init__(self, cast: Cast, rng: np.random.Generator, frames: int, form: CropForm) -> None:
        self.rng, self.form = rng, form
        shift = _colour_shift(rng, 0.5)
        self.actor = [_recolour(picture, shift) for picture in cast.actor(rng, frames)]
        self.others = self._company(cast, frames)
        self.photo = cast.photos(rng)
        self.photo_place = rng.uniform(0.15, 0.85, 2) * self.photo.shape[1::-1]
        self.photo_zoom = float(np.exp(rng.uniform(np.log(0.25), np.log(1.3))))
        self.base_turn = rng.normal(0, 8.0) if rng.random() < 0.7 else rng.uniform(-180, 180)
        self.turns = self._turns(frames)
        self.softness = rng.uniform(0.3, 1.3)
        self.coarseness = float(np.exp(rng.uniform(0, np.log(3.2))))   # crop pixels per pixel of the video
        self.quality = int(rng.integers(25, 92))
        self.restless = rng.uniform(0, 0.14) if rng.random() < 0.6 else 0.0

    def _company(self, cast: Cast, frames: int) -> list[list[Image]]:
        """Other things in the picture; some are the target itself in another colour."""
        rng = self.rng
        company = [cast.actor(rng, frames) for _ in range(rng.choice(5, p=(0.25, 0.25, 0.2, 0.15, 0.15)))]
        if rng.random() < 0.3:
            shift = _colour_shift(rng, 1.0)
            company.append([_recolour(picture, shift) for picture in self.actor[::-1]])
        return company

    def _turns(self, frames: int) -> Floats:
        rng = self.rng
        if rng.random() > _TURNED:
            return self.base_turn + rng.normal(0, 4, frames)
        if rng.random() < _TUMBLING:
            return rng.uniform(-180, 180, frames)
        return self.base_turn + np.cumsum(rng.normal(0, 18, frames))

    def draw(self, frame: int, side: int) -> tuple[Image, Floats, NDArray[np.bool_]]:
        """Picture (side, side, 3), the target's box (4,), and its mask (side, side)."""
        rng, template = self.rng, frame == 0
        cut = _bend(_spin(self.actor[frame], self.turns[frame]), self.restless, rng)
        scale, centre = self._place(cut, side, template)
        picture = self._background(side, scale, centre)
        where = centre
        near: list[_Layer] = []
        for other in self.others:
            layer = self._other(other[frame], cut, scale, side, where)
            # Somebody may stand before the target, but the template must show it.
            if not template and rng.random() < 0.25:
                near.append(layer)
            else:
                picture = layer.over(picture)
        target = _paste(cut, scale, centre, side, self.softness)
        picture = _relight(target, rng).over(picture)
        shown = target.alpha > _SHOWN
        box = _box_of(cut, scale, centre)
        for layer in near:
            if (layer.alpha[shown] > _SHOWN).mean() < 0.55 if shown.any() else True:
                picture = layer.over(picture)
                shown &= layer.alpha <= _SHOWN
        picture, shown = _frame_edge(picture, shown, centre, rng, template)
        return self._film(picture), box, shown

    def _place(self, cut: Image, side: int, template: bool) -> tuple[float, Floats]:
        """How much the cut-out is enlarged, and where its middle is."""
        rng = self.rng
        size = np.array(cut.shape[1::-1], np.float64)
        scale = self.form.scale(size)
        middle = np.full(2, side / 2)
        if template:
            shown = size * scale
            return scale * float(np.exp(rng.normal(0, 0.05))), middle + rng.normal(0, 0.03, 2) * shown
        scale *= float(np.exp(rng.normal(0, 0.17)))
        reach = rng.normal(0, 18, 2) if rng.random() < 0.6 else rng.uniform(-0.36, 0.36, 2) * side
        return scale, middle + reach

    def _background(self, side: int, scale: float, centre: Floats) -> NDArray[np.float32]:
        """The photograph behind: it jumps between frames, because cameras follow the target."""
        rng = self.rng
        zoom = max(self.photo_zoom * np.exp(rng.normal(0, 0.1)), side / min(self.photo.shape[:2]) * 0.6)
        place = self.photo_place + rng.normal(0, 60, 2)
        turn = np.asarray(cv2.getRotationMatrix2D(tuple(place), float(rng.normal(0, 3)), float(zoom)), np.float64)
        turn[:, 2] += side / 2 - place
        picture = cv2.warpAffine(
            self.photo, turn, (side, side),
            flags=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101,
        )  # fmt: skip
        gain = np.exp(rng.normal(0, 0.08))
        return np.asarray(np.clip(picture * np.float32(gain), 0, 255), np.float32)

    def _other(self, cut: Image, target: Image, scale: float, side: int, centre: Floats) -> _Layer:
        """Another thing, about as large as the target, somewhere around it."""
        rng = self.rng
        longer = max(target.shape[:2]) * scale
        size = longer * float(np.exp(rng.normal(0, 0.35))) / max(cut.shape[:2])
        if rng.random() < 0.5:
            cut = _spin(cut, rng.normal(0, 30))
        away = rng.normal(0, 1, 2)
        away *= rng.uniform(0.55, 1.6) * longer / max(float(np.linalg.norm(away)), 1e-6)
        return _relight(_paste(cut, size, centre + away, side, self.softness), rng)

    def _film(self, picture: NDArray[np.float32]) -> Image:
        """What happens between the scene and the decoded crop."""
        rng = self.rng
        if rng.random() < 0.3:
            picture = np.asarray(cv2.filter2D(picture, -1, _motion_kernel(rng)), np.float32)
        side = len(picture)
        small = max(16, round(side / (self.coarseness * float(np.exp(rng.normal(0, 0.1))))))
        coarse = np.asarray(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), np.float32)
        coarse = coarse * np.float32(np.exp(rng.normal(0, 0.08))) + np.float32(rng.normal(0, 5))
        coarse += rng.normal(0, rng.uniform(0, 5), coarse.shape).astype(np.float32)
        filmed = np.clip(coarse, 0, 255).astype(np.uint8)
        _, packed = cv2.imencode(".jpg", filmed, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        seen = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        return np.asarray(cv2.resize(seen, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def _paste(cut: Image, scale: float, centre: Floats, side: int, softness: float) -> _Layer:
    """A cut-out enlarged by `scale` with its middle at `centre`."""
    height, width = cut.shape[:2]
    alpha = cut[..., 3:].astype(np.float32) / 255
    solid = np.dstack([cut[..., :3] * alpha, alpha[..., 0]]).astype(np.float32)
    if scale < 0.6:   # bilinear sampling alone would skip pixels
        small = max(1, round(width * scale)), max(1, round(height * scale))
        step_x, step_y = small[0] / width, small[1] / height
        solid = np.asarray(cv2.resize(solid, small, interpolation=cv2.INTER_AREA), np.float32)
    else:
        step_x = step_y = 1.0
    to_crop = np.array(
        [[scale / step_x, 0, centre[0] - scale * width / 2], [0, scale / step_y, centre[1] - scale * height / 2]]
    )
    to_crop[:, 2] += (to_crop[:, :2].sum(axis=1) - 1) / 2   # OpenCV counts from the middle of the first pixel
    placed = cv2.warpAffine(solid, to_crop, (side, side), flags=cv2.INTER_LINEAR)
    blurred: NDArray[np.float32] = np.asarray(cv2.GaussianBlur(placed, (0, 0), softness), np.float32)
    return _Layer(blurred[..., :3], blurred[..., 3])


def _box_of(cut: Image, scale: float, centre: Floats) -> Floats:
    extent = np.array(cut.shape[1::-1]) * scale / 2
    return np.concatenate([centre - extent, centre + extent])


def _spin(cut: Image, degrees: float) -> Image:
    """Turned about its middle, tightly cropped again."""
    if abs(degrees) < 1:
        return cut
    height, width = cut.shape[:2]
    reach = int(np.ceil(np.hypot(height, width))) + 2
    turn = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0), np.float64)
    turn[:, 2] += reach / 2 - np.array([width / 2, height / 2])
    return _tight_alpha(cv2.warpAffine(cut, turn, (reach, reach), flags=cv2.INTER_LINEAR))


def _bend(cut: Image, strength: float, rng: np.random.Generator) -> Image:
    """Non-rigid: every point is moved by a smooth random field of `strength` times the side; also sheared a little."""
    if strength <= 0:
        return cut
    height, width = cut.shape[:2]
    margin = int(np.ceil(1.5 * strength * max(height, width))) + 1
    padded = cv2.copyMakeBorder(cut, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    rows, columns = padded.shape[:2]
    field = rng.normal(0, strength, (4, 4, 2)).astype(np.float32) * np.float32(max(height, width) / 2)
    moved = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC)
    y, x = np.indices((rows, columns), np.float32)
    bent = cv2.remap(padded, x + moved[..., 0], y + moved[..., 1], cv2.INTER_LINEAR)
    return _tight_alpha(bent)


def _tight_alpha(picture: NDArray[Any]) -> Image:
    return np.ascontiguousarray(tight(np.asarray(picture, np.uint8)))


def _colour_shift(rng: np.random.Generator, strength: float) -> tuple[int, float, float]:
    """Hue (of 180), saturation factor, brightness factor."""
    return (
        int(rng.normal(0, 40 * strength)),
        float(np.exp(rng.normal(0, 0.35 * strength))),
        float(np.exp(rng.normal(0, 0.3 * strength))),
    )


def _recolour(cut: Image, shift: tuple[int, float, float]) -> Image:
    hue, saturation, brightness = shift
    hsv = cv2.cvtColor(np.ascontiguousarray(cut[..., :3]), cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + hue) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] * (saturation, brightness), 0, 255)
    return np.dstack([cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), cut[..., 3]])


def _relight(layer: _Layer, rng: np.random.Generator) -> _Layer:
    """Brighter or darker, and more so on one side."""
    side = len(layer.alpha)
    across = np.linspace(-1, 1, side, dtype=np.float32)
    slope = rng.normal(0, 0.12, 2).astype(np.float32)
    gain = np.float32(np.exp(rng.normal(0, 0.1))) * (1 + slope[0] * across[None, :] + slope[1] * across[:, None])
    layer.colours[...] *= gain[..., None]
    return layer


def _frame_edge(
    picture: NDArray[np.float32], shown: NDArray[np.bool_], centre: Floats, rng: np.random.Generator, template: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Beyond the frame's edge crops show its mean colour; the edge may cut through the target."""
    if rng.random() > (0.1 if template else 0.2):
        return picture, shown
    side = len(picture)
    axis, far = int(rng.integers(2)), bool(rng.integers(2))
    reach = rng.uniform(0.02 if not template else 0.2, 0.4) * side
    edge = round(float(centre[axis]) + (reach if far else -reach))
    beyond = slice(max(edge, 0), None) if far else slice(0, max(edge, 0))
    index = (slice(None), beyond) if axis == 0 else (beyond, slice(None))
    picture, shown = picture.copy(), shown.copy()
    picture[index] = picture.mean(axis=(0, 1))
    shown[index] = False
    return picture, shown


def _motion_kernel(rng: np.random.Generator) -> NDArray[np.float32]:
    """A line of 3 to 13 px in any direction."""
    length = int(rng.integers(1, 7)) * 2 + 1
    kernel = np.zeros((length, length), np.float32)
    angle, middle = rng.uniform(0, np.pi), length // 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * middle
    ends = [tuple(round(middle + sign * part) for part in reach) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)
