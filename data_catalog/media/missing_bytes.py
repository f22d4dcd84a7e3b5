"""Is a video file whole? What a container says of its own length, in bytes, is compared with what is there.

A download that broke off keeps its header. How many bytes, frames or seconds the header announces is believed only as
far as something can be found missing: many whole files announce more frames than they show (edit lists, frames that a
capture card dropped).
"""

import os
import struct

from data_catalog.system import read_at

# EBML: the identifiers that a Matroska file starts with, and the size that means "until the end of the file".
EBML_HEADER, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def announced_bytes(descriptor: int, format_name: str) -> int | None:
    """How long the file is by its own account.

    Args:
        descriptor: the open file; its position does not change.
        format_name: FFmpeg's name of the container format.

    Returns:
        Bytes, or None where the container does not say.
    """
    if format_name.startswith("mov,"):
        return _mp4_bytes(descriptor)
    if format_name.startswith("matroska"):
        return _matroska_bytes(descriptor)
    return _avi_bytes(descriptor) if format_name == "avi" else None


def _mp4_bytes(descriptor: int) -> int | None:
    """End of the last box of the top level that holds pictures or their index."""
    size, position, end = os.fstat(descriptor).st_size, 0, None
    while position + 8 <= size:
        head = read_at(descriptor, 16, position)
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
        if length < 8:   # 0: this box extends to the end, wherever that is; the rest is no box
            return end
        position += length
        if kind in (b"mdat", b"moov", b"moof"):
            end = position
    return end


def _avi_bytes(descriptor: int) -> int | None:
    """End of the last RIFF chunk: files over 1 GB have several."""
    size, position, end = os.fstat(descriptor).st_size, 0, None
    while position + 8 <= size:
        kind, length = struct.unpack("<4sI", read_at(descriptor, 8, position))
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):   # a recorder that never came to fill it in
            return end
        position = end = position + 8 + length + length % 2
    return end


def _matroska_bytes(descriptor: int) -> int | None:
    position = 0
    for identifier in (EBML_HEADER, SEGMENT):
        head = read_at(descriptor, 12, position)
        if head[:4] != identifier:
            return None
        width = 9 - head[4].bit_length() if len(head) > 4 and head[4] else 0
        if not width or len(head) < 4 + width:
            return None
        length = int.from_bytes(head[4 : 4 + width]) & ((1 << 7 * width) - 1)
        if length == (1 << 7 * width) - 1:   # unknown: written as a stream
            return None
        position += 4 + width + length
    return position
