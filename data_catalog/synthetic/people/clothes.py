"""What people wear: garments of the mesh package, and suits that are painted on the skin and so never tear."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from data_catalog.synthetic.people.mesh import People

# Bones whose skin a painted piece covers.
_SIDES: Final = ("L", "R")
_PELVIS: Final = ("root", "spine05", *(f"{bone}.{side}" for bone in ("pelvis", "upperleg01") for side in _SIDES))
_THIGHS: Final = tuple(f"upperleg02.{side}" for side in _SIDES)
_SHANKS: Final = tuple(f"lowerleg0{part}.{side}" for part in (1, 2) for side in _SIDES)
_CHEST: Final = (
    "spine04", "spine03", "spine02", "spine01",
    *(f"{bone}.{side}" for bone in ("breast", "clavicle", "shoulder01") for side in _SIDES),
)  # fmt: skip
_SLEEVES: Final = tuple(f"upperarm0{part}.{side}" for part in (1, 2) for side in _SIDES)
_FOREARMS: Final = tuple(f"lowerarm0{part}.{side}" for part in (1, 2) for side in _SIDES)

# Garments by their names in the package.
_SUITS: Final = {
    "male": ("male_casualsuit01", "male_casualsuit02", "male_casualsuit03", "male_casualsuit04", "male_casualsuit05",
             "male_casualsuit06", "male_elegantsuit01", "male_worksuit01"),
    "female": ("female_casualsuit01", "female_casualsuit02", "female_elegantsuit01", "female_sportsuit01", "F_Dress_01",
               "F_Dress_02", "F_Dress_03", "F_Dress_04", "Cocktaildress", "TubeDress"),
}  # fmt: skip
_TOPS: Final = ("Tank_Top_01", "VNeckTop", "short_tail_camo_tee", "Sleeveless", "Harvey_Sweater2", "Rolled_neck_blouse",
                "female_top_01", "TubeTop")  # fmt: skip
_BOTTOMS: Final = ("ShortJeans", "Tightjeans", "JeansSkirt", "miniskirt")
_SWIMWEAR: Final = ("F_One-piece_Swimsuit_01", "F_Bikini_01")
_SHOES: Final = ("shoes01", "shoes02", "shoes03", "shoes04", "shoes05", "shoes06", "WinterBoots")
_HATS: Final = ("fedora", "pith_helmet", "Fishing_Hat_01")


def outfit(people: People, rng: np.random.Generator, sex: str) -> tuple[list[tuple[str, ...]], list[Path]]:
    """Painted pieces (the bones they cover, in the order of painting) and garments; nobody goes without trunks."""
    painted: list[tuple[str, ...]] = [_PELVIS + (_THIGHS if rng.random() < 0.3 else ())]
    worn: list[str] = []
    kind = rng.choice(4, p=(0.22, 0.3, 0.28, 0.2))
    if kind == 0:   # for the water: trunks, a one-piece that is painted or worn
        if sex == "female":
            painted = [_PELVIS + _CHEST]
            worn = [_pick(rng, _SWIMWEAR)] if rng.random() < 0.6 else []
    elif kind == 1:   # for sports: painted tights and shirts of any length
        painted = [_PELVIS + _THIGHS + (_SHANKS if rng.random() < 0.5 else ())]
        shirt = _CHEST + (_SLEEVES if rng.random() < 0.7 else ()) + (_FOREARMS if rng.random() < 0.35 else ())
        if sex == "female" or rng.random() < 0.75:
            painted.append(shirt)
        worn = [_pick(rng, _SHOES)] if rng.random() < 0.6 else []
    elif kind == 2:
        worn = [_pick(rng, _SUITS[sex]), _pick(rng, _SHOES)]
    else:
        painted.append(_CHEST)
        worn = [_pick(rng, _TOPS), _pick(rng, _BOTTOMS), *([_pick(rng, _SHOES)] if rng.random() < 0.7 else [])]
    if rng.random() < 0.08:
        worn.append(_pick(rng, _HATS))
    return painted, [people.clothes[name] for name in worn if name in people.clothes]


def _pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[rng.integers(len(names))]
