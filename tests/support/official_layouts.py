"""Procedural clips placed where the published datasets have theirs, so that real annotations have pixels to run on."""

import csv
import itertools
import json
import pickle
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.aqa7 import ACTIONS
from data_catalog.synthetic.sport import read_ground_truth
from data_catalog.synthetic.sport.write import VideoWriter

Frames = Iterator[NDArray[np.uint8]]


def frames_of(video: Path) -> Frames:
    with av.open(str(video)) as file:
        for frame in file.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def place_frames(video: Path, folder: Path, name: str = "{:06d}.jpg") -> int:
    """Extract a clip as a folder of images, as users do with ffmpeg; returns their number."""
    folder.mkdir(parents=True)
    count = 0
    for count, frame in enumerate(frames_of(video), start=1):
        assert cv2.imwrite(str(folder / name.format(count)), frame[..., ::-1])
    return count


def place_broadcast(video: Path, path: Path, start: int, end: int) -> None:
    """A broadcast whose frames `start` to `end` show the clip (its last frame held), after a still picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shots = list(frames_of(video))
    height, width = shots[0].shape[:2]
    with VideoWriter(path, (width, height), Fraction(25)) as writer:
        for number in range(end):
            writer.write(shots[min(max(number - start, 0), len(shots) - 1)] if number >= start else shots[0])


def true_rows(videos: Path, clip: str, frames: int | None = None) -> list[list[float]]:
    """The athlete's true corners as the published archives have them: 8 numbers a frame, the first in Z order."""
    quads = read_ground_truth(videos / "ground_truth" / f"{clip}.npz").quads[0]
    if frames is not None:
        quads = quads[np.minimum(np.arange(frames), len(quads) - 1)]
    quads = quads.copy()
    quads[0] = quads[0][[0, 1, 3, 2]]
    return [[round(float(value), 2) for value in quad.ravel()] for quad in quads]


def write_boxes(path: Path, rows: Mapping[str, list[list[float]]]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def labels_of(videos: Path) -> list[dict[str, str]]:
    """The procedural clips' labels, one row a clip."""
    return list(csv.DictReader((videos / "labels.csv").open()))


def write_whole_mtl(root: Path, videos: Path, held_out: int) -> Path:
    """A small MTL-AQA: annotation, split lists, a frame folder a dive, and boxes; the last dives are for testing."""
    labels, folder = labels_of(videos), root / "Ready_2_Use" / "MTL-AQA_split_0_data"
    folder.mkdir(parents=True)
    dives: dict[tuple[int, int], dict[str, Any]] = {}
    rows = {}
    for number, label in enumerate(labels, start=1):
        key = (1, number)
        frames = place_frames(videos / label["video"], root / "frames" / f"01_{number:02d}")
        judges = np.array([float(label[f"judge_{seat}"]) for seat in range(1, 8)])
        dives[key] = {
            "primary_view": 0, "start_frame": 1000 * number, "end_frame": 1000 * number + frames, "position": 1,
            "armstand": 0, "rotation_type": 1, "ss_no": 3, "tw_no": 1, "difficulty": float(label["difficulty"]),
            "final_score": float(label["score"]), "judge_scores": judges,
        }  # fmt: skip
        rows[f"1_{number}"] = true_rows(videos, label["clip_id"])
    keys = list(dives)
    content = {
        "augmented_final_annotations_dict": dives, "train_split_0": keys[:-held_out], "test_split_0": keys[-held_out:],
    }  # fmt: skip
    for name, value in content.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value, protocol=3))
    return write_boxes(root / "boxes.json", rows)


def write_whole_aqa7(root: Path, videos: Path, held_out: int) -> Path:
    """A small AQA-7: both lists, and the same clips as AVI files of every action; returns the file of boxes."""
    from scipy.io import savemat

    labels = labels_of(videos)
    lists: dict[str, list[list[float]]] = {"train": [], "test": []}
    rows: dict[str, dict[str, list[list[float]]]] = {}
    for place, action in enumerate(ACTIONS, start=1):
        rows[action] = {}
        for number, label in enumerate(labels, start=1):
            copy_as_avi(videos / label["video"], root / "Actions" / action / f"{number:03d}.avi")
            split = "test" if number > len(labels) - held_out else "train"
            lists[split].append([place, number, float(label["score"]) + place])
            rows[action][str(number)] = true_rows(videos, label["clip_id"])
    (root / "Split_4").mkdir()
    for split, table in lists.items():
        savemat(root / "Split_4" / f"split_4_{split}_list.mat", {f"consolidated_{split}_list": np.array(table)})
    return write_boxes(root / "boxes.json", rows)  # type: ignore[arg-type]


def copy_as_avi(video: Path, path: Path) -> None:
    """Encode a clip again as the AVI files of AQA-7 are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shots = list(frames_of(video))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = shots[0].shape[1], shots[0].shape[0], "yuv420p"
        stream.bit_rate = 4_000_000
        for shot in shots:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(shot, format="rgb24")))
        file.mux(stream.encode())


def write_whole_frfs(root: Path, videos: Path, held_out: int) -> Path:
    """A small FR-FS: both lists, a frame folder a clip, and its boxes; landings and falls alternate."""
    import xlwt

    labels, rows = labels_of(videos), {}
    named = [(f"{number}-{1 + number % 3}", number % 2, label) for number, label in enumerate(labels, start=10)]
    for split, members in {"Train": named[:-held_out], "Test": named[-held_out:]}.items():
        book = xlwt.Workbook()
        sheet = book.add_sheet("Sheet1")
        table = [("name", "label"), *((key, value) for key, value, _ in members)]
        for (line, row), column in itertools.product(enumerate(table), (0, 1)):
            sheet.write(line, column, row[column])
        root.mkdir(exist_ok=True)
        book.save(str(root / f"{split}.xls"))
    for key, _, label in named:
        place_frames(videos / label["video"], root / "Images" / key, "{:04d}.jpg")
        rows[key] = true_rows(videos, label["clip_id"])
    return write_boxes(root / "FRFS_Boxes.json", rows)
