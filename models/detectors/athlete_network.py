"""athlete-n: an ultralytics detection network of one class over MobileNetV2, and its weights file.

Its backbone comes from ImageNet and its neck and head are ours (`tubeflow pretrain detector`). Unlike ultralytics' own
.pt files, the weights file holds numbers only, no program: a dictionary of 16-bit tensors, read with PyTorch's
restricted unpickler into a network that is described here.
"""

from pathlib import Path
from typing import Any

from models.detectors.yolo import silence_ultralytics

FORMAT = "athlete-n 1"
STRIDE = 32
# torchvision's children: input, then 18 blocks. 7, 14 and 18 are the last ones at 1/8, 1/16 and 1/32.
ARCHITECTURE: dict[str, Any] = {
    "nc": 1,
    "backbone": [
        [-1, 1, "TorchVision", [320, "mobilenet_v2", None, True, 2, True]],
        [0, 1, "Index", [32, 7]],
        [0, 1, "Index", [96, 14]],
        [0, 1, "Index", [320, 18]],
    ],
    "head": [
        [3, 1, "Conv", [128, 1, 1]],
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 1, "C3k2", [96, False]],                # 7, 1/16
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 1], 1, "Concat", [1]],
        [-1, 1, "C3k2", [64, False]],                # 10, 1/8
        [-1, 1, "Conv", [64, 3, 2]],
        [[-1, 7], 1, "Concat", [1]],
        [-1, 1, "C3k2", [96, False]],                # 13, 1/16
        [-1, 1, "Conv", [96, 3, 2]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 1, "C3k2", [128, False]],               # 16, 1/32
        [[10, 13, 16], 1, "Detect", ["nc"]],
    ],
}  # fmt: skip
MEAN_RGB = (0.485, 0.456, 0.406)   # ImageNet's, of values 0..1
STD_RGB = (0.229, 0.224, 0.225)


def build_network() -> Any:
    """The network with random weights, in training mode; nothing is downloaded."""
    import copy

    silence_ultralytics()
    from ultralytics.nn import tasks

    ultralytics: Any = tasks   # untyped
    network: Any = ultralytics.DetectionModel(copy.deepcopy(ARCHITECTURE), ch=3, nc=1, verbose=False)
    network.names = {0: "person"}
    return network


def start_from_imagenet(network: Any, file: Path) -> None:
    """Give the backbone torchvision's ImageNet weights (``mobilenet_v2-b0353104.pth``).

    Raises:
        ValueError: the file holds other weights.
    """
    state = _read(file)
    prefix = "model.0.m."
    own = {name for name in network.state_dict() if name.startswith(prefix)}
    features = {name: value for name, value in state.items() if name.startswith("features.")}
    given = {name.replace("features.", prefix, 1): value for name, value in features.items()}
    if missing := sorted(own - given.keys()):
        raise ValueError(f"weights {file} are not torchvision's mobilenet_v2: {missing[0]} is missing")
    network.load_state_dict({name: given[name] for name in own}, strict=False)


def save_weights(network: Any, file: Path) -> None:
    """Write the network's numbers in 16 bits."""
    import torch

    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save({"format": FORMAT, "state": state}, file)


def load_weights(file: Path) -> Any:
    """The trained network in evaluation mode.

    Raises:
        ValueError: the file is damaged, holds a program, or another network.
    """
    content = _read(file)
    if content.get("format") != FORMAT or not isinstance(content.get("state"), dict):
        raise ValueError(f"weights {file} are not {FORMAT}; give a file made by `tubeflow pretrain detector`")
    network = build_network()
    state = {name: value.float() if value.is_floating_point() else value for name, value in content["state"].items()}
    wanted = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    if wanted != state.keys():
        raise ValueError(f"weights {file} do not fit athlete-n; make them again with `tubeflow pretrain detector`")
    try:
        network.load_state_dict(state, strict=False)
    except RuntimeError as exc:
        raise ValueError(f"weights {file} do not fit athlete-n; tensors have other shapes") from exc
    return network.eval()


def _read(file: Path) -> dict[str, Any]:
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as exc:   # bytes that are no pickle make the unpickler fail in any way
        raise ValueError(f"weights {file} are damaged or hold more than numbers, and are not trusted") from exc
    if not isinstance(content, dict):
        raise ValueError(f"weights {file} hold no named tensors")
    return content
