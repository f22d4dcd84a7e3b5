"""Score one video with this folder's model: NumPy, OpenCV, and PyTorch or onnxruntime; nothing else.

    python predict.py dive.mp4 --tube dive.txt --difficulty 3.2
    python predict.py dive.mp4 --box 210,40,60,150

Who is judged has to be said, and the score depends on it, as it does in training:

--tube FILE   one line for each frame of the video, or for each frame that the model takes: x1,y1,…,x4,y4 (corners) or
              x,y,w,h (left, top, width, height), in pixels of the video. Once for each athlete of a pair.
--box         one such box, x,y,w,h, for all frames: the athlete must not leave it.
--whole-frame everything that the model sees counts as the athlete.
--mask FILE   the tube mask itself, .npy of bool, as model.json says.

The video's frame rate should be constant. HDR and interlaced videos are scored as they are stored.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
Take = dict[str, Any]  # `preprocessing` of model.json
Array = np.ndarray[Any, Any]


def main() -> int:
    """Score the video of the command line and print JSON; the exit status."""
    how = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    words = arguments()
    take = how["preprocessing"]
    if how["inputs"]["difficulty"]["used"] and words.difficulty is None:
        return refuse("this model multiplies by the degree of difficulty; give it with --difficulty")
    count = count_frames(words.video)
    if count < 2:
        return refuse(f"{words.video} is no video that OpenCV can read, or has a single frame")
    index = frame_numbers(count, take)
    frames, size_wh = read_frames(words.video, index, take)
    if words.mask is not None:
        mask = np.load(words.mask, allow_pickle=False).astype(bool)[None]
    elif take["tube"] != "quads" and not words.whole_frame:
        return refuse(f"this model learnt from {take['tube']}, which corners don't say; give --mask or --whole-frame")
    else:
        mask = tube_mask(coverage_of(words, index, count, size_wh, take), take)[None]
    if list(mask.shape) != how["inputs"]["mask"]["shape"]:
        return refuse(f"the mask has shape {mask.shape}, the model takes {how['inputs']['mask']['shape']}")
    difficulty = np.array([1.0 if words.difficulty is None else words.difficulty], np.float32)
    found = run_model(HERE / how["file"], network_frames(frames, take)[None], mask, difficulty, list(how["outputs"]))
    score, segments = float(found["score"][0]), [round(float(one), 6) for one in found["segments"][0]]
    told: dict[str, Any] = {"video": words.video, "score": score, "segments": segments, "cells": int(mask.sum())}
    if "intervals" in how:
        told["intervals"] = intervals(score, float(found["spread"][0]), how["intervals"]["ends"])
    told |= likeness(found, how["unlike"])
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s VIDEO WHO [options]"
    )
    parser.add_argument("video", metavar="VIDEO")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--tube", action="append", metavar="FILE", type=Path, help="quads or boxes, a line a frame")
    who.add_argument("--box", metavar="X,Y,W,H", help="one box for all frames, in pixels of the video")
    who.add_argument("--whole-frame", action="store_true", help="all that the model sees is the athlete")
    who.add_argument("--mask", metavar="FILE", type=Path, help="the tube mask, .npy")
    parser.add_argument("--difficulty", type=float, help="degree of difficulty, where the model needs it")
    return parser.parse_args()


def refuse(sentence: str) -> int:
    """Say what is wrong; the exit status of that."""
    sys.stderr.write(f"predict.py: {sentence}.\n")
    return 2


# ---- frames ----


def count_frames(path: str) -> int:
    """By decoding: what containers say of their number of frames is often wrong."""
    video, count = cv2.VideoCapture(path), 0
    while video.grab():
        count += 1
    return count


def frame_numbers(count: int, take: Take) -> Array:
    """(L,) numbers of the video's frames that the model takes."""
    length = take["frames"]
    steps = np.arange(length, dtype=np.int64)
    if take["window"] == "tail":
        return np.asarray(np.maximum(count - length + steps, 0))
    # The frame shown at the middle of the i-th of L equal slices.
    return np.asarray((2 * steps + 1) * count // (2 * length))


def read_frames(path: str, index: Array, take: Take) -> tuple[Array, tuple[int, int]]:
    """(L, H, W, 3) uint8 RGB as the model's clips are stored, and the video's own (width, height)."""
    video, wanted, kept, size_wh = cv2.VideoCapture(path), set(index.tolist()), {}, (0, 0)
    number = 0
    while video.grab():
        if number in wanted:
            found, image = video.retrieve()
            if not found:
                raise SystemExit(refuse(f"frame {number} of {path} can't be decoded"))
            size_wh = image.shape[1], image.shape[0]
            kept[number] = stored(resized(image, (take["width"], take["height"])), take["jpeg_quality"])
        number += 1
    return np.stack([kept[number] for number in index.tolist()]), size_wh


def resized(image: Array, size_wh: tuple[int, int]) -> Array:
    """(H, W, 3) uint8 stretched to (width, height)."""
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    shrinking = size_wh[0] <= width and size_wh[1] <= height
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def stored(image: Array, quality: int) -> Array:
    """(H, W, 3) uint8, BGR → RGB by way of the JPEG that training read."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    again: Any = cv2.imdecode(cv2.imencode(".jpg", image, settings)[1], cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(again, cv2.COLOR_BGR2RGB))


def corner(take: Take) -> tuple[int, int]:
    """Left and top of the centre crop."""
    return round((take["width"] - take["crop"]) / 2), round((take["height"] - take["crop"]) / 2)


def network_frames(frames: Array, take: Take) -> Array:
    """Frames (L, H, W, 3) uint8 → (L, S, S, 3) uint8: the centre crop at the network's size."""
    (left, top), crop, side = corner(take), take["crop"], take["input_size"]
    window = frames[shifted(len(frames), take), top : top + crop, left : left + crop]
    if crop == side:
        return np.ascontiguousarray(window)
    method = cv2.INTER_AREA if side < crop else cv2.INTER_LINEAR
    return np.stack([cv2.resize(np.ascontiguousarray(one), (side, side), interpolation=method) for one in window])


def shifted(length: int, take: Take) -> Array:
    """(L,) int64: the frame that stands at each place of the clip, which the model may take moved in time."""
    return np.asarray(np.clip(np.arange(length) + take["first_frame"], 0, length - 1))


# ---- the tube ----


def coverage_of(
    words: argparse.Namespace, index: Array, count: int, size_wh: tuple[int, int], take: Take
) -> Array:
    """(L, Hf, Wf) float32: the share of each cell of the feature grid that the athletes cover in each frame."""
    if words.whole_frame:
        return np.ones((len(index), *take["grid"]), np.float32)
    if words.box is not None:
        tubes = [np.repeat(corners(np.array([numbers(words.box)])), len(index), axis=0)]
    else:
        tubes = [read_tube(path, index, count) for path in words.tube]
    scale = take["width"] / size_wh[0], take["height"] / size_wh[1]
    seen = []
    for tube in tubes:
        normalised = (tube * scale).astype(np.float32).astype(np.float64)
        seen.append(coverage((normalised - corner(take)).astype(np.float32), take["grid"], take["crop"]))
    return np.asarray(np.max(seen, axis=0))


def read_tube(path: Path, index: Array, count: int) -> Array:
    """(L, 4, 2) float64, corners in pixels of the video, of a file with a line for each frame."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) not in (count, len(index)):
        raise SystemExit(refuse(f"{path} has {len(lines)} lines; write {count} (the video's frames) or {len(index)}"))
    quads = corners(np.array([numbers(line) for line in lines]))
    return quads[index] if len(lines) == count else quads


def numbers(line: str) -> list[float]:
    """The four or eight numbers of a line."""
    try:
        found = [float(word) for word in re.split(r"[,;\s]+", line.strip())]
    except ValueError:
        found = []
    if len(found) not in (4, 8) or not np.isfinite(found).all():
        raise SystemExit(refuse(f"'{line.strip()[:60]}' is no box x,y,w,h and no quad x1,y1,…,x4,y4"))
    return found


def corners(rows: Array) -> Array:
    """Boxes (n, 4) or quads (n, 8) → (n, 4, 2) float64."""
    if rows.shape[1] == 8:
        return rows.reshape(-1, 4, 2)
    x, y, w, h = rows.T
    return np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1).reshape(-1, 4, 2)


def coverage(quads: Array, grid: tuple[int, int], crop: int) -> Array:
    """Exact share of every cell of the crop that lies in each quad's convex hull: (L, 4, 2) → (L, Hf, Wf) float32."""
    rows, columns = grid
    covered = np.zeros((len(quads), rows, columns), np.float32)
    for number, quad in enumerate(np.asarray(quads, np.float64)):
        hull = convex(quad * (columns, rows) / (crop, crop))
        for row in range(rows):
            band = clip(clip(hull, 1, row, True), 1, row + 1, False)
            if len(band) < 3:
                continue
            for column in range(columns):
                cell = clip(clip(band, 0, column, True), 0, column + 1, False)
                covered[number, row, column] = min(1.0, area(cell))
    return covered


def convex(points: Array) -> Array:
    """The convex hull of points (n, 2) float64, in order: (k, 2) (Andrew's monotone chain)."""
    ordered = sorted(set(map(tuple, points.tolist())))
    if len(ordered) < 3:
        return np.empty((0, 2))

    def half(chain: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for x, y in chain:
            while len(kept) > 1 and turn(kept[-2], kept[-1], (x, y)) <= 0:
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(half(ordered) + half(ordered[::-1])).reshape(-1, 2)


def turn(a: Any, b: Any, c: Any) -> float:
    """Above 0 where a, b, c turn to the left."""
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def clip(polygon: Array, axis: int, bound: float, above: bool) -> Array:
    """What of a convex polygon (n, 2) float64 lies on one side of an upright or level line (Sutherland and Hodgman)."""
    kept = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        inside = [(point[axis] >= bound) if above else (point[axis] <= bound) for point in (start, end)]
        if inside[0]:
            kept.append(start)
        if inside[0] != inside[1]:
            crossing = start + (end - start) * ((bound - start[axis]) / (end[axis] - start[axis]))
            crossing[axis] = bound
            kept.append(crossing)
    return np.array(kept).reshape(-1, 2)


def area(polygon: Array) -> float:
    """Of a polygon (n, 2)."""
    if len(polygon) < 3:
        return 0.0
    x, y = (polygon - polygon[0]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def tube_mask(covered: Array, take: Take) -> Array:
    """Coverage (L, Hf, Wf) → (N, T, Hf, Wf) bool: cells covered by `tau` in any frame that a step of features sees."""
    inside = covered[shifted(len(covered), take)] >= take["tau"]
    frames = np.array(take["starts"])[:, None] + np.arange(take["segment_length"])
    steps = inside[frames.reshape(-1, take["stride"])].any(axis=1)
    return np.asarray(steps.reshape(len(take["starts"]), -1, *take["grid"]))


# ---- the model ----


def intervals(score: float, spread: float, ends: dict[str, list[float] | None]) -> list[dict[str, float]]:
    """Where the score of a clip like the training's lies, by coverage in percent; none that isn't known."""
    return [
        {"level": int(level), "low": score + pair[0] * spread, "high": score + pair[1] * spread}
        for level, pair in ends.items()
        if pair is not None
    ]


def likeness(found: dict[str, Array], unlike: dict[str, Any]) -> dict[str, Any]:
    """Whether the video is like the clips that the model was trained on; None for all where that isn't known."""
    if "above" not in unlike:
        return {"distance": None, "unlike": None, "unlike_above": None}
    far, above = distance(found["features"][0], HERE / unlike["file"]), unlike["above"]
    if far > above:
        sys.stderr.write(
            f"predict.py: this video is unlike what the model was trained on: it is {far / above:.1f} times as far "
            f"from the training clips as {unlike['coverage']:.0%} of clips of their kind are; its score means little.\n"
        )
    return {"distance": far, "unlike": far > above, "unlike_above": above}


def distance(features: Array, path: Path) -> float:
    """Mahalanobis' distance of features (F,), made as long as 1, from the kind of clips that the file describes."""
    exact = features.astype(np.float64)
    with np.load(path, allow_pickle=False) as kind:
        off = exact / (np.linalg.norm(exact) or 1.0) - kind["mean"]
        along = kind["directions"] @ off
        beside = max(float(off @ off - along @ along), 0.0)
        return float(np.sqrt((along**2 / kind["variances"]).sum() + beside / kind["elsewhere"]))


def run_model(path: Path, frames: Array, mask: Array, difficulty: Array, outputs: list[str]) -> dict[str, Array]:
    """The model's outputs by name: `score` (1,), `segments` (1, N) and whatever else it has, float32.

    Args:
        path: the exported model.
        frames: (1, L, S, S, 3) uint8 RGB.
        mask: (1, N, T, Hf, Wf) bool.
        difficulty: (1,) float32.
        outputs: their names in order.
    """
    inputs = {"frames": frames, "mask": mask, "difficulty": difficulty}
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        given = {one.name: inputs[one.name] for one in session.get_inputs()}
        return dict(zip(outputs, session.run(outputs, given), strict=True))
    import torch

    with torch.no_grad():
        program = torch.export.load(path).module()
        made = (out.numpy() for out in program(*map(torch.from_numpy, inputs.values())))
        return dict(zip(outputs, made, strict=True))


if __name__ == "__main__":
    sys.exit(main())
