"""The tube mask of a shifted clip, in a module of its own, as the loader's reading processes import it."""

import numpy as np
from numpy.typing import NDArray

from data_catalog.pack.file import PackGeometry
from models.geometry import tube_mask


class Remask:
    """Coverage (L, Hf, Wf) float32 → tube mask (N, T, Hf, Wf) bool, as the masks stage built it."""

    def __init__(self, geometry: PackGeometry) -> None:
        self._geometry = geometry

    def __call__(self, coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tube mask (N, T, Hf, Wf) bool of coverage (L, Hf, Wf) float32."""
        g = self._geometry
        return tube_mask(coverage, g.tau, g.starts, g.segment_length, g.stride)
