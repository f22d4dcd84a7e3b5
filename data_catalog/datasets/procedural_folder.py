"""The procedural dataset as an adapter: a labels.csv folder that also knows its own truth."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from data_catalog.datasets.records import Check, Listing
from data_catalog.errors import DatasetError

if TYPE_CHECKING:
    from data_catalog.synthetic.sport import GroundTruth

WHERE = "make one with `tubeflow datasets make procedural`"


class ProceduralAdapter:
    """A folder that ``tubeflow datasets make procedural`` wrote."""

    def read(self, root: Path, labels: Path | None = None) -> Listing:
        """List its clips like a folder's; the notes say that the data are procedural.

        Raises:
            DatasetError: not a whole procedural dataset.
        """
        # Reads label files with pandas, which a clip's truth doesn't need.
        from data_catalog.datasets.folder import FolderAdapter

        about = _read_about(root)
        listing = FolderAdapter().read(root, labels)
        note = (
            f"procedural data, no real athletes: {about.get('kind')}, seed {about.get('seed')}, "
            f"generator version {about.get('generator_version')}, {about.get('num_clips')} clips"
        )
        announced = about.get("num_clips")
        warnings = list(listing.warnings)
        if announced != len(listing.records):
            warnings.append(
                f"dataset.json announces {announced} clips, {len(listing.records)} are usable; {WHERE} again"
            )
        return Listing(listing.records, listing.rejected, tuple(warnings), (note, *listing.notes))

    def check(self, listing: Listing) -> list[Check]:
        """Nothing is published about it; every row has to be usable and every announced clip there."""
        return [
            Check.equal("rows rejected", 0, len(listing.rejected)),
            Check.equal("warnings", 0, len(listing.warnings)),
        ]


def read_ground_truth(root: Path, clip_id: str) -> GroundTruth:
    """The truth of one clip: quads, masks and visibility of every source frame, in source pixels.

    Raises:
        DatasetError: the dataset has no truth for that clip, or it is damaged.
    """
    from data_catalog.synthetic.sport import read_ground_truth as read_file

    path = ground_truth_file(root, clip_id)
    try:
        return read_file(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as exc:  # what half a file may raise
        raise DatasetError(f"the ground truth of clip '{clip_id}', {path}, is damaged; {WHERE} again") from exc


def ground_truth_file(root: Path, clip_id: str) -> Path:
    """Where the truth of one clip lies. Raises DatasetError as `read_ground_truth`."""
    path = root / "ground_truth" / f"{clip_id}.npz"
    if "/" in clip_id or "\\" in clip_id or not path.is_file():
        raise DatasetError(f"there is no ground truth of clip '{clip_id}' under {root}; {WHERE}")
    return path


def _read_about(root: Path) -> dict[str, object]:
    path = root / "dataset.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{root} holds no dataset.json, so it is no whole procedural dataset; {WHERE}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise DatasetError(f"{path} is damaged; {WHERE} again") from exc
    if not isinstance(about, dict) or not about.get("procedural"):
        raise DatasetError(f"{path} does not describe a procedural dataset; use the folder adapter")
    return about
