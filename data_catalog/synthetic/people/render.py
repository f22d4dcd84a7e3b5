"""Draws a posed, dressed person as an RGBA cut-out: skinning, perspective, a light, faces from far to near."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.people.clothes import outfit
from data_catalog.synthetic.people.mesh import Floats, Garment, People, Surface
from data_catalog.synthetic.people.pose import (
    Doubles,
    Pose,
    bone_motions,
    random_pose,
    random_rotation,
    rotation_about,
)

Image = NDArray[np.uint8]

_OVER_SKIN_DM = 0.12   # clothes are drawn as if this much nearer, or skin would show through at bends


@dataclass(frozen=True, eq=False)
class DressedBody:
    """A body's shape, skin, and what is worn over it; `tints` multiply the colours of skin and each garment."""

    body: Floats
    skin: Surface
    worn: tuple[Garment, ...]
    tints: tuple[Floats, ...]


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """From where: rotation into the camera's frame (x right, y up, z towards it), its distance in dm, and the light."""

    rotation: Doubles
    distance_dm: float
    light: Doubles
    ambient: float


def random_body(people: People, rng: np.random.Generator) -> DressedBody:
    """A grown person of any sex, age and build, dressed for a pool, a sports ground or the street, in any colours."""
    sex = "female" if rng.random() < 0.5 else "male"
    age = "old" if rng.random() < 0.15 else "young"
    race = ("african", "asian", "caucasian")[rng.integers(3)]
    muscle = ("minmuscle", "averagemuscle", "maxmuscle")[rng.choice(3, p=(0.2, 0.4, 0.4))]
    weight = ("minweight", "averageweight", "maxweight")[rng.choice(3, p=(0.3, 0.55, 0.15))]
    body = people.vertices + people.shape(f"macrodetails/{race}-{sex}-{age}")
    body = body + people.shape(f"macrodetails/universal-{sex}-{age}-{muscle}-{weight}")
    tone = "dark" if race == "african" else "light"
    skins = [skin for skin in people.skins if f"_{tone}skinned_{sex}_" in skin.name] or people.skins
    skin = people.body(skins[rng.integers(len(skins))])
    tan = rng.uniform(0.6, 1.15) * rng.uniform(0.93, 1.07, 3)
    painted, clothes = outfit(people, rng, sex)
    skin.colours[:] *= tan
    for bones in painted:
        covered = np.isin(people.face_bones, [people.skeleton.index[name] for name in bones])
        skin.colours[covered] = _random_colour(rng) * rng.uniform(0.9, 1.1, (int(covered.sum()), 1))
    hair = [list(people.hair.values())[rng.integers(len(people.hair))]] if rng.random() < 0.85 else []
    garments = [people.garment(file) for file in (*clothes, *hair)]
    tints = [np.ones(3), *(_dye(garment, rng) for garment in garments)]
    if hair:
        tints[-1] = rng.uniform(0.25, 1.3) * rng.uniform(0.9, 1.1, 3)
    return DressedBody(
        np.asarray(body, np.float32), skin, tuple(garments), tuple(np.asarray(tint, np.float32) for tint in tints)
    )


def _random_colour(rng: np.random.Generator) -> Doubles:
    """RGB, any hue, dark and pale ones as often as bright ones."""
    hsv = np.asarray([[[rng.integers(180), rng.integers(256), rng.integers(15, 256)]]], np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float64)


def _dye(garment: Garment, rng: np.random.Generator) -> Doubles:
    """A factor a channel that brings the garment's mean colour to a random one; a third keep their own."""
    if rng.random() < 0.33 or not len(garment.surface.colours):
        return np.ones(3)
    return np.asarray(_random_colour(rng) / np.maximum(garment.surface.colours.mean(axis=0), 25.0), np.float64)


def random_viewpoint(rng: np.random.Generator, upright: float = 0.45) -> Viewpoint:
    """From any side; with probability `upright` the person stands as people do, else they are turned anyhow."""
    if rng.random() < upright:
        about = np.eye(3)
        tilt = rotation_about(about[2], rng.normal(0, 0.15)) @ rotation_about(about[0], rng.uniform(-0.15, 0.45))
        rotation = tilt @ rotation_about(about[1], rng.uniform(-np.pi, np.pi))
    else:
        rotation = random_rotation(rng)
    light = rng.normal((0, 1.2, 0.6), 1)
    return Viewpoint(rotation, rng.uniform(35, 250), light / np.linalg.norm(light), rng.uniform(0.35, 0.85))


def render_person(people: People, look: DressedBody, pose: Pose, view: Viewpoint, side_px: int) -> Image:
    """Cut-out (h, w, 4) uint8 RGBA, straight alpha, tightly cropped, its longer side `side_px`."""
    joints = people.skeleton.joints(look.body)
    rotations, places = bone_motions(pose, people.skeleton, joints)
    moved = places - np.einsum("bij,bj->bi", rotations, joints)
    layers = [(look.skin, look.body), *((g.surface, g.on(look.body)) for g in look.worn)]
    corners, depths, colours = [], [], []
    for number, ((surface, rest), tint) in enumerate(zip(layers, look.tints, strict=True)):
        posed = _skin(rest, surface, rotations, moved) @ view.rotation.T.astype(np.float32)
        quads = posed[surface.faces]
        corners.append(quads)
        depths.append(quads[..., 2].mean(axis=1) + (_OVER_SKIN_DM if number else 0))
        colours.append(_shade(quads, surface.colours * tint, view, both_sides=number > 0))
    closed = np.arange(sum(map(len, corners))) < len(corners[0])   # of the body, no inside is ever seen
    return _paint(np.concatenate(corners), np.concatenate(depths), np.concatenate(colours), closed, view, side_px)


def _skin(rest: Floats, surface: Surface, rotations: Floats, moved: Floats) -> Floats:
    """Rest vertices (V, 3) after the bones moved; `moved` (B, 3) is what each bone adds after rotating."""
    blend = np.einsum("vk,vkij->vij", surface.weights, rotations[surface.bones])
    shift = np.einsum("vk,vki->vi", surface.weights, moved[surface.bones])
    return np.asarray(np.einsum("vij,vj->vi", blend, rest) + shift, np.float32)


def _shade(quads: Floats, colours: Floats, view: Viewpoint, both_sides: bool) -> Floats:
    normals = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    lit = normals @ view.light.astype(np.float32)
    if both_sides:
        lit = np.abs(lit)
    gain = view.ambient + (1.15 - view.ambient) * np.clip(lit, 0, 1)
    return np.asarray(np.clip(colours * gain[:, None], 0, 255), np.float32)


def _paint(
    quads: Floats, depths: Floats, colours: Floats, closed: NDArray[np.bool_], view: Viewpoint, side_px: int
) -> Image:
    """Perspective, then every face over those behind it; of `closed` surfaces only what faces the camera."""
    centre = quads.reshape(-1, 3).mean(axis=0)
    flat = (quads[..., :2] - centre[:2]) / (1 - (quads[..., 2:] - centre[2]) / view.distance_dm)
    low, high = flat.reshape(-1, 2).min(axis=0), flat.reshape(-1, 2).max(axis=0)
    scale = (side_px - 1) / float((high - low).max())
    pixels = (flat - low) * scale
    width, height = (int(np.ceil(length)) + 1 for length in (high - low) * scale)
    pixels[..., 1] = height - 1 - pixels[..., 1]
    a, b = pixels[:, 2] - pixels[:, 0], pixels[:, 3] - pixels[:, 1]
    towards = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]   # rows grow downwards: a face seen from its front is negative
    order = np.argsort(depths, kind="stable")
    order = order[np.where(closed, towards < 0, towards != 0)[order]]
    canvas = np.zeros((height, width, 4), np.uint8)
    points = np.rint(pixels * 8).astype(np.int32)
    tones = np.column_stack([colours, np.full(len(colours), 255)]).tolist()
    for face in order.tolist():
        cv2.fillConvexPoly(canvas, points[face], tones[face], cv2.LINE_8, 3)
    return canvas


def random_person(people: People, rng: np.random.Generator, side_px: int = 288) -> Image:
    """A cut-out (h, w, 4) uint8 RGBA of somebody, doing something, seen from somewhere."""
    body, pose = random_body(people, rng), random_pose(rng, people.poses)
    return render_person(people, body, pose, random_viewpoint(rng), side_px)
