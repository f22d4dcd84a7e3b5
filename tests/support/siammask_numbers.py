"""The pictures that the SiamMask numbers were made on."""

import numpy as np
from numpy.typing import NDArray


def synth(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Blocks of 8 and 32 px in random colours, (height, width, 3) uint8 BGR."""
    rng = np.random.default_rng(seed)
    fine = rng.integers(0, 256, size=((height + 7) // 8, (width + 7) // 8, 3))
    coarse = rng.integers(0, 256, size=((height + 31) // 32, (width + 31) // 32, 3))
    fine = fine.repeat(8, 0).repeat(8, 1)[:height, :width]
    coarse = coarse.repeat(32, 0).repeat(32, 1)[:height, :width]
    return ((fine + 3 * coarse) // 4).astype(np.uint8)


def scene(step: int) -> NDArray[np.uint8]:
    """Frame `step` of the sequence, (360, 640, 3) uint8 BGR: a patch of 80 x 120 px moves by (9, 5) a frame."""
    image = synth(9001, 360, 640)
    image[110 + 5 * step : 230 + 5 * step, 250 + 9 * step : 330 + 9 * step] = synth(9002, 120, 80)
    return image
