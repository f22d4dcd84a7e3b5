"""Claim: exact coverage of a clip (103 quads on a 14×14 grid) costs less than 5 ms on one core.

    python -m benchmarks.coverage

The baseline is the same numbers by shapely: a loop over quads and cells with a convex hull, an intersection and an
area each. For `masks.source=mask`, the same athlete as pixel masks, the baseline decodes each frame's run lengths and
loops over its cells. All run in this one process on one core, and results are compared before times.
"""

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from models.geometry import box_to_quad, coverage, crop_origin, scale_quads
from models.geometry.mask_coverage import tube_coverage
from models.geometry.rle import pack_runs, unpack_runs

FLOOR_MS = 5.0
FRAMES, GRID, CROP, FRAME_WH = 103, (14, 14), 224, (455, 256)


def clip_of_quads() -> NDArray[np.float64]:
    """An athlete who turns while crossing the crop: (103, 4, 2), pixels of the crop."""
    turn = np.linspace(0, 4 * np.pi, FRAMES)[:, None]
    quad = box_to_quad([-20, -45, 20, 45]).astype(np.float64)
    x, y = quad[:, 0], quad[:, 1]
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=-1)
    return turned + np.linspace([-10, 40], [220, 200], FRAMES)[:, None]


def by_shapely(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    """The baseline: (L, 4, 2) → (L, Hf, Wf)."""
    side = CROP / GRID[0]
    cells = [
        [shapely.box(column * side, row * side, (column + 1) * side, (row + 1) * side) for column in range(GRID[1])]
        for row in range(GRID[0])
    ]
    covered = np.empty((len(quads), *GRID))
    for frame, quad in zip(covered, quads, strict=True):
        hull = shapely.convex_hull(shapely.multipoints(quad))
        for row in range(GRID[0]):
            for column in range(GRID[1]):
                frame[row, column] = shapely.area(shapely.intersection(hull, cells[row][column])) / side**2
    return covered


def masks_of(quads: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """The same athlete as masks of the whole frame: (L, 4, 2) pixels of the crop → L masks (256, 455)."""
    corner = crop_origin(FRAME_WH, CROP)
    masks = []
    for quad in quads:
        canvas = np.zeros(FRAME_WH[::-1], np.uint8)
        cv2.fillConvexPoly(canvas, np.rint(quad + corner).astype(np.int32), 1)
        masks.append(canvas.astype(bool))
    return masks


def by_cells(rle: NDArray[np.uint32], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """The baseline for masks: decode frame by frame, count cell by cell."""
    (left, top), side = crop_origin(FRAME_WH, CROP), CROP // GRID[0]
    covered = np.zeros((len(offsets) - 1, *GRID))
    for index, frame in enumerate(covered):
        mask = unpack_runs(rle, offsets, index, FRAME_WH[::-1])
        if mask is None:
            continue
        for row in range(GRID[0]):
            for column in range(GRID[1]):
                y, x = top + row * side, left + column * side
                frame[row, column] = mask[y : y + side, x : x + side].mean()
    return covered


def least_ms(run: Callable[[], object], repetitions: int) -> float:
    """Least CPU milliseconds of one call; numpy uses one core here."""
    best = float("inf")
    for _ in range(repetitions):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best * 1e3


def main() -> int:
    """Command line: print the ratios, exit with 1 above 5 ms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    repetitions = parser.parse_args().repetitions
    quads = clip_of_quads()
    error = np.abs(coverage(quads, GRID, (CROP, CROP)) - by_shapely(quads)).max()
    ours = least_ms(lambda: coverage(quads, GRID, (CROP, CROP)), repetitions)
    shapely_ms = least_ms(lambda: by_shapely(quads), 3)
    many = np.stack([scale_quads(quads, (1, 1), (1 + 0.01 * k, 1)) for k in range(40)])
    batch = least_ms(lambda: coverage(many, GRID, (CROP, CROP)), 5) / len(many)
    print(
        f"coverage of one clip, {FRAMES} quads on {GRID[0]}x{GRID[1]}: shapely loop {shapely_ms:.1f} ms, "
        f"ours {ours:.2f} ms: {shapely_ms / ours:.0f}x faster, largest difference {error:.1e}\n"
        f"  floor {FLOOR_MS:g} ms; in a batch of {len(many)} clips {batch:.2f} ms a clip"
    )
    packed = pack_runs(masks_of(quads))
    rle, offsets = packed["rle"], packed["rle_offsets"]
    corners = (quads + crop_origin(FRAME_WH, CROP))[None]
    apart = np.abs(tube_coverage(corners, rle, offsets, FRAME_WH, GRID, CROP)[0] - by_cells(rle, offsets)).max()
    by_mask = least_ms(lambda: tube_coverage(corners, rle, offsets, FRAME_WH, GRID, CROP), repetitions)
    cells_ms = least_ms(lambda: by_cells(rle, offsets), 3)
    print(
        f"masks.source=mask of one clip, {FRAMES} masks of {FRAME_WH[0]}x{FRAME_WH[1]} px as {len(rle)} run lengths: "
        f"loop over cells {cells_ms:.1f} ms, ours {by_mask:.2f} ms: {cells_ms / by_mask:.0f}x faster, "
        f"largest difference {apart:.1e}\n  floor {FLOOR_MS:g} ms"
    )
    return 0 if max(ours, by_mask) < FLOOR_MS and max(error, apart) < 1e-5 else 1


if __name__ == "__main__":
    raise SystemExit(main())
