"""Stage `pack`: frames, masks and labels of many clips → the one file that training reads.

Every frame is cut to the network's crop and resized to the network's input here, once, with the same crop
that the masks stage carried the quads through. Clips are streamed: one clip is in memory at a time. What
this stage does not do: augment, normalise colours, or pick segments. Those depend on training.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_catalog.media.frame_codec import decode_frames
from data_catalog.pack.file import SPLIT_NAMES, ClipArrays, ClipLabels, PackGeometry, PackWriter
from data_catalog.store import Store
from models.geometry import crop_origin
from tasks.engine.config import StageConfig
from tasks.engine.job import Context, Job, Product
from tasks.engine.progress import report
from tasks.engine.stage import Stage, each
from tasks.masks import MasksConfig

STAGE_VERSION = 1
"""1: crop, resize (area when shrinking), raw frames, fletcher32, one chunk a clip."""


class PackConfig(StageConfig):
    """How the frames are stored."""

    input_size: int = Field(
        224, ge=8, description="Side of the network's input in pixels: 224 for i3d, 112 for i3d_small."
    )
    compression: Literal["none", "lzf"] = Field(
        "none", description="none reads fastest; lzf makes the file smaller where disk is scarce."
    )


@dataclass(frozen=True, eq=False)
class PackClip:
    """One clip to be packed.

    Attributes:
        frames: called once, returns the normalised frames (L, H, W, 3) uint8 RGB.
        coverage: (L, Hf, Wf) float32 on the grid of the crop.
        mask: (N, T, Hf, Wf) bool.
    """

    clip_id: str
    split: str
    action: str
    frames: Callable[[], NDArray[np.uint8]]
    coverage: NDArray[np.float32]
    mask: NDArray[np.bool_]
    score: float | None = None
    difficulty: float | None = None
    judges: tuple[float, ...] = ()
    label: float | None = None

    @property
    def labels(self) -> ClipLabels:
        """What the pack keeps of this clip besides arrays."""
        return ClipLabels(self.clip_id, self.split, self.action, self.score, self.difficulty, self.judges, self.label)


@dataclass(frozen=True)
class PackInfo:
    """What was written.

    Attributes:
        splits: number of clips per split.
        empty_tubes: clips whose tube mask selects no cell at all.
        score_ranges: per action {"train": (min, max) or None, "all": (min, max) or None}, score points.
    """

    clips: int
    splits: dict[str, int] = field(default_factory=dict)
    empty_tubes: int = 0
    score_ranges: dict[str, dict[str, tuple[float, float] | None]] = field(default_factory=dict)


def network_frames(frames: NDArray[np.uint8], crop: int, input_size: int) -> NDArray[np.uint8]:
    """The pixels that the network sees: centre crop of `crop` px, resized to `input_size`.

    Args:
        frames: (L, H, W, 3) uint8.

    Returns:
        (L, input_size, input_size, 3) uint8. Pixel edges map to pixel edges, as the quads are mapped:
        x' = (x - left) * input_size / crop.

    Raises:
        ValueError: if the crop does not fit into the frame.
    """
    height, width = frames.shape[1:3]
    if crop > min(height, width):
        raise ValueError(f"a crop of {crop} px does not fit into frames of {width} by {height} px; lower masks.crop.")
    left, top = crop_origin((width, height), crop)
    window = frames[:, top : top + crop, left : left + crop]
    if crop == input_size:
        return np.ascontiguousarray(window)
    import cv2  # here, as planning this stage resizes nothing

    # Area averaging does not alias when shrinking; it degenerates to nearest when enlarging.
    method = cv2.INTER_AREA if input_size < crop else cv2.INTER_LINEAR
    out = np.empty((len(frames), input_size, input_size, 3), np.uint8)
    for target, frame in zip(out, window, strict=True):
        cv2.resize(np.ascontiguousarray(frame), (input_size, input_size), dst=target, interpolation=method)
    return out


def write_pack(path: Path, clips: Iterable[PackClip], config: PackConfig, masks: MasksConfig) -> PackInfo:
    """Write the pack to `path`; the caller renames it once this returns.

    Args:
        clips: in the order in which they are to be stored; consumed once, one at a time.
        masks: the configuration that the clips' masks were built with.

    Raises:
        ValueError: no clip at all, a clip_id given twice, or arrays that do not fit together.
    """
    writer: PackWriter | None = None
    seen: list[ClipLabels] = []
    names: set[str] = set()
    empty = 0
    with ExitStack() as files:
        for clip in clips:
            if clip.clip_id in names:
                raise ValueError(f"clip '{clip.clip_id}' comes twice; give every clip its own clip_id.")
            names.add(clip.clip_id)
            frames = network_frames(clip.frames(), masks.crop, config.input_size)
            if writer is None:
                compression = None if config.compression == "none" else config.compression
                geometry = _geometry(len(frames), config, masks)
                writer = files.enter_context(PackWriter(path, geometry, compression))
            writer.append(ClipArrays(frames, clip.coverage, clip.mask), clip.labels)
            seen.append(clip.labels)
            empty += not clip.mask.any()
        if writer is None:
            raise ValueError("there is no clip to pack; all were quarantined or the dataset is empty.")
        ranges = score_ranges(seen)
        writer.finish({"score_ranges": ranges, "empty_tubes": empty, "compression": config.compression})
    splits = {name: sum(row.split == name for row in seen) for name in sorted({row.split for row in seen})}
    return PackInfo(len(seen), splits, empty, ranges)


def score_ranges(labels: Iterable[ClipLabels]) -> dict[str, dict[str, Any]]:
    """Smallest and largest score per action, of the train split and of all clips; None where no score exists.

    Published numbers on AQA-7 normalise with the range of all clips, which lets the test set's extremes
    leak; both are kept so that training can choose.
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for row in labels:
        kept = scores.setdefault(row.action, {"train": [], "all": []})
        if row.score is not None and np.isfinite(row.score):
            kept["all"].append(row.score)
            if row.split == "train":
                kept["train"].append(row.score)
    return {
        action: {part: (min(values), max(values)) if values else None for part, values in kept.items()}
        for action, kept in sorted(scores.items())
    }


def _geometry(length: int, config: PackConfig, masks: MasksConfig) -> PackGeometry:
    return PackGeometry(
        length=length,
        input_size=config.input_size,
        crop=masks.crop,
        grid=masks.grid,
        starts=tuple(masks.starts),
        segment_length=masks.segment_length,
        stride=masks.stride,
        tau=masks.tau,
    )


class PackSettings(StageConfig):
    """What packing is configured with; tau and grid reach the key through the masks' keys."""

    pack: PackConfig = Field(PackConfig(), description="What the pack holds.")
    masks: MasksConfig = Field(MasksConfig(), description="What the clips' masks were built with.")

    def key_view(self) -> dict[str, Any]:
        """The pack's own section."""
        return {"pack": self.pack.key_view()}


def _read_frames(store: Store, key: str) -> NDArray[np.uint8]:
    return decode_frames(store.read("normalize", key).arrays)


def _pack_job(job: Job, config: PackSettings, context: Context) -> Product:
    store = context.workspace.store
    file = store.scratch("pack.h5")

    def clips() -> Iterator[PackClip]:
        for done, member in enumerate(job.members):
            report("pack", done, len(job.members))
            clip, keys = member.clip, member.keys
            read_frames = partial(_read_frames, store, keys["normalize"])
            tube = store.read("masks", keys["masks"], ["coverage", "mask"]).arrays
            yield PackClip(
                clip_id=clip.clip_id,
                split=SPLIT_NAMES.get(clip.split, clip.split),
                action=clip.action,
                frames=read_frames,
                coverage=tube["coverage"],
                mask=tube["mask"],
                score=clip.score,
                difficulty=clip.difficulty,
                judges=clip.judges,
                label=clip.label,
            )

    try:
        write_pack(file, clips(), config.pack, config.masks)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return Product(file=file)


STAGE = Stage(
    "pack",
    STAGE_VERSION,
    ("normalize", "masks"),
    each(_pack_job),
    composed=PackSettings,
)
