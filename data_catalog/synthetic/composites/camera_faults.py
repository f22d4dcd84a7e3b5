"""What cameras and codecs do to a picture: motion blur, defocus, noise, wrong exposure, compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def streak(cutout: Image, rng: np.random.Generator) -> Image:
    """A third of the cut-outs (h, w, 4) smeared along a line of at most a sixth of their length."""
    reach = int(rng.uniform(0, 0.16) * max(cutout.shape[:2]))
    if reach < 2 or rng.random() > 0.35:
        return cutout
    kernel = np.zeros((reach, reach), np.float32)
    angle = rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)]) * (reach - 1) / 2
    middle = (reach - 1) / 2
    ends = [tuple(np.rint(middle + sign * along).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    kernel /= kernel.sum()
    framed = cv2.copyMakeBorder(cutout, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
    alpha = framed[..., 3:].astype(np.float32) / 255
    blurred = cv2.filter2D(np.dstack([framed[..., :3] * alpha, alpha * 255]), -1, kernel)
    colours = blurred[..., :3] / np.maximum(blurred[..., 3:] / np.float32(255), np.float32(1e-3))
    return np.asarray(np.clip(np.dstack([colours, blurred[..., 3:]]), 0, 255), np.uint8)


def spoil(image: Image, rng: np.random.Generator) -> Image:
    """A whole picture (H, W, 3) uint8 as a camera and a codec would have given it."""
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.4))), np.uint8)
    if rng.random() < 0.25:   # was smaller once
        scale = rng.uniform(0.4, 0.8)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    pixels = image.astype(np.float32)
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.92, 1.08, 3)
    pixels = (pixels - 128) * rng.uniform(0.7, 1.25) + 128 + rng.uniform(-20, 20)
    pixels *= gain.astype(np.float32)
    if rng.random() < 0.06:
        pixels[:] = pixels.mean(axis=2, keepdims=True)
    if rng.random() < 0.4:
        pixels += rng.normal(0, rng.uniform(1, 10), (*image.shape[:2], 1)).astype(np.float32)
    image = np.clip(pixels, 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)   # the codec does not mind RGB as BGR
    return np.asarray(image, np.uint8)
