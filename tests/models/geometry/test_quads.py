"""Geometry against shapely, against numbers worked out by hand, and against what must hold for any quad."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from models.geometry import flip_coverage
from models.geometry import quads as g

Quad = NDArray[np.float64]

# Whole and half pixels hit corners, edges and cell borders; the others everything between, in and out of the frame.
coordinates = st.one_of(
    st.integers(-40, 80).map(lambda n: n / 2), st.floats(-30, 60, width=32), st.sampled_from([-1e5, 1e5])
)
quads = arrays.arrays(np.float64, (4, 2), elements=coordinates)
SIZE, GRID = (28, 21), (3, 4)


def slow_coverage(quad: Quad, grid: tuple[int, int], size: tuple[float, float]) -> Quad:
    """The same by shapely, cell by cell."""
    hull = shapely.convex_hull(shapely.multipoints(quad))
    rows, columns = grid
    width, height = size[0] / columns, size[1] / rows
    cells = np.empty(grid)
    for row in range(rows):
        for column in range(columns):
            cell = shapely.box(column * width, row * height, (column + 1) * width, (row + 1) * height)
            cells[row, column] = shapely.area(shapely.intersection(hull, cell)) / (width * height)
    return cells


@settings(max_examples=300, deadline=None)
@given(quads)
def test_coverage_is_exact_for_any_four_corners(quad: Quad) -> None:
    np.testing.assert_allclose(g.coverage(quad, GRID, SIZE), slow_coverage(quad, GRID, SIZE), atol=1e-5)


@settings(deadline=None)
@given(quads, st.permutations(range(4)))
def test_coverage_does_not_depend_on_corner_order(quad: Quad, order: list[int]) -> None:
    np.testing.assert_allclose(g.coverage(quad[order], GRID, SIZE), g.coverage(quad, GRID, SIZE), atol=1e-6)


@settings(deadline=None)
@given(quads)
def test_coverage_of_the_mirrored_quad_is_the_mirrored_coverage(quad: Quad) -> None:
    mirrored = g.coverage(g.flip_quads(quad, SIZE[0]), GRID, SIZE)
    np.testing.assert_allclose(mirrored, flip_coverage(g.coverage(quad.astype(np.float32), GRID, SIZE)), atol=1e-5)


@settings(deadline=None)
@given(quads)
def test_cells_add_up_to_the_area_inside_the_frame(quad: Quad) -> None:
    hull = shapely.convex_hull(shapely.multipoints(quad))
    inside = shapely.area(shapely.intersection(hull, shapely.box(0, 0, *SIZE)))
    cell = SIZE[0] * SIZE[1] / (GRID[0] * GRID[1])
    assert g.coverage(quad, GRID, SIZE).sum(dtype=np.float64) * cell == pytest.approx(inside, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "quad", "expected"),
    [
        ("all", [(0, 0), (4, 0), (4, 2), (0, 2)], [[1, 1], [1, 1]]),
        ("far larger", [(-90, -90), (90, -90), (90, 90), (-90, 90)], [[1, 1], [1, 1]]),
        ("left half", [(0, 0), (1, 0), (1, 2), (0, 2)], [[0.5, 0], [0.5, 0]]),
        ("one cell", [(2, 0), (4, 0), (4, 1), (2, 1)], [[0, 1], [0, 0]]),
        ("anticlockwise", [(2, 0), (2, 1), (4, 1), (4, 0)], [[0, 1], [0, 0]]),
        ("diamond", [(2, 0), (4, 1), (2, 2), (0, 1)], [[0.5, 0.5], [0.5, 0.5]]),
        ("bow-tie", [(0, 0), (4, 2), (4, 0), (0, 2)], [[1, 1], [1, 1]]),
        ("triangle", [(0, 0), (4, 0), (0, 2), (0, 2)], [[1, 0.5], [0.5, 0]]),
        ("inner corner", [(0, 0), (4, 0), (1, 0.6), (0, 2)], [[1, 0.5], [0.5, 0]]),
        ("point", [(1, 1)] * 4, [[0, 0], [0, 0]]),
        ("line", [(0, 0), (4, 2), (2, 1), (1, 0.5)], [[0, 0], [0, 0]]),
        ("outside", [(5, 0), (9, 0), (9, 2), (5, 2)], [[0, 0], [0, 0]]),
        ("half out", [(-2, -1), (2, -1), (2, 1), (-2, 1)], [[1, 0], [0, 0]]),
    ],
)
def test_coverage_by_hand(name: str, quad: list[tuple[float, float]], expected: list[list[float]]) -> None:
    found = g.coverage(quad, (2, 2), (4, 2))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8])
def test_any_dtype_and_any_leading_dimensions(dtype: type) -> None:
    quad = np.array([[1, 0], [3, 1], [2, 2], [0, 1]], dtype=dtype)
    many = np.broadcast_to(quad, (5, 67, 4, 2))
    before = quad.copy()
    found = g.coverage(many, (3, 2), (4, 3))
    assert found.shape == (5, 67, 3, 2)
    np.testing.assert_allclose(found, np.broadcast_to(slow_coverage(quad, (3, 2), (4, 3)), found.shape), atol=1e-6)
    np.testing.assert_array_equal(quad, before)
    assert g.coverage(many[:0], (3, 2), (4, 3)).shape == (0, 67, 3, 2)


@pytest.mark.parametrize(
    ("quad", "grid", "size", "message"),
    [
        (np.zeros((3, 2)), (2, 2), (4, 4), r"\(…, 4, 2\)"),
        (np.full((4, 2), np.nan), (2, 2), (4, 4), "finite"),
        (np.full((4, 2), np.inf), (2, 2), (4, 4), "finite"),
        (np.zeros((4, 2)), (0, 2), (4, 4), "at least|a cell"),
        (np.zeros((4, 2)), (2, 2), (4, 0), "positive size"),
    ],
)
def test_bad_quads_grids_and_sizes(quad: Quad, grid: tuple[int, int], size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        g.coverage(quad, grid, size)


@settings(max_examples=300, deadline=None)
@given(quads, quads)
def test_polygon_iou_is_exact(one: Quad, other: Quad) -> None:
    hulls = [shapely.convex_hull(shapely.multipoints(quad)) for quad in (one, other)]
    areas = [shapely.area(hull) for hull in hulls]
    found = float(g.polygon_iou(one, other))
    assert 0 <= found <= 1
    assert found == pytest.approx(float(g.polygon_iou(other, one)), abs=1e-6)
    if min(areas) <= 1e-6 * max(areas):  # slivers beside giants: shapely's own difference is noise
        assert found < 1e-5
        return
    common = shapely.area(shapely.intersection(*hulls))
    assert found == pytest.approx(common / (sum(areas) - common), abs=1e-6)


def test_polygon_iou_by_hand() -> None:
    square = g.box_to_quad([0, 0, 2, 2])
    assert g.polygon_iou(square, square) == 1
    assert g.polygon_iou(square, square + 1) == pytest.approx(1 / 7)
    assert g.polygon_iou(square, square + np.array([2, 0])) == 0  # they touch
    assert g.polygon_iou(square, square[::-1]) == 1
    assert g.polygon_iou(square, np.ones((4, 2))) == 0  # a point
    assert g.polygon_iou(np.ones((4, 2)), np.ones((4, 2))) == 0
    both = g.polygon_iou(np.stack([square, square])[:, None], np.stack([square, square + 1, square + 9]))
    np.testing.assert_allclose(both, [[1, 1 / 7, 0]] * 2)
    assert g.polygon_iou(square + 1e5, square + 1e5 + 1) == pytest.approx(1 / 7)


@settings(deadline=None)
@given(quads)
def test_order_clockwise_keeps_corners_and_the_first_one(quad: Quad) -> None:
    quad = quad.astype(np.float32).astype(np.float64)
    ordered = g.order_clockwise(quad)
    assert ordered[0].tolist() == quad[0].tolist()
    assert sorted(map(tuple, ordered.tolist())) == sorted(map(tuple, quad.tolist()))
    x, y = ordered.astype(np.float64).T
    signed = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2
    assert signed >= -1e-6 * np.abs(quad).max() ** 2  # clockwise on the screen, y pointing down


def test_order_clockwise_mends_a_z() -> None:
    z = [[0, 0], [4, 0], [0, 2], [4, 2]]
    assert g.order_clockwise(z).tolist() == [[0, 0], [4, 0], [4, 2], [0, 2]]
    assert g.order_clockwise(np.array(z)[[0, 3, 2, 1]]).tolist() == [[0, 0], [4, 0], [4, 2], [0, 2]]


def test_boxes_and_quads_round_trip() -> None:
    boxes = np.array([[[1, 2, 5, 8], [0, 0, 0.5, 3]]], dtype=np.float32)
    quads_ = g.box_to_quad(boxes)
    assert quads_.shape == (1, 2, 4, 2)
    assert quads_[0, 0].tolist() == [[1, 2], [5, 2], [5, 8], [1, 8]]
    np.testing.assert_array_equal(g.quad_to_box(quads_), boxes)
    np.testing.assert_allclose(g.quad_area(quads_), [[24, 1.5]])
    assert g.quad_area([[0, 0], [4, 2], [4, 0], [0, 2]]) == 8  # a bow-tie counts as its hull
    with pytest.raises(ValueError, match="boxes must have shape"):
        g.box_to_quad(np.zeros((2, 3)))


def test_crop_and_scale_follow_the_pixels() -> None:
    assert g.crop_origin((455, 256), 224) == (116, 16)  # 115.5 goes to the even pixel
    assert g.crop_origin((10, 7), 4) == (3, 2)  # 1.5 too
    moved = g.quads_to_crop(g.box_to_quad([116, 16, 340, 240]), (455, 256), 224)
    np.testing.assert_array_equal(g.quad_to_box(moved), [0, 0, 224, 224])
    np.testing.assert_allclose(
        g.quad_to_box(g.scale_quads(g.box_to_quad([64, 36, 640, 360]), (640, 360), (455, 256))),
        [45.5, 25.6, 455, 256],
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match="choose a smaller crop"):
        g.crop_origin((455, 256), 257)


def test_flip_keeps_a_quad_clockwise_and_top_left_first() -> None:
    flipped = g.flip_quads(g.box_to_quad([1, 2, 5, 8]), 20)
    assert flipped.tolist() == [[15, 2], [19, 2], [19, 8], [15, 8]]
    np.testing.assert_array_equal(g.flip_quads(flipped, 20), g.box_to_quad([1, 2, 5, 8]))
