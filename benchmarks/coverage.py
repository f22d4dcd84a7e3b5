"""Claim: exact coverage of a clip (103 quads on a 14×14 grid) costs less than 5 ms on one core.

    python -m benchmarks.coverage

The baseline is the same numbers by shapely: a loop over quads and cells with a convex hull, an intersection and an
area each. Both run in this one process on one core, and their results are compared before their times.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from models.geometry import box_to_quad, coverage, scale_quads

FLOOR_MS = 5.0
FRAMES, GRID, CROP = 103, (14, 14), 224


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


def least_ms(run: Callable[[], object], repetitions: int) -> float:
    """Least CPU milliseconds of one call; numpy uses one core here."""
    best = float("inf")
    for _ in range(repetitions):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best * 1e3


def main() -> int:
    """Command line: print the ratio, exit with 1 above 5 ms."""
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
    return 0 if ours < FLOOR_MS and error < 1e-5 else 1


if __name__ == "__main__":
    raise SystemExit(main())
