"""`tubeflow plugin new`: a small package with one part, its entry point and a test that passes."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from flows.config import ConfigError
from flows.plugins.listing import KINDS

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
SUFFIX = {"tracker": "Tracker", "detector": "Detector", "head": "Head", "dataset": "Adapter"}


def new_package(kind: str, name: str, folder: Path | None = None) -> list[Path]:
    """Write the package; it is installed with `pip install --no-build-isolation -e FOLDER`.

    Args:
        kind: tracker, detector, backbone, head or dataset.
        name: what the part is called in configs; the package is called `tubeflow-NAME`.
        folder: where it goes; by default the folder `tubeflow-NAME`, here.

    Returns:
        The files.

    Raises:
        ConfigError: no such kind, a name that can't be one or is taken, or something is in the folder.
    """
    if kind not in KINDS:
        raise ConfigError(f"There is no kind of plug-in '{kind}'; kinds: {', '.join(KINDS)}.")
    if not NAME.fullmatch(name) or len(name) > 40 or keyword.iskeyword(name):
        raise ConfigError(f"'{name}' can't be a plug-in's name; use small letters and digits, such as my_{kind}.")
    if name in KINDS[kind].names():
        raise ConfigError(f"There is a {kind} '{name}' already; choose another name.")
    target = folder or Path(f"tubeflow-{name}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} is there already and nothing is overwritten; choose another folder with --out.")
    words = _words(kind, name)
    files = {
        "pyproject.toml": "pyproject.toml.tmpl",
        "README.md": "README.md.tmpl",
        f"src/{words['module']}/__init__.py": f"{kind}.py.tmpl",
        f"tests/test_{words['module']}.py": f"test_{kind}.py.tmpl",
    }
    written = []
    for file, template in files.items():
        path = target / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template((TEMPLATES / template).read_text()).substitute(words), encoding="utf-8")
        written.append(path)
    return written


def _words(kind: str, name: str) -> Mapping[str, str]:
    plain = name.replace("-", "_")
    camel = "".join(part.capitalize() for part in plain.split("_"))
    part = f"build_{plain}" if kind == "backbone" else camel + SUFFIX[kind]
    option = {
        "tracker": f"tubeflow run demo --dataset NAME -o track.tracker={name}",
        "detector": f"tubeflow run demo --dataset NAME -o detect.detector={name}",
        "backbone": f"tubeflow run demo --dataset NAME -o model.backbone={name}",
        "head": f"tubeflow run demo --dataset NAME -o model.head={name}",
        "dataset": f"tubeflow ingest {name} --name mine --videos FOLDER",
    }[kind]
    return {
        "kind": kind,
        "name": name,
        "distribution": f"tubeflow-{name.replace('_', '-')}",
        "module": f"tubeflow_{plain}",
        "part": part,
        "group": KINDS[kind].group or "",
        "use": option,
    }
