"""SAM 2 through ultralytics' video predictor: the first box as a prompt, then its memory; mask → rotated quad.

The predictor is given frames one by one: its own sources, which open files and threads, and its result objects are not
used, and nothing is downloaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from models.trackers.base import MIN_SIDE_PX, TrackStep, Tube, box_inside, rectangle
from models.trackers.sam2_network import load_sam2
from models.trackers.siammask.outline import mask_to_rectangle, rectangle_to_quad

INPUT_PX = 1024          # the longer side of a frame on its way in; what the public weights were trained at
STRIDE = 16
LOST_BELOW = 0.5         # probability that the object is in the frame at all; SAM 2's own limit, logit 0
NUM_FRAMES = 1 << 16     # of a clip whose length is unknown: the predictor only asks whether it is above 16


@dataclass(frozen=True, eq=False)
class _Seen:
    """A athletes in a frame: `masks` (A, H, W) bool, `scores` (A,) probability that they are in it."""

    masks: NDArray[np.bool_]
    scores: NDArray[np.float64]


class Sam2Tracker:
    """Follows what boxes hold; all athletes of a clip share the image encoder, and no pixel is given to two.

    The quad is the smallest rotated rectangle around the mask's largest piece. An athlete who is not seen keeps the
    last quad, is marked lost, and has no mask.

    Args:
        files: the weights file, sizes t, s, b or l, version 2 or 2.1.
        device: "cpu" or "cuda[:n]".
        input_px: longer side that frames are brought to, a multiple of 32.

    Raises:
        FileNotFoundError, ValueError: see `load_sam2`.
    """

    def __init__(self, files: Sequence[Path], device: str = "cpu", input_px: int = INPUT_PX) -> None:
        self._predictor = _predictor(load_sam2(files[0]), device, input_px)
        self._quad: NDArray[np.float32] | None = None

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        """See `Tracker.init`."""
        inside = box_inside(box, frame)
        self._begin(frame, inside[None])
        self._quad = rectangle(inside)

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        """See `Tracker.update`."""
        if self._quad is None:
            raise RuntimeError("update() before init()")
        step = _step(self._look(frame), 0, self._quad)
        self._quad = step.quad
        return step

    def track(self, frames: NDArray[np.uint8], boxes: NDArray[np.float32]) -> list[Tube]:
        """See `Tracker.track`. The first frame has the given box, and the mask that was found in it."""
        given = [box_inside(box, frames[0]) for box in np.asarray(boxes, np.float32).reshape(-1, 4)]
        if not given:
            return []
        first = self._begin(frames[0], np.stack(given))
        tracks = [[TrackStep(rectangle(box), 1.0, mask=_own(first, who))] for who, box in enumerate(given)]
        for frame in frames[1:]:
            seen = self._look(frame)
            for who, steps in enumerate(tracks):
                steps.append(_step(seen, who, steps[-1].quad))
        return [_tube(steps) for steps in tracks]

    def _begin(self, frame: NDArray[np.uint8], boxes: NDArray[np.float64]) -> _Seen:
        """Forget everything and start with `boxes` (A, 4)."""
        self._predictor.inference_state = self._predictor._init_state(NUM_FRAMES)
        self._predictor.dataset = SimpleNamespace(frame=-1, mode="video")
        return self._look(frame, boxes)

    @torch.inference_mode()
    def _look(self, frame: NDArray[np.uint8], boxes: NDArray[np.float64] | None = None) -> _Seen:
        predictor = self._predictor
        predictor.dataset.frame += 1
        predictor.batch = (None, [frame], None)
        pixels = predictor.preprocess([frame[..., ::-1]])  # it expects BGR, as OpenCV reads frames
        logits, _ = predictor.inference(pixels, bboxes=boxes)
        masks = _to_frame(logits.float(), predictor.imgsz[0], frame.shape[:2])
        if len(masks) > 1:
            masks = predictor.model._apply_non_overlapping_constraints(masks[:, None])[:, 0]
        return _Seen((masks > predictor.model.mask_threshold).cpu().numpy(), self._scores())

    def _scores(self) -> NDArray[np.float64]:
        """Of the frame that was looked at last."""
        outputs, number = self._predictor.inference_state["output_dict"], self._predictor.dataset.frame
        kinds = ("cond_frame_outputs", "non_cond_frame_outputs")
        output = next(outputs[kind][number] for kind in kinds if number in outputs[kind])
        return np.asarray(output["object_score_logits"].double().sigmoid().flatten().cpu())


def _predictor(network: Any, device: str, input_px: int) -> Any:
    """The video predictor of ultralytics around a network, ready to be given frames."""
    from ultralytics.models.sam.predict import SAM2VideoPredictor

    predictor: Any = SAM2VideoPredictor(overrides={"imgsz": input_px, "save": False, "verbose": False})
    predictor.args.device = torch.device(device)  # as text it would be looked up, told, and put into the environment
    predictor.setup_model(model=network, verbose=False)
    predictor.imgsz = [input_px, input_px]
    predictor._bb_feat_sizes = [[input_px // step] * 2 for step in (STRIDE // 4, STRIDE // 2, STRIDE)]
    network.set_imgsz(predictor.imgsz)
    return predictor


def _to_frame(logits: torch.Tensor, input_px: int, frame_hw: tuple[int, int]) -> torch.Tensor:
    """Logits (A, h, w) over the square input → (A, H, W) over the frame, which lies in its upper left part."""
    gain = input_px / max(frame_hw)
    y, x = (_places(logits, side, round(side * gain) / input_px) for side in frame_hw)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    places = grid[None].expand(len(logits), -1, -1, -1)
    return functional.grid_sample(logits[:, None], places, padding_mode="border", align_corners=False)[:, 0]


def _places(logits: torch.Tensor, side: int, part: float) -> torch.Tensor:
    """Where the middles of `side` pixels lie along a side of the input of which the frame takes `part`; from -1 to 1.

    No further than the middle of the frame's last logit: behind it is the margin, which is nothing of the frame.
    """
    middles = (torch.arange(side, device=logits.device) + 0.5) / side * part
    last = part - 0.5 / logits.shape[-1]
    return middles.clamp(max=last) * 2 - 1


def _own(seen: _Seen, who: int) -> NDArray[np.bool_] | None:
    """An athlete's mask, if there is enough of it to be somebody."""
    return seen.masks[who] if seen.masks[who].sum() >= MIN_SIDE_PX**2 else None


def _step(seen: _Seen, who: int, last: NDArray[np.float32]) -> TrackStep:
    score, mask = float(seen.scores[who]), _own(seen, who)
    around = None if mask is None or score < LOST_BELOW else mask_to_rectangle(mask, MIN_SIDE_PX**2)
    if around is None:
        return TrackStep(last, score, lost=True)
    return TrackStep(rectangle_to_quad(around), score, mask=mask)


def _tube(steps: Sequence[TrackStep]) -> Tube:
    return Tube(
        quads=np.stack([step.quad for step in steps]).astype(np.float32),
        scores=np.asarray([step.score for step in steps], np.float32),
        lost=np.asarray([step.lost for step in steps], bool),
        masks=[step.mask for step in steps],
    )
