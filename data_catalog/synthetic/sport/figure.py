"""Drawing a person: shaded, tapered limbs that hide one another by depth, with premultiplied alpha."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.sport.athlete import JOINT, Floats

Colour = tuple[int, int, int]
Image = NDArray[np.uint8]

SUPERSAMPLE: Final = 2
_SHIFT: Final = 3  # fractional bits of the polygon corners
_ROUND: Final = np.stack([np.cos(np.linspace(0, 2 * np.pi, 11)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 11)[:-1])], -1)
_SKINS: Final[tuple[Colour, ...]] = (
    (246, 206, 176), (232, 184, 148), (214, 160, 120), (182, 124, 84), (140, 92, 62), (104, 68, 48),
)  # fmt: skip
_HAIRS: Final[tuple[Colour, ...]] = ((32, 26, 24), (66, 42, 28), (120, 78, 40), (206, 168, 96), (150, 60, 34))
_SUITS: Final[tuple[Colour, ...]] = (
    (200, 28, 44), (22, 40, 120), (16, 16, 24), (250, 196, 30), (18, 130, 84), (120, 30, 130), (236, 110, 24),
)  # fmt: skip


class Part(NamedTuple):
    """A convex piece of the body: the hull of circles at joints (radii in metres)."""

    colour: str
    circles: tuple[tuple[str, float], ...]
    nearer: float = 0.0  # metres added to its depth, so that a suit is drawn over the trunk


@dataclass(frozen=True)
class Look:
    """What a person wears and looks like: colours by name, and the parts they are made of."""

    colours: dict[str, Colour]
    parts: tuple[Part, ...]
    height_m: float


def _limbs(arm: str, forearm: str, thigh: str, shank: str, foot: str) -> list[Part]:
    parts = []
    for side in ("l", "r"):
        parts += [
            Part(arm, ((f"shoulder_{side}", 0.062), (f"elbow_{side}", 0.045))),
            Part(forearm, ((f"elbow_{side}", 0.046), (f"wrist_{side}", 0.032))),
            Part("skin", ((f"wrist_{side}", 0.036), (f"finger_{side}", 0.024))),
            Part(thigh, ((f"hip_{side}", 0.098), (f"knee_{side}", 0.062))),
            Part(shank, ((f"knee_{side}", 0.066), (f"ankle_{side}", 0.040))),
            Part(foot, ((f"heel_{side}", 0.036), (f"ankle_{side}", 0.042), (f"toe_{side}", 0.026))),
        ]
    return parts


def _head(bun: bool) -> list[Part]:
    parts = [
        Part("skin", (("neck", 0.055), ("head", 0.06))),
        Part("hair", (("nape", 0.108), ("head", 0.098))),
        Part("skin", (("face", 0.082), ("head", 0.062))),
    ]
    return [*parts, Part("hair", (("nape", 0.07), ("nape", 0.125)), -0.04)] if bun else parts


def _trunk(colour: str) -> Part:
    return Part(
        colour,
        (
            ("shoulder_l", 0.062), ("shoulder_r", 0.062), ("chest", 0.112),
            ("waist", 0.105), ("hip_l", 0.09), ("hip_r", 0.09),
        ),
    )  # fmt: skip


def diver_look(rng: np.random.Generator) -> Look:
    """A diver in trunks or a one-piece."""
    one_piece = bool(rng.random() < 0.5)
    skin, hair = _SKINS[rng.integers(len(_SKINS))], _HAIRS[rng.integers(len(_HAIRS))]
    suit, trim = (_SUITS[k] for k in rng.choice(len(_SUITS), 2, replace=False))
    parts = _limbs("skin", "skin", "skin", "skin", "skin") + _head(one_piece)
    if one_piece:
        parts += [
            _trunk("suit"),
            Part("trim", (("chest_front", 0.035), ("belly_front", 0.03)), 0.05),
            Part("suit", (("pelvis", 0.085), ("hip_l", 0.092), ("hip_r", 0.092)), 0.02),
        ]
    else:
        parts += [
            _trunk("skin"),
            Part("suit", (("waist", 0.075), ("pelvis", 0.1), ("hip_l", 0.104), ("hip_r", 0.104)), 0.04),
        ]
    return Look({"skin": skin, "hair": hair, "suit": suit, "trim": trim}, tuple(parts), rng.uniform(1.62, 1.8))


def skater_look(rng: np.random.Generator) -> Look:
    """A figure skater: dress or trousers, long sleeves, white or black boots on blades."""
    dress = bool(rng.random() < 0.55)
    skin, hair = _SKINS[rng.integers(len(_SKINS))], _HAIRS[rng.integers(len(_HAIRS))]
    suit, trim = (_SUITS[k] for k in rng.choice(len(_SUITS), 2, replace=False))
    boot = (244, 244, 248) if dress else (24, 24, 30)
    leg = "skin" if dress else "trousers"
    parts = [*_limbs("suit", "suit", leg, leg, "boot"), *_head(dress), _trunk("suit")]
    for side in ("l", "r"):
        parts.append(Part("blade", ((f"heel_{side}", 0.012), (f"toe_{side}", 0.012)), 0.01))
    if dress:
        parts.append(
            Part("trim", (("waist", 0.07), ("hip_l", 0.15), ("hip_r", 0.15), ("pelvis", 0.14)), 0.03)
        )
    else:
        parts.append(Part("trim", (("chest_front", 0.035), ("belly_front", 0.03)), 0.05))
    colours = {
        "skin": skin, "hair": hair, "suit": suit, "trim": trim,
        "boot": boot, "trousers": (26, 26, 34), "blade": (120, 128, 140),
    }  # fmt: skip
    return Look(colours, tuple(parts), rng.uniform(1.58, 1.78))


def official_look(rng: np.random.Generator) -> Look:
    """Somebody in a track suit at the edge: not an athlete of this clip."""
    suit, trim = (_SUITS[k] for k in rng.choice(len(_SUITS), 2, replace=False))
    colours = {
        "skin": _SKINS[rng.integers(len(_SKINS))],
        "hair": _HAIRS[rng.integers(len(_HAIRS))],
        "suit": suit, "trousers": (36, 40, 52), "boot": (235, 235, 235), "trim": trim,
    }  # fmt: skip
    parts = _limbs("suit", "suit", "trousers", "trousers", "boot") + _head(False)
    return Look(colours, (*parts, _trunk("suit")), rng.uniform(1.6, 1.85))


def _tone(colour: Colour, gain: float) -> tuple[int, int, int, int]:
    red, green, blue = (min(255, round(channel * gain)) for channel in colour)
    return red, green, blue, 255


class DrawnPerson:
    """Everything of one person's clip that can be computed at once, then drawn instant by instant.

    Args:
        joints: (F, S, 27, 3) panorama x, y and nearness in pixels, for F frames and S sub-frame instants.
        look: who it is.
        px_per_m: scale of the projection.
    """

    def __init__(self, joints: Floats, look: Look, px_per_m: float) -> None:
        self.look = look
        self.joints = joints
        scale = px_per_m * look.height_m / 1.72
        self.margin_px = 0.2 * scale
        self._dark: list[Floats] = []
        self._light: list[Floats] = []
        depths = []
        for part in look.parts:
            index = [JOINT[name] for name, _ in part.circles]
            radius = np.array([r for _, r in part.circles]) * scale
            centre = joints[..., index, :]
            self._dark.append(self._outline(centre[..., :2], radius))
            lit = centre[..., :2] + np.array([-0.22, -0.30]) * radius[:, None]
            self._light.append(self._outline(lit, radius * 0.62))
            depths.append(centre[..., 2].mean(axis=-1) + part.nearer * scale)
        self._order_of = np.argsort(np.stack(depths, axis=-1), axis=-1, kind="stable")
        self._tones = [(_tone(look.colours[p.colour], 0.80), _tone(look.colours[p.colour], 1.08)) for p in look.parts]

    @staticmethod
    def _outline(centre: Floats, radius: Floats) -> Floats:
        """Corner points (F, S, 10 × circles, 2) whose hull is the part."""
        ring = centre[..., None, :] + radius[:, None, None] * _ROUND
        outline: Floats = ring.reshape(*ring.shape[:2], -1, 2)
        return outline

    def bounds(self, frame: int) -> tuple[float, float, float, float]:
        """Panorama x0, y0, x1, y1 that surely hold the person in all instants of `frame`."""
        flat = self.joints[frame, ..., :2].reshape(-1, 2)
        low, high = flat.min(axis=0) - self.margin_px, flat.max(axis=0) + self.margin_px
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def draw(self, frame: int, instant: int, corner: tuple[float, float], size: tuple[int, int]) -> Image:
        """Premultiplied RGBA (h, w, 4) uint8 of one instant.

        Args:
            frame: index of the frame.
            instant: index of the sub-frame.
            corner: panorama position of the layer's top left pixel corner.
            size: (w, h) of the layer in frame pixels.
        """
        canvas = np.zeros((size[1] * SUPERSAMPLE, size[0] * SUPERSAMPLE, 4), np.uint8)
        offset = np.array(corner)
        gain = SUPERSAMPLE * (1 << _SHIFT)
        half = (1 << _SHIFT) / 2.0
        for part in self._order_of[frame, instant]:
            for outline, tone in zip((self._dark[part], self._light[part]), self._tones[part], strict=True):
                corners = np.rint((outline[frame, instant] - offset) * gain - half).astype(np.int32)
                cv2.fillConvexPoly(canvas, cv2.convexHull(corners), tone, cv2.LINE_8, _SHIFT)
        return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)
