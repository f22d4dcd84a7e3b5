"""Detectors by name. To add one: a file with a class that fulfils `Detector`, and a line in `DETECTORS`.

The labels' own boxes (`detector: annotation`) need no model; `tasks.detect` takes them as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.detectors.base import Detections, Detector
from models.registry import Entry, Registry
from models.weight_files import find_weights

__all__ = ["DETECTORS", "Detections", "Detector", "build_detector", "detector_weights"]


SHIPPED = Path(__file__).resolve().parent.parent / "weights"


@dataclass(frozen=True)
class DetectorEntry(Entry[Callable[..., Detector]]):
    """Where a detector is: a class that is called with `file`, `device`, `min_score`.

    `hint` says where weights come from; `shipped` is the file beside the registry that is taken when none is given;
    `takes_file` is False for a detector that needs none.
    """

    hint: str = ""
    shipped: str | None = None
    takes_file: bool = True


DETECTORS: Registry[DetectorEntry] = Registry("detector", {
    "athlete-n": DetectorEntry(
        "models.detectors.athlete:AthleteDetector",
        "athlete_n.pth comes with Tubeflow; make it again with: tubeflow pretrain detector",
        shipped="athlete_n.pth",
    ),
    "faster_rcnn": DetectorEntry(
        "models.detectors.faster_rcnn:FasterRcnnDetector",
        "torchvision's weights for COCO, which the paper used: tubeflow weights pull fasterrcnn_coco",
    ),
    "hog": DetectorEntry("models.detectors.hog:HogDetector", takes_file=False),
    "nanodet": DetectorEntry(
        "models.detectors.nanodet:NanoDetDetector",
        "NanoDet-m (416 px, COCO) is of github.com/RangiLyu/nanodet; in ONNX form: tubeflow weights pull nanodet_m",
    ),
    "yolo": DetectorEntry(
        "models.detectors.yolo:YoloDetector",
        "ultralytics' own weights are at github.com/ultralytics/assets/releases, or: tubeflow weights pull yolo11n",
    ),
}, also=("annotation",), group="tubeflow.detectors", plain=lambda target: DetectorEntry(target, takes_file=False))


def detector_weights(name: str, weights: Path | str | None) -> Path | None:
    """The file that decides what detector `name` finds, and whose digest therefore belongs in the key.

    None for a detector that has no file.

    Raises:
        WeightsNotFound: it is not given or not there (a ValueError).
    """
    entry = DETECTORS.find(name)
    if not entry.takes_file:
        return None
    given = SHIPPED / entry.shipped if entry.shipped and not weights else weights
    return find_weights(f"detector {name}", given, ("",), entry.hint)[0]


def build_detector(
    name: str, *, weights: Path | str | None = None, device: str = "cpu", min_score: float = 0.25
) -> Detector:
    """Make a detector.

    Args:
        name: a key of `DETECTORS`.
        weights: path of the file; not needed for athlete-n, whose own ships with Tubeflow, and for hog.
        device: "cpu" or "cuda[:n]"; nanodet and hog run on the CPU only.
        min_score: boxes that score less are dropped.

    Raises:
        ValueError: unknown name, weights missing, or not loadable.
    """
    entry = DETECTORS.find(name)
    file = detector_weights(name, weights)
    return entry.load()(file=file, device=device, min_score=min_score)
