"""SiamMask in lockstep against the plain loop of the published code: one clip, one frame, mask head everywhere.

    python -m benchmarks.siammask --batch 1 8 --frames 6
    python -m benchmarks.siammask --device cuda --batch 1 8 32 --frames 103

Weights are random: the cost does not depend on them. Frames are noise of the normalised size, in memory.
"""

import argparse
import time

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.trackers.siammask import NEVER_LOST, PRESETS, SiamMask, SiamMaskTracker, SmallSiamMask
from models.trackers.siammask.anchors import SEARCH_PX
from models.trackers.siammask.decode import choose, move, outline_window, search_side
from models.trackers.siammask.outline import mask_to_rectangle, outline_to_mask

FRAME_WH = (455, 256)
BOX = np.asarray([[180.0, 80.0, 240.0, 200.0]], np.float32)
SETTINGS = PRESETS["vot"]
FORMS = ["small", "base", "sharp"]


def plain_loop(tracker: SiamMaskTracker, network: SiamMask | SmallSiamMask, frames: NDArray[np.uint8]) -> None:
    """One clip, frame by frame: crop with OpenCV, one forward pass, the coarse mask head (if any) at all positions."""
    tracker.init(frames[0], BOX[0])
    targets = tracker._targets
    assert targets is not None
    padding = targets.padding[0].cpu().numpy()
    for frame in frames[1:]:
        side = torch.round(search_side(targets.size))
        whole = int(side)
        x, y = np.round(targets.centre[0].cpu().numpy() - (whole + 1) / 2).astype(int)
        square = np.empty((whole, whole, 3), np.uint8)
        square[:] = padding
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + whole, FRAME_WH[0]), min(y + whole, FRAME_WH[1])
        square[top - y : bottom - y, left - x : right - x] = frame[top:bottom, left:right]
        crop = cv2.resize(square, (SEARCH_PX, SEARCH_PX))[..., ::-1].transpose(2, 0, 1)
        with torch.inference_mode():
            picture = torch.from_numpy(crop[None].astype(np.float32)).to(tracker.device)
            response = network.search(picture, targets.template)
            if isinstance(network, SiamMask):
                network.mask.head(response.correlation)
            weight = torch.full((1,), SETTINGS.window, dtype=torch.float64, device=tracker.device)
            choice = choose(response.cls, response.loc, targets.size, SETTINGS, weight)
            outline = network.outline(response, choice.position).sigmoid()[0].cpu().numpy()
            window = outline_window(targets.centre, side, choice.position, SEARCH_PX)[0].cpu().numpy()
            targets.centre, targets.size = move(targets.centre, targets.size, choice, SETTINGS, FRAME_WH)
        mask_to_rectangle(outline_to_mask(outline, window, FRAME_WH, SETTINGS), SETTINGS.min_area)


def measure(form: str, device: str, batches: list[int], frames: int, processor: bool = False) -> None:
    """Print one line for the plain loop and one for each batch: frames of clips per second.

    `processor`: of the processor's time, all threads together, which means more than wall time on a busy machine.
    """
    torch.manual_seed(0)
    network = SmallSiamMask() if form == "small" else SiamMask(sharp=form == "sharp")
    network.eval().requires_grad_(False).to(device)
    tracker = SiamMaskTracker.around(network, SETTINGS, NEVER_LOST, device)
    clips = [
        (np.random.default_rng(k).integers(0, 256, (frames, *FRAME_WH[::-1], 3), np.uint8), BOX)
        for k in range(max(batches))
    ]
    tracker.track(clips[0][0][:2], BOX)   # warm up
    clock = time.process_time if processor else time.perf_counter
    unit = "frames a second of processor time" if processor else "frames/s"
    start = clock()
    plain_loop(tracker, network, clips[0][0])
    plain = (frames - 1) / (clock() - start)
    print(f"{form:5}  plain loop, one clip    {plain:8.2f} {unit}   1.00")
    for batch in batches:
        start = clock()
        tracker.track_many(clips[:batch])
        rate = batch * (frames - 1) / (clock() - start)
        print(f"{form:5}  lockstep, B = {batch:<3}        {rate:8.2f} {unit}   {rate / plain:.2f}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--form", choices=FORMS, nargs="+", default=FORMS)
    parser.add_argument("--processor", action="store_true", help="count the processor's seconds, not the clock's")
    options = parser.parse_args()
    for form in options.form:
        measure(form, options.device, options.batch, options.frames, options.processor)


if __name__ == "__main__":
    main()
