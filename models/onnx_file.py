"""Reads ONNX networks through OpenCV, without the files beside them that ONNX may name ("external data").

OpenCV opens whatever path such a tensor names, and the digest of the weights doesn't cover it. The file is looked
through as protocol buffers, field by field: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# Which fields of a message are messages that tensors can be in, by their numbers.
INNER: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # of a tensor
MAX_DEPTH = 100  # as deep as protobuf's own parsers go


def read_onnx(file: Path) -> Any:
    """The network of an ONNX file, for OpenCV's CPU engine; nothing but this file is read.

    Raises:
        ValueError: it refers to other files, or is no ONNX network that OpenCV reads.
        OSError: it can't be read.
    """
    content = file.read_bytes()
    check_onnx(file, content)
    try:
        return cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
    except cv2.error as exc:
        raise ValueError(f"weights {file} are not an ONNX network that OpenCV {cv2.__version__} reads") from exc


def check_onnx(file: Path, content: bytes | None = None) -> None:
    """Raise ValueError where an ONNX file has weights in other files, or is damaged; OSError where it can't be read."""
    try:
        external = _has_external_data("model", memoryview(file.read_bytes() if content is None else content), 0)
    except (ValueError, IndexError) as exc:
        raise ValueError(f"weights {file} are not an ONNX network: {exc}") from exc
    if external:
        raise ValueError(
            f"weights {file} keep tensors in other files (ONNX external data), which are not read; "
            "save the network as one file"
        )


def _has_external_data(kind: str, message: memoryview, depth: int) -> bool:
    if depth > MAX_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    if kind == "tensor":
        return any(
            number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0) for number, value in _fields(message)
        )
    inner = INNER[kind]
    return any(
        _has_external_data(inner[number], value, depth + 1)
        for number, value in _fields(message)
        if number in inner and isinstance(value, memoryview)
    )


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field of a protocol buffer. Raises ValueError, IndexError where it is damaged."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        match wire:
            case 0:  # a number
                value, at = _varint(message, at)
                yield number, value
                continue
            case 1:
                size = 8
            case 5:
                size = 4
            case 2:  # text, bytes or a message, behind its length
                size, at = _varint(message, at)
            case _:
                raise ValueError("it holds what no ONNX file does")
        if at + size > len(message):
            raise ValueError("it is truncated")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it holds a number of more than ten bytes")
