"""Two trackers on the same clips, where they disagree, and what that looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.store import ArtifactDamaged
from flows.draw.pair import PairView, pair_sheet, pair_video
from flows.runs.clip_tube import ClipTube, draw_from
from flows.runs.last import dataset_of
from flows.tracking.variants import TrackVariant, masks_of, tracks_by_clip
from models.geometry import polygon_iou
from tasks.engine import progress


class PairRow(TypedDict):
    """One clip of `tubeflow inspect --compare --json`."""

    clip: str
    iou: float
    worst_frame: int
    worst_iou: float


class PairRecord(TypedDict):
    """What `tubeflow inspect --compare --json` prints: the clips of least overlap first."""

    trackers: list[str]
    clips: list[PairRow]
    notes: list[str]
    sheet: str
    video: str


@dataclass(frozen=True, eq=False)
class TubePair:
    """One clip with the tubes of both trackers; `overlap` (L,) is the IoU of their quads, mean over athletes."""

    clip_id: str
    tracks: tuple[TrackVariant, TrackVariant]
    overlap: NDArray[np.float64]

    def as_json(self) -> PairRow:
        """The clip's row, rounded to four decimals."""
        worst = int(np.argmin(self.overlap))
        return {"clip": self.clip_id, "iou": round(float(self.overlap.mean()), 4), "worst_frame": worst,
                "worst_iou": round(float(self.overlap[worst]), 4)}  # fmt: skip


def compare_trackers(
    workspace: Workspace, names: tuple[str, str], dataset: str | None, clip: str | None, folder: Path | None
) -> PairRecord:
    """How much two trackers agree on each clip; writes one clip's sheet and video, by default of the worst.

    They go into `folder`, by default the dataset's folder of pictures in the workspace.

    Raises:
        CatalogError: they can't be compared, or not on this clip.
    """
    name = dataset or (dataset_of(workspace, clip) if clip else only_dataset(workspace))
    pairs, notes = find_pairs(workspace, name, names)
    chosen = pairs[0] if clip is None else next((pair for pair in pairs if pair.clip_id == clip), None)
    if chosen is None:
        raise CatalogError(f"Clip '{clip}' has no tubes of both '{names[0]}' and '{names[1]}' to compare.")
    sheet, video = draw_pair(workspace, name, chosen, folder or workspace.pictures / name)
    return {
        "trackers": list(names),
        "clips": [pair.as_json() for pair in pairs],
        "notes": notes,
        "sheet": str(sheet),
        "video": str(video),
    }


def only_dataset(workspace: Workspace) -> str:
    """The workspace's dataset, where it has just one. Raises CatalogError."""
    names = workspace.datasets.names()
    if len(names) != 1:
        raise CatalogError(f"Say which dataset with --dataset; the workspace has: {', '.join(names) or 'none'}.")
    return names[0]


def find_pairs(workspace: Workspace, dataset: str, names: tuple[str, str]) -> tuple[list[TubePair], list[str]]:
    """Every clip that both tracked on the same frames, the least overlap first; and what was left out, in words.

    Raises:
        CatalogError: a tracker has no tubes in this dataset, or no clip has tubes of both.
    """
    workspace.datasets.info(dataset)
    tracks = tracks_by_clip(workspace, dataset)
    _require_both(tracks, names, dataset)
    pairs, other_frames, gone = [], 0, 0
    for clip, found in progress.each("compare", tracks.items()):
        one, other = (next((track for track in found if _is(track, name)), None) for name in names)
        if one is None or other is None:
            continue
        if json.loads(one.record.parents)["normalize"] != json.loads(other.record.parents)["normalize"]:
            other_frames += 1
            continue
        try:
            pairs.append(TubePair(clip, (one, other), _overlap(workspace, one, other)))
        except FileNotFoundError:
            gone += 1
        except ArtifactDamaged as exc:
            workspace.notice(workspace.discard(exc))
            gone += 1
    notes = []
    if other_frames:
        notes.append(f"{other_frames} clips were normalised differently for the two and are left out.")
    if gone:
        notes.append(f"{gone} clips are left out: an artifact is gone or damaged; run the pipeline again.")
    if not pairs:
        nothing = f"No clip of '{dataset}' has tubes of both '{names[0]}' and '{names[1]}'."
        raise CatalogError(" ".join([nothing, *notes]))
    return sorted(pairs, key=lambda pair: (float(pair.overlap.mean()), pair.clip_id)), notes


def _is(track: TrackVariant, name: str) -> bool:
    """Whether a name means this track: its tracker, or the tracker with its weights."""
    return name in (track.tracker, track.title)


def _require_both(tracks: Mapping[str, Sequence[TrackVariant]], names: tuple[str, str], dataset: str) -> None:
    known = sorted({track.title for found in tracks.values() for track in found})
    for name in names:
        if not any(_is(track, name) for found in tracks.values() for track in found):
            raise CatalogError(
                f"No clip of '{dataset}' was tracked by '{name}' (there is: {', '.join(known) or 'nothing'}); "
                f"make its tubes with: tubeflow run … --dataset {dataset} --until masks "
                f"-o track.tracker={name.split()[0] if name.split() else 'NAME'}"
            )


def _overlap(workspace: Workspace, one: TrackVariant, other: TrackVariant) -> NDArray[np.float64]:
    quads = [workspace.store.read("track", track.key, ["quads"]).arrays["quads"] for track in (one, other)]
    athletes = max(len(side) for side in quads)
    overlap = np.zeros((athletes, quads[0].shape[1]))
    both = min(len(side) for side in quads)
    overlap[:both] = polygon_iou(quads[0][:both], quads[1][:both])  # an athlete whom only one follows overlaps nothing
    return np.asarray(overlap.mean(axis=0))


def draw_pair(workspace: Workspace, dataset: str, pair: TubePair, folder: Path) -> tuple[Path, Path]:
    """Write `<clip>_compared.png` and `.mp4`. Raises CatalogError where one has no masks yet."""
    tubes = [_tube(workspace, dataset, pair.clip_id, track) for track in pair.tracks]
    view = PairView((tubes[0].view, tubes[1].view), (pair.tracks[0].title, pair.tracks[1].title), pair.overlap)
    base = folder / f"{pair.clip_id}_compared"
    return pair_sheet(view, base.with_suffix(".png")), pair_video(view, base.with_suffix(".mp4"), fps=tubes[0].fps)


def _tube(workspace: Workspace, dataset: str, clip_id: str, track: TrackVariant) -> ClipTube:
    masks_key = masks_of(workspace, track.key)
    if masks_key is None:
        raise CatalogError(
            f"The tube of clip '{clip_id}' by '{track.title}' has no masks yet; "
            f"make them with: tubeflow run … --dataset {dataset} --until masks"
        )
    parents = json.loads(track.record.parents)
    keys = {"normalize": parents["normalize"], "track": track.key, "masks": masks_key}
    try:
        found = {stage: workspace.store.read(stage, key) for stage, key in keys.items()}
    except FileNotFoundError as exc:
        raise CatalogError(f"Clip '{clip_id}' can't be drawn: {exc}") from exc
    except ArtifactDamaged as exc:
        raise CatalogError(f"Clip '{clip_id}' can't be drawn: {workspace.discard(exc)}") from exc
    settings = found["masks"].lineage.config["masks"]
    return draw_from(workspace, dataset, clip_id, found, (settings["crop"], settings["tau"]), None)
