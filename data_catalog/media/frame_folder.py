"""A clip given as a folder of images, one file a frame."""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import BadVideo
from data_catalog.media.regular_file import read_regular

# Kinds of one line are frames of one clip. A later line counts only where none of an earlier line is there: beside
# JPEG or PNG frames, a WebP or BMP file is a preview or a leftover.
IMAGE_KINDS = (frozenset({".jpg", ".jpeg", ".png"}), frozenset({".webp", ".bmp", ".tif", ".tiff"}))
IMAGE_SUFFIXES = frozenset().union(*IMAGE_KINDS)
MAX_PIXELS = 8192 * 8192
READ_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which digits compare as numbers: img_2 < img_10, 01_99 < 01_100."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def is_image(name: str) -> bool:
    """Whether a file of this name counts as a frame; hidden files (macOS leaves ``._img.jpg``) do not."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def has_frames(folder: str | Path) -> bool:
    """Whether `folder`, or a folder directly inside it, holds an image; stops at the first."""
    if has_images(folder):
        return True
    with os.scandir(folder) as entries:
        return any(entry.is_dir(follow_symlinks=False) and has_images(entry.path) for entry in entries)


def frames_folder(folder: Path) -> Path:
    """Where the frames of the clip `folder` lie: in it, or else in the one folder inside it that holds images.

    Raises:
        BadVideo: several folders inside hold images.
        OSError: the folder is missing or may not be read.
    """
    if has_images(folder):
        return folder
    inside = _nested(folder)
    if len(inside) > 1:
        names = ", ".join(entry.name for entry in inside[:5])
        raise BadVideo(
            f"Frame folder {folder} holds images in {len(inside)} folders ({names}).",
            "Name the one that is meant in the video column.",
        )
    return inside[0] if inside else folder


def has_images(folder: str | Path) -> bool:
    """Whether `folder` directly holds at least one image file; stops at the first."""
    if not os.path.isdir(folder):
        return False
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) for entry in entries)


def _nested(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.iterdir()) if not entry.is_symlink() and has_images(entry)]


def list_images(folder: Path) -> list[Path]:
    """The frames of `folder` in order: its images sorted by name with numbers as numbers.

    JPEG and PNG files; where there are none, WebP, BMP and TIFF. They lie in the folder itself or one level deeper.

    Raises:
        BadVideo: the folder holds no image, or several folders inside it do.
    """
    files = [file for file in frames_folder(folder).iterdir() if is_image(file.name)]
    for kinds in IMAGE_KINDS:
        images = [file for file in files if file.suffix.lower() in kinds]
        if images:
            return sorted(images, key=lambda file: (natural_key(file.name), file.name))
    raise BadVideo(
        f"Frame folder {folder} has zero frames.", "Put its frames there as .jpg or .png files, numbered by name."
    )


def read_image(file: Path, root: Path | None = None) -> NDArray[np.uint8]:
    """Read one image.

    Args:
        file: a JPEG, PNG, WebP, BMP or TIFF file.
        root: the folder that it has to lie in, links resolved; None allows every place.

    Returns:
        (H, W, 3) uint8 RGB; grayscale is repeated, 16 bits are cut to 8, EXIF orientation applied.

    Raises:
        BadVideo: the file does not decode, is too large, no regular file, or a link that leaves `root`.
        OSError: the file is missing or may not be read.
    """
    return decode_image(read_regular(file, root), file)


def decode_image(data: bytes, file: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB out of the bytes of an image `file`, as `read_image`. Raises BadVideo."""
    import cv2  # here, as the catalog lists the files of frame folders and decodes none

    _check_size(data, file)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError):
        image = None
    if image is None:
        raise _undecodable(file)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _undecodable(file: Path) -> BadVideo:
    return BadVideo(f"Image {file} cannot be decoded.", "Write that frame again, or delete the file.")


def _check_size(data: bytes, file: Path) -> None:
    """Only the header is read: a few kilobytes can announce, and fill, gigabytes of pixels."""
    import PIL.Image  # as above

    try:
        with PIL.Image.open(io.BytesIO(data), formats=READ_FORMATS) as header:
            width, height = header.size
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError, ImportError) as exc:
        # ImportError: ultralytics, once imported, has Pillow look for a plug-in where it knows no format.
        raise _undecodable(file) from exc
    if width * height > MAX_PIXELS:
        raise BadVideo(f"Image {file} has {width}x{height} pixels, too many to decode.", "Write it smaller.")


def clip_files(folder: Path) -> Iterator[Path]:
    """Every regular file that can be part of the clip `folder`, in the order of their names.

    Those directly inside; where the frames lie one level deeper, those of that folder follow.
    """
    folders = [folder] if has_images(folder) else [folder, *_nested(folder)]
    for one in folders:
        yield from sorted(entry for entry in one.iterdir() if entry.is_file())
