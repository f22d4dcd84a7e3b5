"""How many threads the libraries take in a process that shares its machine with others of its kind."""

from __future__ import annotations

import os
import sys

import cv2
from threadpoolctl import threadpool_limits


def pin_threads(count: int) -> None:
    """OpenCV, BLAS, OpenMP and torch of this process compute on `count` threads from now on."""
    cv2.setNumThreads(count)
    threadpool_limits(count)
    os.environ["OMP_NUM_THREADS"] = str(count)  # torch reads it where it isn't loaded yet
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
