"""A clip given as a folder of images, one file a frame."""

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import BadVideo

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which digits compare as numbers: img_2 < img_10, 01_99 < 01_100."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def list_images(folder: Path) -> list[Path]:
    """The frames of `folder` in order: JPEG and PNG files sorted by name with numbers as numbers.

    Raises:
        BadVideo: the folder holds no image.
    """
    images = [
        file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    if not images:
        raise BadVideo(
            f"Frame folder {folder} has zero frames.", "Put its frames there as .jpg or .png files, numbered by name."
        )
    return sorted(images, key=lambda file: (natural_key(file.name), file.name))


def read_image(file: Path) -> NDArray[np.uint8]:
    """One image as (H, W, 3) uint8 RGB; grayscale is repeated, 16 bits are cut to 8, EXIF orientation applied.

    Raises:
        BadVideo: the file does not decode.
    """
    data = np.fromfile(file, np.uint8)   # not cv2.imread: it hides OSError and fails on some path names
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise BadVideo(f"Image {file} cannot be decoded.", "Write that frame again, or delete the file.")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
