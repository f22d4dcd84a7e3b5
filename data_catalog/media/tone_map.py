"""HDR pictures (HLG, PQ) as a standard display shows them.

PyAV's FFmpeg has no zscale, which does this elsewhere, so it is done here, for signals of 0 to 1:

1. To the light that the signal makes on a mastering display of 1000 cd/m². PQ: SMPTE ST 2084's EOTF. HLG: ITU-R
   BT.2100's inverse OETF, then gamma 1.2 of each colour by itself, as zscale does it (BT.2100 raises luminance
   instead, which leaves colours paler and grey the same).
2. In units of `WHITE_CD_M2`, which a standard display shows as white: BT.2020 primaries to BT.709 (ITU-R BT.2087), what
   lies outside clipped.
3. Brightness is compressed by a curve that leaves everything up to `KNEE` as it is and sends the mastering display's
   peak to 1 (FFmpeg's `tonemap=mobius`), so that skin and water keep their levels and highlights do not clip.
4. To the signal of an sRGB display (IEC 61966-2-1).

`WHITE_CD_M2` lies below the 100 cd/m² that standard video is graded for, so that its pure colours, which step 3
darkens, come back within 30 grey levels.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

HLG, PQ = "hlg", "pq"
TRANSFERS = {18: HLG, 16: PQ}   # color_trc of ITU-T H.273
WHITE_CD_M2, PEAK_CD_M2 = 86.0, 1000.0
PEAK = PEAK_CD_M2 / WHITE_CD_M2
KNEE = 0.8
HLG_GAMMA = 1.2
TO_BT709 = np.asarray(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def to_sdr(image: NDArray[np.uint16], transfer: str, wide: bool = True) -> NDArray[np.uint8]:
    """Tone-map one picture.

    Args:
        image: (H, W, 3) uint16 R'G'B' signal, 0 black and 65535 the peak.
        transfer: "hlg" or "pq".
        wide: the primaries are BT.2020's; False where they are BT.709's already.

    Returns:
        (H, W, 3) uint8 R'G'B' of a standard display.
    """
    light = _light(transfer)[image]
    if wide:
        light = light @ TO_BT709.T
    shown = compress(light.clip(0, PEAK))
    signal = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** np.float32(1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * signal.clip(0, 1)), np.uint8)


def compress(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness of any shape, 0 to `PEAK`, as 0 to 1: straight up to `KNEE`, then ever flatter, without a corner."""
    a = -(KNEE**2) * (PEAK - 1) / (KNEE**2 - 2 * KNEE + PEAK)
    b = (KNEE**2 - 2 * KNEE * PEAK + PEAK) / (PEAK - 1)
    above = np.maximum(light, np.float32(KNEE))
    bent = (b + KNEE) ** 2 / (b - a) * (above + np.float32(a)) / (above + np.float32(b))
    return np.where(light <= KNEE, light, bent).astype(np.float32)


@cache
def _light(transfer: str) -> NDArray[np.float32]:
    """(65536,) light that each signal makes on the mastering display, in units of `WHITE_CD_M2`."""
    signal = np.arange(1 << 16) / 65535
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        return (PEAK * scene**HLG_GAMMA).astype(np.float32)
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    cd_m2 = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return (cd_m2 / WHITE_CD_M2).astype(np.float32)
