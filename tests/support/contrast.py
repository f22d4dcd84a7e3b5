"""How far colours are apart, by WCAG 2.1, and the colours that a style sheet names, in light and in dark."""

from __future__ import annotations

import re

TEXT, CONTROL = 4.5, 3.0  # success criteria 1.4.3 and 1.4.11, level AA
ROOT = re.compile(r":root \{(.*?)\}", re.DOTALL)
TOKEN = re.compile(r"--([\w-]+):\s*(#[0-9a-f]{6})\b")

Colours = dict[str, str]


def colour_tokens(css: str) -> dict[str, Colours]:
    """The custom properties that are colours, as light and as dark pages have them: first light ones, then dark."""
    light, dark = (dict(TOKEN.findall(block)) for block in ROOT.findall(css))
    return {"light": light, "dark": light | dark}


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """1 for equal colours, 21 for black on white."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def too_close(colours: Colours, pairs: list[tuple[str, str]], least: float) -> list[str]:
    """The pairs (in front, behind) of names that are nearer than `least`."""
    found = [(front, behind, contrast(colours[front], colours[behind])) for front, behind in pairs]
    return [f"{front} on {behind}: {value:.2f}" for front, behind, value in found if value < least]
