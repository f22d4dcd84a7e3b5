"""From an outline in the template-sized window to pixels of the frame, and to the rotated box around them.

Runs on the CPU, through OpenCV, after the network: nothing of it flows back into the search.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.trackers.siammask.anchors import TEMPLATE_PX
from models.trackers.siammask.settings import SiamMaskSettings

Rectangle = tuple[tuple[float, float], tuple[float, float], float]   # centre, size, angle in degrees: cv2.RotatedRect


def outline_to_mask(
    outline: NDArray[np.float32], window: NDArray[np.float64], frame_wh: tuple[int, int], settings: SiamMaskSettings
) -> NDArray[np.bool_]:
    """Pixels of the frame that belong to the target.

    Args:
        outline: (side, side) probabilities.
        window: (3,) x, y and side in pixels: where the outline lies in the frame.
        frame_wh: size of the frame.
        settings: threshold, and what counts outside the outline.

    Returns:
        (H, W) bool.
    """
    width, height = frame_wh
    x, y, side = window
    zoom = len(outline) / side
    if settings.exact:
        first = (side / TEMPLATE_PX - 1) / 2  # from a pixel of the crop to pixels of the frame, middle to middle
        to_frame = np.asarray([[1 / zoom, 0, x + first], [0, 1 / zoom, y + first]], np.float64)
    else:
        # The published tracker maps the frame's last pixel to the window's last: (W - 1) / W of a step too short.
        scale_x, scale_y = (width - 1) / (width * zoom), (height - 1) / (height * zoom)
        to_frame = np.asarray([[scale_x, 0, x * zoom * scale_x], [0, scale_y, y * zoom * scale_y]], np.float64)
    likely = cv2.warpAffine(
        outline, to_frame, frame_wh,
        flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(settings.outside,),
    )  # fmt: skip
    return np.asarray(likely > settings.mask_threshold)


def crop_outline_to_mask(
    outline: NDArray[np.float32], window: NDArray[np.float64], frame_wh: tuple[int, int], threshold: float
) -> NDArray[np.bool_]:
    """Pixels of the frame that belong to the target, of an outline of the whole search crop.

    Args:
        outline: (side, side) probabilities.
        window: (3,) x, y and side in continuous pixels: where the crop lies in the frame.
        frame_wh: size of the frame.
        threshold: probability from which a pixel belongs to the target.

    Returns:
        (H, W) bool.
    """
    step = window[2] / len(outline)   # pixels of the frame to a cell
    first = window[:2] + (step - 1) / 2   # the middle of the first cell, counted from the middle of the first pixel
    to_frame = np.array([[step, 0, first[0]], [0, step, first[1]]], np.float64)
    likely = cv2.warpAffine(outline, to_frame, frame_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(likely > threshold)


def mask_to_rectangle(mask: NDArray[np.bool_], min_area: float) -> Rectangle | None:
    """Smallest rotated rectangle around the centres of the largest piece of a mask (H, W).

    None up to `min_area` square pixels.

    Coordinates are pixel numbers, as the published tracker has them: the centre of pixel i is i.
    """
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    areas = [cv2.contourArea(contour) for contour in contours]
    largest = int(np.argmax(areas))
    if areas[largest] <= min_area:
        return None
    (cx, cy), (width, height), angle = cv2.minAreaRect(contours[largest].reshape(-1, 2))
    return (float(cx), float(cy)), (float(width), float(height)), float(angle)


def rectangle_to_quad(rectangle: Rectangle) -> NDArray[np.float32]:
    """(4, 2) clockwise corners in continuous pixels: the rectangle grown so that it holds whole pixels."""
    (cx, cy), (width, height), angle = rectangle
    turn = np.deg2rad(angle)
    grown = abs(np.cos(turn)) + abs(np.sin(turn))   # a pixel's extent across the rectangle's sides
    corners = cv2.boxPoints(((cx + 0.5, cy + 0.5), (width + grown, height + grown), angle))
    first = int(corners.sum(axis=1).argmin())       # begin top left, as upright boxes do
    return np.roll(np.asarray(corners, np.float32), -first, axis=0)
