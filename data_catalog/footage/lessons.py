"""Pairs for a Siamese tracker out of labelled footage: what it was shown, and where it has to find it again.

The search crop lies where a tracker would put it whose last box was wrong: beside the person, too large, too small,
around a part of them. So the network learns to say where all of the person is whatever it is shown, and a box that
once shrank to a shirt grows again. Some crops are turned, because athletes are; in some somebody else stands beside or
before the person; in some the person is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.footage.labelled import LabelledClip, LabelledPerson
from data_catalog.synthetic.composites.camera_faults import spoil
from data_catalog.synthetic.composites.sequences import CropForm

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

NEAR: Final = 12          # labels between the two frames of every second pair, at most
ABSENT: Final = 0.12      # share of pairs whose person is not in the search crop
COMPANY: Final = 0.25     # share of the others with somebody pasted in
HIDDEN: Final = 0.45      # of the person, at most, by who is pasted in
TURNED: Final = 0.3       # share of search crops turned anyhow, while the template is not
COARSE: Final = 0.25      # share of pairs whose person is small in the frame: both crops have few pixels of them
TUMBLED: Final = 0.1      # share of pairs turned anyhow together


@dataclass(frozen=True, eq=False)
class Pair:
    """One lesson.

    Attributes:
        template: (T, T, 3) uint8 RGB.
        search: (S, S, 3) uint8 RGB.
        box: (4,) float64 xyxy, all of the person, in pixels from the search crop's middle.
        mask: (S, S) float32, 0 to 1, what is seen of the person.
        present: whether the template shows the person of the search crop.
    """

    template: Image
    search: Image
    box: Floats
    mask: NDArray[np.float32]
    present: bool


class Lessons(Protocol):
    """Draws pairs; which one depends on the generator alone."""

    def draw(self, rng: np.random.Generator) -> Pair:
        """One pair."""
        ...


class MixedLessons:
    """Lessons of several kinds: each with the share of pairs that come from it."""

    def __init__(self, kinds: Sequence[tuple[float, Lessons]]) -> None:
        self._kinds = [lessons for _, lessons in kinds]
        shares = np.array([share for share, _ in kinds], np.float64)
        self._shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> Pair:
        """One pair."""
        return self._kinds[int(rng.choice(len(self._kinds), p=self._shares))].draw(rng)


@dataclass(frozen=True, eq=False)
class _Label:
    """One person in one frame."""

    clip: LabelledClip
    person: LabelledPerson
    index: int

    @property
    def frame(self) -> Image:
        return np.asarray(self.clip.frames[self.person.frames[self.index]])

    @property
    def box(self) -> Floats:
        return np.asarray(self.person.boxes[self.index])

    @property
    def middle(self) -> Floats:
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def size(self) -> Floats:
        return self.box[2:] - self.box[:2]

    @property
    def mask(self) -> NDArray[np.float32]:
        return self.person.mask(self.index, self.clip.frames.shape[2]).astype(np.float32)


class Pairs:
    """Draws pairs out of clips.

    Args:
        kinds: clips by kind, each with the share of pairs that come from it. Of a kind every clip is drawn as often as
            any other, however long it is, and of a clip every person.
        form: sizes of the crops.

    Raises:
        ValueError: nobody is labelled in any of them.
    """

    def __init__(self, kinds: Mapping[str, tuple[float, Sequence[LabelledClip]]], form: CropForm) -> None:
        usable = {name: (share, [clip for clip in clips if clip.people]) for name, (share, clips) in kinds.items()}
        self._clips = [clips for _, clips in usable.values() if clips]
        shares = np.array([share for share, clips in usable.values() if clips], np.float64)
        if not len(shares):
            raise ValueError("nobody is labelled in this footage")
        self._shares = shares / shares.sum()
        self._form = form

    def draw(self, rng: np.random.Generator) -> Pair:
        """One pair."""
        searched, shown = self._two(rng)
        present = True
        if rng.random() < ABSENT:
            other = self._label(rng)
            if other.clip is not searched.clip:   # of one clip two people may be one and the same
                shown, present = other, False
        flip = rng.random() < 0.5
        shown_turn, turn = _turns(rng)
        template = cut(shown.frame, self._template_window(shown, shown_turn, flip, rng), self._form.template_px)
        window = self._search_window(searched, turn, flip, rng)
        search = cut(searched.frame, window, self._form.search_px)
        mask = cut(searched.mask, window, self._form.search_px)
        box = _box_in(searched, window)
        if present and rng.random() < COMPANY:
            search, mask = self._with_company(search, mask, box, searched, rng)
        if rng.random() < COARSE:
            pixels = rng.uniform(0.25, 0.7)
            template, search = _coarse(template, pixels), _coarse(search, pixels)
        return Pair(spoil(template, rng), spoil(search, rng), box - self._form.search_px / 2, mask, present)

    def _label(self, rng: np.random.Generator) -> _Label:
        clips = self._clips[int(rng.choice(len(self._clips), p=self._shares))]
        clip = clips[int(rng.integers(len(clips)))]
        person = clip.people[int(rng.integers(len(clip.people)))]
        return _Label(clip, person, int(rng.integers(len(person.frames))))

    def _two(self, rng: np.random.Generator) -> tuple[_Label, _Label]:
        """A person where they are looked for, and as they were shown: any frame, or one nearby."""
        label = self._label(rng)
        count = len(label.person.frames)
        other = int(rng.integers(count))
        if rng.random() < 0.5:
            other = int(np.clip(label.index + rng.integers(-NEAR, NEAR + 1), 0, count - 1))
        return label, _Label(label.clip, label.person, other)

    def _template_window(self, label: _Label, turn: float, flip: bool, rng: np.random.Generator) -> Floats:
        """First boxes are not exact."""
        size = label.size * np.exp(rng.normal(0, 0.08, 2))
        middle = label.middle + rng.normal(0, 0.04, 2) * label.size
        return window_at(middle, self._form.scale(size), self._form.template_px, turn, flip)

    def _search_window(self, label: _Label, turn: float, flip: bool, rng: np.random.Generator) -> Floats:
        """Where a tracker looks: mostly around the person, sometimes far beside, too near or too wide."""
        wrong = rng.normal(0, 0.22) if rng.random() < 0.8 else rng.uniform(-0.9, 0.6)
        scale = self._form.scale(label.size * np.exp(rng.normal(0, 0.1, 2))) / np.exp(wrong)
        away = rng.normal(0, 0.07, 2) if rng.random() < 0.6 else rng.uniform(-0.36, 0.36, 2)
        middle = label.middle + away * self._form.search_px / scale
        return window_at(middle, scale, self._form.search_px, turn, flip)

    def _with_company(
        self, search: Image, mask: NDArray[np.float32], box: Floats, own: _Label, rng: np.random.Generator
    ) -> tuple[Image, NDArray[np.float32]]:
        """Somebody of another clip pasted in, at about the person's size, behind them more often than before them."""
        other = self._label(rng)
        if other.clip is own.clip:
            return search, mask
        size = box[2:] - box[:2]
        scale = np.sqrt(size.prod() / other.size.prod()) * np.exp(rng.normal(0, 0.2))
        direction = rng.uniform(0, 2 * np.pi)
        away = rng.uniform(0.5, 1.6) * size * [np.cos(direction), np.sin(direction)]
        window = window_at(other.middle, scale, self._form.search_px, rng.normal(0, 0.15), rng.random() < 0.5)
        window[:, 2] += (box[:2] + box[2:]) / 2 - self._form.search_px / 2 + away
        alpha = cv2.GaussianBlur(cut(other.mask, window, self._form.search_px), (3, 3), 0)
        if rng.random() < 0.6:
            alpha = alpha * (1 - mask)
        if (alpha * mask).sum() > HIDDEN * max(float(mask.sum()), 1.0):
            return search, mask
        theirs = cut(other.frame, window, self._form.search_px).astype(np.float32)
        pasted = search + (theirs - search) * alpha[..., None]
        return pasted.astype(np.uint8), np.asarray(mask * (1 - alpha), np.float32)


def _turns(rng: np.random.Generator) -> tuple[float, float]:
    """Angles of template and search crop."""
    drawn = rng.random()
    if drawn < TURNED:
        return rng.normal(0, 0.08), rng.uniform(-np.pi, np.pi)
    shown = rng.uniform(-np.pi, np.pi) if drawn < TURNED + TUMBLED else rng.normal(0, 0.08)
    return shown, shown + rng.normal(0, 0.15)


def window_at(middle: Floats, scale: float, side: int, turn: float = 0.0, flip: bool = False) -> Floats:
    """(2, 3) float64 map of a picture's pixels to those of a crop of `side` px with `middle` (2,) in its middle."""
    turned = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if flip:
        turned[0] *= -1
    return np.column_stack([turned, side / 2 - turned @ middle])


def cut(picture: NDArray[Any], window: Floats, side: int) -> NDArray[Any]:
    """What a window (2, 3) float64 shows of a picture (H, W) or (H, W, 3), in its dtype.

    Beyond the edges it shows the mean colour, of masks nothing.
    """
    to_crop = window.copy()
    to_crop[:, 2] += to_crop[:, :2] @ [0.5, 0.5] - 0.5   # OpenCV counts from the middle of the first pixel
    beyond = picture[::8, ::8].mean(axis=(0, 1)).tolist() if picture.ndim == 3 else 0.0
    return cv2.warpAffine(picture, to_crop, (side, side), flags=cv2.INTER_LINEAR, borderValue=beyond)


def _coarse(crop: Image, share: float) -> Image:
    """A crop (S, S, 3) out of a frame that had `share` as many pixels a side."""
    small = cv2.resize(crop, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _box_in(label: _Label, window: Floats) -> Floats:
    """Box (4,) xyxy around all of a person, also beyond the crop."""
    edges, _ = cv2.findContours(label.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = (np.concatenate(edges)[:, 0] + 0.5) @ window[:, :2].T + window[:, 2]
    half = np.hypot(*window[0, :2]) / 2   # of a pixel, whose middle the points are
    return np.concatenate([points.min(axis=0) - half, points.max(axis=0) + half])
