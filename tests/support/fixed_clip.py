"""A clip that is the same on every machine: lossless images of a textured figure that crosses a textured scene."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

FRAMES, SIZE_WH = 30, (320, 240)
BOXES = {"a": (40, 80, 50, 90), "b": (200, 60, 45, 80)}
LABELS = "clip_id,video,split,score,x,y,w,h\na,a,train,3.5,40,80,50,90\nb,b,test,7.25,200,60,45,80\n"


def _texture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Smooth noise from a table of sines: no random generator, no library's idea of one."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = sum(
        np.sin((x * (k % 3 + 1) + y * (k % 5 + 1) + 13.0 * seed * k) / (3.0 + 2.0 * k)) / (k + 1) for k in range(6)
    )
    channels = [128 + 55 * np.sin(waves * (1.5 + 0.4 * c) + c + seed) for c in range(3)]
    return np.round(np.stack(channels, axis=-1)).clip(0, 255).astype(np.uint8)


def write_clips(folder: Path) -> Path:
    """Two folders of PNG frames and their labels."""
    width, height = SIZE_WH
    for seed, (name, (x, y, w, h)) in enumerate(BOXES.items(), start=1):
        (folder / name).mkdir(parents=True)
        scene, figure = _texture(seed, height, width), _texture(seed + 7, h, w)
        for number in range(FRAMES):
            frame, left, top = scene.copy(), x + 2 * number * (-1) ** (seed + 1), y + number // 2
            frame[top : top + h, left : left + w] = figure
            assert cv2.imwrite(str(folder / name / f"{number:03d}.png"), frame[..., ::-1])
    (folder / "labels.csv").write_text(LABELS)
    return folder
