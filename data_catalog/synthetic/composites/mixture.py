"""What siammask-s learns from: sequences composed from pictures, and some cut out of the procedural dataset's clips."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_catalog.synthetic.composites.cutouts import Cast
from data_catalog.synthetic.composites.filmed import EACH, filmed_sequences
from data_catalog.synthetic.composites.sequences import CropForm, Sequence, compose

FILMED: Final = 3   # one run of `EACH` sequences in so many is filmed


class Mixture:
    """Sequence i of endlessly many; it depends on (cast, seed, i) alone.

    Args:
        cast: who acts in the composed ones.
        seed: of everything random.
        searches: search crops of a sequence.
        form: sizes of the crops.
    """

    def __init__(self, cast: Cast, seed: int, searches: int, form: CropForm) -> None:
        self._cast, self._seed, self._searches, self._form = cast, seed, searches, form
        self._film: tuple[int, list[Sequence]] = (-1, [])   # a clip is rendered once for all its sequences

    def __call__(self, index: int) -> Sequence:
        """Make it; sequences of one clip are cheap one after the other."""
        run, place = divmod(index, EACH)
        clip, kind = divmod(run, FILMED)
        if kind != FILMED - 1:
            return compose(self._cast, np.random.default_rng((self._seed, index)), self._searches, self._form)
        if self._film[0] != clip:
            self._film = clip, list(filmed_sequences(clip, self._seed, self._searches, self._form))
        return self._film[1][place]
