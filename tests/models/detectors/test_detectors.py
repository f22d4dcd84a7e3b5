"""Detectors: registry, selection, real networks from real files, and files that must not be trusted."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.detection import FasterRCNN, FasterRCNN_ResNet50_FPN_Weights, fasterrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from data_catalog.media.video import read_frames
from models.detectors import Detections, Detector, build_detector, detector_weights
from models.detectors.base import sorted_detections
from models.detectors.letterbox import Letterbox
from models.detectors.select import choose_athletes
from models.detectors.yolo import YoloDetector, load_network, silence_ultralytics
from models.weight_files import WeightsNotFound

COCO = FasterRCNN_ResNet50_FPN_Weights.COCO_V1

# ---- registry ----


def test_unknown_detector_lists_the_known_ones() -> None:
    known = "choose one of annotation, athlete-n, faster_rcnn, hog, nanodet, yolo"
    with pytest.raises(ValueError, match=f"there is no detector 'dpm'; {known}"):
        build_detector("dpm", weights=None)


def test_hog_needs_no_file_but_an_opencv_that_has_it() -> None:
    assert detector_weights("hog", None) is None
    if hasattr(cv2, "HOGDescriptor"):
        assert len(build_detector("hog").detect([np.zeros((256, 455, 3), np.uint8)])[0].scores) == 0
    else:
        with pytest.raises(ValueError, match="has no HOG people detector, OpenCV 4 has"):
            build_detector("hog")


@pytest.mark.parametrize("name", ["nanodet", "yolo"])
@pytest.mark.parametrize("weights", [None, "yolo11n.pt", "/absent/yolo11n.pt"])
def test_missing_weights_say_where_to_put_them(name: str, weights: str | None, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound) as caught:
        build_detector(name, weights=weights and tmp_path / weights)
    assert f"detector {name}" in str(caught.value)
    assert "github.com" in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- choosing ----

PEOPLE = Detections(
    np.asarray([[0, 0, 100, 100], [200, 100, 240, 160], [300, 0, 455, 250]], np.float32),
    np.asarray([0.9, 0.6, 0.5], np.float32),
)


@pytest.mark.parametrize(
    ("policy", "order"), [("score", [0, 1, 2]), ("largest", [2, 0, 1]), ("central", [1, 2, 0])]
)
def test_policies(policy: str, order: list[int]) -> None:
    for athletes in (1, 2, 3):
        assert choose_athletes(PEOPLE, policy, athletes, (455, 256)).tolist() == order[:athletes]
    assert choose_athletes(PEOPLE, policy, 9, (455, 256)).tolist() == order


def test_ties_go_to_the_surer_then_to_the_first() -> None:
    boxes = np.tile(np.asarray([[0, 0, 10, 10]], np.float32), (3, 1))
    tied = Detections(boxes, np.asarray([0.5, 0.7, 0.7], np.float32))
    for policy in ("largest", "central"):
        assert choose_athletes(tied, policy, 3, (100, 100)).tolist() == [1, 2, 0]


def test_nobody_and_nonsense() -> None:
    nobody = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    assert choose_athletes(nobody, "score", 1, (455, 256)).tolist() == []
    with pytest.raises(ValueError, match="policy is called 'best'"):
        choose_athletes(PEOPLE, "best", 1, (455, 256))
    with pytest.raises(ValueError, match="at least one"):
        choose_athletes(PEOPLE, "score", 0, (455, 256))
    with pytest.raises(ValueError, match=r"boxes \(k, 4\)"):
        Detections(np.zeros((2, 4), np.float32), np.zeros(3, np.float32))


def test_detections_are_cut_sorted_and_never_empty_boxes() -> None:
    boxes = np.asarray([[-5, -5, 10, 10], [90, 90, 200, 200], [150, 0, 170, 20], [20, 20, 20, 30]], float)
    found = sorted_detections(boxes, np.asarray([0.2, 0.8, 0.9, 0.9]), 100, 100)
    assert found.boxes.tolist() == [[90, 90, 100, 100], [0, 0, 10, 10]]
    np.testing.assert_allclose(found.scores, [0.8, 0.2])


@pytest.mark.parametrize("fit", [Letterbox.square((455, 256), 416), Letterbox.padded((240, 320), 640, 32)])
def test_letterbox_carries_boxes_and_pixels_alike(fit: Letterbox) -> None:
    width, height = fit.frame_wh
    frame = np.zeros((height, width, 3), np.uint8)
    frame[40:100, 60:180] = 255
    canvas = fit.draw(frame, grey=0)
    assert canvas.shape == (fit.canvas_wh[1], fit.canvas_wh[0], 3)
    rows, columns = np.nonzero(canvas[..., 0] > 127)
    seen = np.asarray([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], float)
    np.testing.assert_allclose(fit.to_frame(seen), [[60, 40, 180, 100]], atol=1.5)


# ---- nanodet ----


def nanodet(shared: Path, min_score: float = 0.25) -> Detector:
    return build_detector("nanodet", weights=shared / "real" / "nanodet_m.onnx", min_score=min_score)


@pytest.mark.parametrize(
    ("name", "box"),   # detector_baselines.csv, nanodet_m_416, policy top, frame 0: x, y, w, h in source pixels
    [
        ("Crossing", (201.9, 153.0, 21.4, 49.0)),
        ("parkour", (507.1, 53.1, 90.3, 159.9)),
        ("breakdance", (623.5, 111.7, 91.2, 327.1)),
        ("bmx-trees", (408.7, 117.0, 116.4, 227.4)),
        ("tennis", (306.4, 113.0, 162.4, 246.8)),
    ],
)
def test_nanodet_agrees_with_the_baselines(shared: Path, name: str, box: tuple[float, ...]) -> None:
    frame = read_frames(shared / "real" / f"{name}.mp4", np.asarray([0]))[0]
    (found,) = nanodet(shared).detect([frame])
    x1, y1, x2, y2 = found.boxes[choose_athletes(found, "score", 1, frame.shape[1::-1])[0]]
    bx1, by1, bx2, by2 = box[0], box[1], box[0] + box[2], box[1] + box[3]
    overlap = max(min(x2, bx2) - max(x1, bx1), 0) * max(min(y2, by2) - max(y1, by1), 0)
    assert overlap / ((x2 - x1) * (y2 - y1) + box[2] * box[3] - overlap) > 0.9


def test_nanodet_batches_and_finds_nobody_in_the_dark(shared: Path) -> None:
    frame = read_frames(shared / "real" / "tennis.mp4", np.asarray([0]))[0]
    detector = nanodet(shared)
    lit, dark = detector.detect([frame, np.zeros_like(frame)])
    assert len(dark.scores) == 0
    np.testing.assert_array_equal(lit.boxes, detector.detect([frame])[0].boxes)


def test_nanodet_refuses_other_networks(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outputs, NanoDet has 6"):
        build_detector("nanodet", weights=shared / "real" / "nanotrack_v2_backbone.onnx")
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"x\.onnx are not an ONNX network"):
        build_detector("nanodet", weights=tmp_path / "x.onnx")


# ---- Faster R-CNN: torchvision's network with random weights ----


@pytest.fixture(scope="module")
def faster_rcnn_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict under torchvision's name for it, calm enough and fond enough of people that some are found."""
    torch.manual_seed(0)
    network = FasterRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None), 91)
    for name, part in network.named_modules():
        if name.endswith("bn3"):
            part.weight.fill_(0.2)
    network.roi_heads.box_predictor.cls_score.weight.data /= 100
    network.roi_heads.box_predictor.cls_score.bias.data[1] = 3.0
    folder = tmp_path_factory.mktemp("rcnn") / "checkpoints"
    folder.mkdir()
    path = folder / Path(COCO.url).name
    torch.save(network.state_dict(), path)
    return path


def test_faster_rcnn_boxes_are_torchvisions_own(faster_rcnn_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of frames of two sizes, against the network that torchvision itself builds when asked for its COCO weights."""
    frames = [scene(455, 60), scene(40, 240)]  # long ones, because the network enlarges the shorter side to 800 pixels
    found = build_detector("faster_rcnn", weights=faster_rcnn_file, min_score=0.1).detect(frames)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(faster_rcnn_file.parent.parent))  # where it looks before it fetches
    oracle = fasterrcnn_resnet50_fpn(weights=COCO, box_score_thresh=0.1).eval()
    for frame, ours in zip(frames, found, strict=True):
        with torch.inference_mode():
            (theirs,) = oracle([COCO.transforms()(torch.from_numpy(frame).permute(2, 0, 1))])
        people = theirs["labels"] == COCO.meta["categories"].index("person")
        assert 0 < len(ours.scores) == int(people.sum())
        order = np.lexsort((theirs["boxes"][people][:, 0], -theirs["scores"][people]))
        np.testing.assert_allclose(ours.boxes, theirs["boxes"][people].numpy()[order], atol=1e-3)
        np.testing.assert_allclose(ours.scores, theirs["scores"][people].numpy()[order], atol=1e-6)


def test_faster_rcnn_refuses_other_files(faster_rcnn_file: Path, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"nothing")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    for name in ("x.pth", "other.pth"):
        with pytest.raises(ValueError, match=name) as caught:
            build_detector("faster_rcnn", weights=tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(WeightsNotFound, match="tubeflow weights pull fasterrcnn_coco"):
        build_detector("faster_rcnn")


# ---- yolo: networks with random weights, made from ultralytics' own architecture files ----


def save_network(path: Path, names: list[str], **extra: Any) -> Path:
    silence_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    network: Any = DetectionModel("yolo11n.yaml", nc=len(names), verbose=False)
    network.names = dict(enumerate(names))
    torch.save({"model": network.half(), "ema": None, "train_args": {}} | extra, path)
    return path


@pytest.fixture(scope="module")
def yolo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("yolo") / "yolo11n.pt", ["car", "person", "dog"])


def scene(width: int = 455, height: int = 256) -> Any:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def test_yolo_boxes_agree_with_ultralytics_own_predictor(tmp_path: Path) -> None:
    yolo_file, frame = save_network(tmp_path / "yolo11n.pt", ["person"]), scene()
    (found,) = YoloDetector(yolo_file, min_score=0.0).detect([frame])
    assert len(found.scores) > 10
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [455, 256, 455, 256]).all()

    from ultralytics import YOLO

    oracle = YOLO(str(yolo_file))
    bgr = np.ascontiguousarray(frame[..., ::-1])
    (theirs,) = oracle.predict(bgr, conf=1e-9, iou=0.7, max_det=30000, verbose=False, save=False)
    assert len(theirs.boxes) == len(found.boxes)
    # Random weights score all boxes nearly alike, so the order is luck: compare as sets of boxes.
    mine = {tuple(box) for box in np.round(found.boxes).astype(int).tolist()}
    other = {tuple(box) for box in np.round(theirs.boxes.xyxy.numpy()).astype(int).tolist()}
    assert len(mine & other) > 0.95 * len(other)


def test_yolo_batches_frames_of_any_size(yolo_file: Path) -> None:
    detector = YoloDetector(yolo_file, min_score=0.0)
    frames = [scene(), scene(120, 200), scene()]
    together = detector.detect(frames)
    for frame, found in zip(frames, together, strict=True):
        alone = detector.detect([frame])[0]
        np.testing.assert_allclose(found.scores[:20], alone.scores[:20], atol=1e-5)
    assert (together[1].boxes <= [120, 200, 120, 200]).all()
    assert detector.detect([]) == []


def test_yolo_keeps_people_above_the_threshold_only(yolo_file: Path) -> None:
    detector = YoloDetector(yolo_file, min_score=0.99)
    assert [len(found.scores) for found in detector.detect([scene()])] == [0]
    head = np.zeros((4 + 3, 5), np.float32)
    head[:4] = [[50, 50, 200, 200, 300], [50, 50, 100, 100, 90], [20, 22, 40, 40, 40], [40, 40, 60, 60, 60]]
    head[4:] = [[0, 0, 0.999, 0, 0], [0.995, 0.998, 0, 0.2, 0.999], [0, 0, 0, 0.999, 0]]
    boxes, scores = detector._people(torch.from_numpy(head))
    # Anchors 0 and 1 are one person, 2 is a car, 3 a dog.
    np.testing.assert_allclose(boxes, [[280, 60, 320, 120], [39, 30, 61, 70]])
    np.testing.assert_allclose(scores, [0.999, 0.998], atol=1e-6)
    done = torch.tensor([[1, 2, 30, 40, 0.995, 1], [5, 5, 9, 9, 0.999, 0], [1, 1, 8, 8, 0.3, 1]])
    boxes, scores = detector._people(done)   # a network that suppresses duplicates itself
    np.testing.assert_allclose(boxes, [[1, 2, 30, 40]])


def test_yolo_with_one_class_of_any_name(tmp_path: Path) -> None:
    file = save_network(tmp_path / "athlete.pt", ["athlete"])
    assert len(YoloDetector(file, min_score=0.0).detect([scene()])[0].scores) > 0


def test_yolo_without_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"know no class 'person'.*cat, dog"):
        YoloDetector(save_network(tmp_path / "pets.pt", ["cat", "dog"]))


class Intruder:
    def __reduce__(self) -> Any:
        return os.system, ("touch intruder_was_here",)


def test_code_inside_a_weight_file_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = save_network(tmp_path / "gift.pt", ["person"], note=Intruder())
    with pytest.raises(ValueError, match=r"gift\.pt are damaged, .* not trusted"):
        load_network(file)
    assert not (tmp_path / "intruder_was_here").exists()
    torch.load(file, weights_only=False)   # the file is what it claims to be: plain loading does run it
    assert (tmp_path / "intruder_was_here").exists()


class Constructs:
    """Pickled as a call of a layer's constructor."""

    def __init__(self, layer: str, *args: object) -> None:
        self.layer, self.args = layer, args

    def __reduce__(self) -> Any:
        silence_ultralytics()
        module, _, name = self.layer.rpartition(".")
        return getattr(importlib.import_module(module), name), self.args


@pytest.mark.parametrize(
    ("layer", "args"),
    [
        ("ultralytics.nn.modules.block.TorchVision", ("squeezenet1_0", "DEFAULT")),
        ("ultralytics.nn.tasks.DetectionModel", ("/etc/hostname.yaml",)),
        ("torch.nn.modules.linear.Linear", (2**20, 2**20)),
    ],
)
def test_a_weight_file_that_constructs_a_layer_is_refused_before_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: str, args: tuple[object, ...]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "downloads"))
    file = save_network(tmp_path / "gift.pt", ["person"], note=Constructs(layer, *args))
    constructed: list[type] = []
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda self, *_, **__: constructed.append(type(self)))
    with pytest.raises(ValueError, match=rf"gift\.pt call {layer} while they are opened, .* not trusted"):
        load_network(file)
    assert constructed == []
    assert not (tmp_path / "downloads").exists()


@pytest.mark.parametrize("content", [b"", b"hello" * 100, b"PK\x03\x04 cut"])
def test_damaged_weight_files(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.pt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pt are damaged"):
        load_network(file)


def test_weights_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "x.pt"
    torch.save({"model": {"weight": torch.zeros(3)}}, file)
    with pytest.raises(ValueError, match="no detection network"):
        load_network(file)
    with pytest.raises(ValueError, match=r"not a \.pt file"):
        load_network(tmp_path / "x.engine")


def test_nothing_is_written_at_home_and_nothing_sent(yolo_file: Path, tmp_path: Path) -> None:
    program = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('the network was asked for')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from models.detectors import build_detector\n"
        "found = build_detector('yolo', weights=Path(sys.argv[1])).detect([np.zeros((64, 64, 3), np.uint8)])\n"
        "import os; assert os.path.isdir(os.environ['YOLO_CONFIG_DIR']); print(os.environ['YOLO_CONFIG_DIR'])\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO", "XDG"))} | {"HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(yolo_file)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not any("ltralytics" in path.name for path in home.rglob("*"))
    assert not Path(done.stdout.strip().splitlines()[-1]).exists()   # the settings folder went with the process
