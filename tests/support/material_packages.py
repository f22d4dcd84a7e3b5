"""Small packages of pictures, made here: what `tubeflow pretrain` is made from, without a network."""

import dataclasses
import io
import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision

from data_catalog.synthetic.materials import Material
from tests.support.package_archives import deb, tar
from tests.support.package_registries import Registries, seen


def picture(seed: int, side: int = 240, alpha: bool = False) -> bytes:
    """PNG of coloured noise; with `alpha` it is an ellipse."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
    colours = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    if alpha:
        axes = (side // 3, side // 4)
        shape = cv2.ellipse(np.zeros((side, side), np.uint8), (side // 2, side // 2), axes, 0, 0, 360, 255, -1)
        colours = np.dstack([colours, shape])
    return cv2.imencode(".png", colours)[1].tobytes()


def classifier() -> bytes:
    """Random weights under the names of torchvision's MobileNetV2."""
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save(torchvision.models.mobilenet_v2().state_dict(), file)
    return file.getvalue()


def serve_materials(registries: Registries, folder: Path, materials: Path) -> Path:
    """Photographs and cut-outs laid into `materials` by hand, a classifier for pip to fetch; returns the manifest."""
    pictures = {
        "views": ("photos", deb(tar({f"./usr/share/{k}.png": picture(k) for k in range(3)}))),
        "tuxpaint": ("cutouts", deb(tar({f"./usr/{k}.png": picture(k, 90, True) for k in range(3)}))),
    }
    weights = registries.pip("tiny-weights", "1.0", {"weights/mobilenet_v2.pth": classifier()})
    entries = [Material("mobilenet_v2", "weights", "made here", "none needed", "pip", ("*.pth",), (weights,))]
    materials.mkdir(parents=True, exist_ok=True)
    for name, (kind, content) in pictures.items():
        file = seen(name, "1.0", f"{name}_1.0_all.deb", content)
        (materials / file.file).write_bytes(content)
        entries.append(Material(name, kind, "made here", "none needed", "apt", ("*.png",), (file,)))
    return write_manifest(folder / "materials.toml", entries)


def write_manifest(path: Path, entries: list[Material]) -> Path:
    """A list of materials as `load_manifest` reads it."""
    lines: list[str] = []
    for entry in entries:
        fields = dataclasses.asdict(entry)
        files = fields.pop("files")
        lines += [f"[{fields.pop('name')}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
        for file in files:
            lines += [f"[[{entry.name}.files]]", *(f"{key} = {json.dumps(value)}" for key, value in file.items())]
    path.write_text("\n".join(lines) + "\n")
    return path
