"""athlete-n: our own first-frame detector. Its weights ship with Tubeflow.

Trained on composed pictures for what detectors trained on everyday photographs miss: people who are small, upside
down, or folded. It is meant to be asked for faint boxes too, and to leave the choice to a policy.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.detectors.athlete_network import MEAN_RGB, STD_RGB, STRIDE, load_weights
from models.detectors.yolo import NetworkDetector

INPUT_PX = 384   # of 320 to 640 px the one whose boxes were right most often, docs/detectors.md


class AthleteDetector(NetworkDetector):
    """Finds people.

    Args:
        file: weights made by `tubeflow pretrain detector`.
        device: "cpu" or "cuda[:n]".
        min_score: boxes that score less are dropped.
        input_px: longer side of the network's input, a multiple of 32.

    Raises:
        ValueError: the file is damaged, holds a program, or another network.
    """

    def __init__(self, file: Path, device: str = "cpu", min_score: float = 0.25, input_px: int = INPUT_PX) -> None:
        super().__init__(load_weights(file), 0, STRIDE, device, min_score, input_px)

    def prepare(self, canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB (H, W, 3) as the backbone's ImageNet weights want it, same shape."""
        mean, spread = np.array(MEAN_RGB, np.float32) * 255, np.array(STD_RGB, np.float32) * 255
        return np.asarray((canvas - mean) / spread, np.float32)
