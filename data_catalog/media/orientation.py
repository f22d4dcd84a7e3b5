"""How a stored picture has to be turned, so that it stands upright."""

from dataclasses import dataclass
from typing import TypeVar

import av.video.frame
import numpy as np
from av.sidedata.sidedata import SideData
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", np.uint8, np.uint16)


@dataclass(frozen=True)
class Orientation:
    """What a display matrix asks for: first quarter turns counter-clockwise, then mirroring left to right."""

    quarter_turns: int = 0
    mirrored: bool = False

    @property
    def rotation_deg(self) -> int:
        """The counter-clockwise turn: 0, 90, 180 or 270."""
        return 90 * self.quarter_turns

    def size_wh(self, width: int, height: int) -> tuple[int, int]:
        """Width and height, in pixels, of a stored picture of this size when upright."""
        return (height, width) if self.quarter_turns % 2 else (width, height)

    def upright(self, image: NDArray[Pixel]) -> NDArray[Pixel]:
        """Turn a stored (H, W, 3) image upright."""
        if not self.quarter_turns and not self.mirrored:
            return image
        turned = np.rot90(image, self.quarter_turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)


def orientation(frame: av.video.frame.VideoFrame) -> Orientation:
    """Read the display matrix that comes with a frame.

    It maps stored to shown coordinates, (x, y) · [[a, b], [c, d]], 16.16 fixed point. A negative determinant means
    mirrored. Angles other than quarter turns are rounded, as players do.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation()
    assert isinstance(matrix, SideData)
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(float)
    mirrored = bool(a * d - b * c < 0)
    if mirrored:              # undo a horizontal mirroring of the shown image, leaving a pure rotation
        a, c = -a, -c
    return Orientation(round(float(np.degrees(np.arctan2(-b, a))) / 90) % 4, mirrored)
