"""Installed packages that bring plug-ins, made by hand: what pip leaves behind of one, a module and its dist-info."""

from __future__ import annotations

from pathlib import Path


def install_by_hand(
    site: Path, distribution: str, version: str, group: str, points: dict[str, str], modules: dict[str, str]
) -> None:
    """Put modules into `site`, a folder of `sys.path`, and the metadata that importlib.metadata reads."""
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text)
