"""What weights there are: one file an entry, ``models/weights/<name>.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from data_catalog.suggest import nearest

# The registry is data that lies beside the networks it is for; nothing of that package is imported.
REGISTRY = Path(__file__).resolve().parents[2] / "models" / "weights"
DIGESTS = "digests.json"  # recorded digests in the weights folder
REPOSITORY_MARK = "--"  # stands for the slash of a hub's repository in the name of its folder there


class WeightsError(ValueError):
    """Weights cannot be found, had, or trusted; one plain sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of some weights; `url` is None where it can only be fetched by hand."""

    file: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None

    def fault(self, digest: str) -> str:
        """Why a file of this digest is not the published one, or empty text."""
        wanted = self.sha256 or self.sha256_prefix
        if wanted is None or digest.startswith(wanted):
            return ""
        return f"its SHA-256 is {digest}, published is {wanted}{'' if self.sha256 else '...'}"


@dataclass(frozen=True, slots=True)
class Measured:
    """How well a tracker follows real clips with some weights: mean IoU, the figure of docs/trackers.md."""

    tracker: str
    iou: float


@dataclass(frozen=True, slots=True)
class Weights:
    """An entry of the registry: ``models/weights/<name>.toml``; files beside it, in `folder`, ship with Tubeflow."""

    name: str
    purpose: str
    page: str
    licence: str
    citation: str
    files: tuple[WeightFile, ...]
    folder: Path = REGISTRY
    measured: Measured | None = None

    def place(self, file: WeightFile, folder: Path) -> Path:
        """Where `file` is, or belongs: in the weights folder, unless it ships with Tubeflow and is not there."""
        own, shipped = folder / file.file, self.folder / file.file
        return shipped if shipped.is_file() and not own.is_file() else own


def load_registry(folder: Path = REGISTRY) -> dict[str, Weights]:
    """All entries by name.

    Raises:
        WeightsError: an entry is malformed, or a file name leaves the weights folder.
    """
    return {path.stem: _read_entry(path) for path in sorted(folder.glob("*.toml"))}


def find_entry(name: str, registry: dict[str, Weights]) -> Weights:
    """The entry called `name` or with a file of that name; raises WeightsError, with the nearest name."""
    if name in registry:
        return registry[name]
    for entry in registry.values():
        if any(file.file == name for file in entry.files):
            return entry
    near = nearest(name, registry)
    hint = f"did you mean '{near}'?" if near else f"there are {', '.join(registry)}"
    raise WeightsError(f"no weights file and no registered weights are called '{name}'; {hint}")


def _read_entry(path: Path) -> Weights:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        files = tuple(WeightFile(**file) for file in content.pop("files"))
        measured = Measured(**content.pop("measured")) if "measured" in content else None
        entry = Weights(path.stem, files=files, folder=path.parent, measured=measured, **content)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as exc:
        raise WeightsError(f"registry entry {path} is malformed ({exc}); see its neighbours") from exc
    for file in entry.files:
        require_plain_name(file.file)
    return entry


def require_plain_name(name: str) -> str:
    """`name` itself, if it is a plain file name; raises WeightsError where it could leave the folder."""
    if (
        not name
        or name != Path(name).name
        or "\\" in name
        or name.startswith(".")
        or name == DIGESTS
        or not name.isprintable()
    ):
        raise WeightsError(f"'{name}' is no plain file name, so it could leave the weights folder; rename it")
    return name
