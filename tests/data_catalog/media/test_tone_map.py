"""HDR signals, made from standard pictures by the formulas of BT.2100, come back as those pictures."""

import numpy as np
import pytest
from numpy.typing import NDArray

from data_catalog.media.tone_map import HLG, PQ, TO_BT709, to_sdr

COLOURS = np.asarray([[(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 200, 200), (90, 90, 90), (0, 0, 0)]], np.uint8)


def to_hdr(image: NDArray[np.uint8], transfer: str, wide: bool) -> NDArray[np.uint16]:
    """Put a standard picture, white at 100 cd/m², into HLG or PQ."""
    light = (image / 255) ** 2.4
    if wide:
        light = np.clip(light @ np.linalg.inv(TO_BT709.astype(float)).T, 0, None)
    if transfer == PQ:
        power = (light / 100) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    else:
        scene = (light / 10) ** (1 / 1.2)
        high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)
    return np.round(signal * 65535).astype(np.uint16)


@pytest.mark.parametrize("transfer", [HLG, PQ])
@pytest.mark.parametrize("wide", [True, False])
def test_standard_colours_come_back(transfer: str, wide: bool) -> None:
    back = to_sdr(to_hdr(COLOURS, transfer, wide), transfer, wide)
    assert np.abs(back.astype(int) - COLOURS).max() <= 30


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_brighter_is_brighter_and_nothing_clips_before_the_peak(transfer: str) -> None:
    top = 65535 if transfer == HLG else int(65535 * 0.7518)   # 1000 cd/m²
    ramp = np.repeat(np.linspace(0, top, 256).astype(np.uint16)[None, :, None], 3, axis=2)
    grey = to_sdr(ramp, transfer)[0, :, 1].astype(int)
    assert (np.diff(grey) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 255)
    assert (grey[:200] < 255).all()
