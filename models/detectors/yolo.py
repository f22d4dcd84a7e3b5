"""Any ultralytics detection network (YOLOv8 and later) from its .pt file.

The file is loaded and run without ultralytics' predictor, which would write settings, send usage events, and install
or download what it misses. A .pt file is a pickle, that is, a program: it is read with PyTorch's restricted
unpickler and ultralytics' list of its own layer classes, so that a file from a stranger can build a network and
nothing else. Exported forms (ONNX, TensorRT, TorchScript) are refused.
"""

import atexit
import inspect
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.detectors.base import Detections, sorted_detections
from models.detectors.letterbox import Letterbox
from models.detectors.pickled_calls import UNKNOWN, pickled_calls

PERSON = "person"
LAYERS = ("ultralytics.", "torch.nn.", "torchvision.", "clip.")  # saved as they are, never constructed
SETTINGS = ".IterableSimpleNamespace"  # of ultralytics' settings; constructed, from nothing
INPUT_PX = 640     # ultralytics' own training and prediction size
MAX_OVERLAP = 0.7  # of two boxes that overlap more, the surer stays (ultralytics' own setting)


class NetworkDetector:
    """What is done with any ultralytics detection network.

    Args:
        network: the torch module, in evaluation mode.
        person: index of the class that is wanted.
        stride: the network's largest.
        device: "cpu" or "cuda[:n]".
        min_score: boxes that score less are dropped.
        input_px: longer side of the network's input; a multiple of `stride`.
    """

    def __init__(
        self, network: Any, person: int, stride: int, device: str, min_score: float, input_px: int
    ) -> None:
        import torch

        self._model = network.to(device)
        self._person = person
        self._device = torch.device(device)
        self._stride = stride
        self.min_score = min_score
        self.input_px = input_px

    def prepare(self, canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Frames (n, H, W, 3) uint8 RGB as the network takes them: values of 0..1."""
        return canvas.astype(np.float32) / np.float32(255)

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """See `Detector.detect`; frames of one size go through the network together."""
        results: dict[int, Detections] = {}
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, frame in enumerate(frames):
            by_shape.setdefault(frame.shape, []).append(index)
        for members in by_shape.values():
            results.update(zip(members, self._detect_same_size([frames[i] for i in members]), strict=True))
        return [results[index] for index in range(len(frames))]

    def _detect_same_size(self, frames: list[NDArray[np.uint8]]) -> list[Detections]:
        import torch

        height, width = frames[0].shape[:2]
        fit = Letterbox.padded((width, height), self.input_px, self._stride)
        inputs = np.stack([fit.draw(frame) for frame in frames])
        with torch.inference_mode():
            pixels = torch.from_numpy(self.prepare(inputs)).to(self._device).permute(0, 3, 1, 2)
            output = self._model(pixels)
        rows = output[0] if isinstance(output, (tuple, list)) else output
        found: list[Detections] = []
        for row in rows:
            boxes, scores = self._people(row)
            found.append(sorted_detections(fit.to_frame(boxes), scores, width, height))
        return found

    def _people(self, row: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boxes xyxy in input pixels and scores of the people in one frame's network output.

        The output is (4 + classes [+ extras], anchors) with boxes as centre and size, or (n, 6) of xyxy, score, class
        from networks that suppress duplicates themselves.
        """
        import torch
        from torchvision.ops import nms

        if row.shape[-1] == 6:
            row = row[(row[:, 4] >= self.min_score) & (row[:, 5] == self._person)]
            boxes, scores = row[:, :4], row[:, 4]
        else:
            row = row[:, row[4 + self._person] >= self.min_score]
            centre, size = row[:2].T, row[2:4].T
            boxes, scores = torch.cat([centre - size / 2, centre + size / 2], 1), row[4 + self._person]
            kept = nms(boxes, scores, MAX_OVERLAP)
            boxes, scores = boxes[kept], scores[kept]
        return boxes.cpu().double().numpy(), scores.cpu().double().numpy()


class YoloDetector(NetworkDetector):
    """Finds the class "person", or the only class of a network that has one.

    Args:
        file: the .pt file.
        device: "cpu" or "cuda[:n]".
        min_score: boxes that score less are dropped.
        input_px: longer side of the network's input; a multiple of the network's largest stride.

    Raises:
        ValueError: the file is no ultralytics detection network, needs code to load, or knows no person.
    """

    def __init__(self, file: Path, device: str = "cpu", min_score: float = 0.25, input_px: int = INPUT_PX) -> None:
        network = load_network(file)
        names: dict[int, str] = dict(enumerate(network.names)) | dict(network.names)
        people = [index for index, name in names.items() if name == PERSON]
        if not people and len(names) != 1:
            known = ", ".join(list(names.values())[:5])
            raise ValueError(f"weights {file} know no class '{PERSON}' (they know {known} …); give a COCO-trained file")
        person = people[0] if people else 0
        super().__init__(network, person, int(max(network.stride)), device, min_score, input_px)


def load_network(file: Path) -> Any:
    """The torch module of an ultralytics .pt file, in evaluation mode, built without running code from the file.

    Raises:
        ValueError: as `YoloDetector`.
    """
    if file.suffix != ".pt":
        raise ValueError(f"weights {file} are not a .pt file; give the original ultralytics .pt, not an export")
    silence_ultralytics()
    from ultralytics.nn import tasks

    ultralytics: Any = tasks   # untyped

    if "safe_only" not in inspect.signature(ultralytics.torch_safe_load).parameters:
        raise ValueError(
            f"weights {file} cannot be read safely, for this ultralytics loads weights as programs; "
            "install the version that requirements/run.txt names"
        )
    _refuse_constructors(file)
    try:
        checkpoint, _ = ultralytics.torch_safe_load(str(file.absolute()), safe_only=True)
    except OSError:
        raise
    except Exception as exc:   # bytes that are no pickle make the unpickler fail in any way, KeyError included
        raise ValueError(
            f"weights {file} are damaged, not of ultralytics, or hold more than a network and are not trusted"
        ) from exc
    network: Any = checkpoint.get("ema") or checkpoint.get("model")
    if not isinstance(network, ultralytics.DetectionModel):
        raise ValueError(f"weights {file} hold no detection network; give a file such as yolo11n.pt")
    network = network.float().eval()
    return network.fuse(verbose=False)


def _refuse_constructors(file: Path) -> None:
    """Layers of a trusted name may read files and download weights when they are constructed. Raises ValueError."""
    try:
        constructed = [name for name in pickled_calls(file) if _is_constructor(name)]
    except ValueError as exc:
        raise ValueError(
            f"weights {file} are damaged, not of ultralytics, or hold more than a network and are not trusted"
        ) from exc
    if constructed:
        called = constructed[0] or "something without a name"
        raise ValueError(f"weights {file} call {called} while they are opened, as no saved network does; not trusted")


def _is_constructor(name: str) -> bool:
    return name == UNKNOWN or (name.startswith(LAYERS) and not name.endswith(SETTINGS))


def silence_ultralytics() -> None:
    """Forbid ultralytics to install, download, report usage, or write in the home folder. Call before importing it."""
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"
    os.environ.setdefault("YOLO_VERBOSE", "false")
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="tubeflow-ultralytics-")
        os.environ["YOLO_CONFIG_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
