"""The camera's motion on pictures whose motion is known, and who is followed in made scenes."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.detectors import Detections
from models.detectors.followed import departed, distinct, followed_rank, sampled_frames
from models.detectors.select import choose_athletes
from models.video.camera_motion import camera_path, departures, scene_motion

WIDTH, HEIGHT = 455, 256
Frame = NDArray[np.uint8]


def texture(seed: int, height: int = 600, width: int = 1400) -> Frame:
    """Blobs of several sizes, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    layers = []
    for cell in (6, 20, 60):
        coarse = rng.uniform(0, 255, (height // cell + 2, width // cell + 2, 3))
        layers.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.clip(np.mean(layers, axis=0) * 1.6 - 75, 0, 255).astype(np.uint8)


PANORAMA = texture(3)


def shot(x: float, y: float, zoom: float = 1.0, angle: float = 0.0) -> tuple[Frame, NDArray[np.float64]]:
    """What a camera sees, and the matrix (3, 3) from the panorama's continuous pixels to the frame's."""
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    view = np.vstack([np.column_stack([turn, -turn @ [x, y]]), [0, 0, 1]])
    centres = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV counts from the centre of pixel 0
    drawn = cv2.warpPerspective(PANORAMA, np.linalg.inv(centres) @ view @ centres, (WIDTH, HEIGHT))
    return np.asarray(drawn, np.uint8), view


def grey(frame: Frame) -> Frame:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def farthest_apart(found: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Largest distance, over the frame's corners, of where the two matrices put them."""
    corners = np.array([[0, 0, 1], [WIDTH, 0, 1], [WIDTH, HEIGHT, 1], [0, HEIGHT, 1.0]]).T
    places = [(matrix @ corners)[:2] / (matrix @ corners)[2] for matrix in (found, true)]
    return float(np.linalg.norm(places[0] - places[1], axis=0).max())


@settings(max_examples=25, deadline=None)
@given(across=st.floats(-30, 30), down=st.floats(-20, 20), zoom=st.floats(0.95, 1.06), angle=st.floats(-0.05, 0.05))
def test_the_cameras_motion_is_found(across: float, down: float, zoom: float, angle: float) -> None:
    earlier, first = shot(400, 150)
    later, second = shot(400 + across, 150 + down, zoom, angle)
    found = scene_motion(grey(earlier), grey(later))
    assert found is not None
    assert farthest_apart(found, second @ np.linalg.inv(first)) < 1.0


def test_what_moves_by_itself_does_not_count() -> None:
    earlier, first = shot(400, 150)
    later, second = shot(408, 150)
    for frame, x in ((earlier, 100), (later, 160)):  # a fifth of the picture goes its own way
        frame[30:230, x : x + 120] = texture(9, 200, 120)
    found = scene_motion(grey(earlier), grey(later))
    assert found is not None
    assert farthest_apart(found, second @ np.linalg.inv(first)) < 1.0


def test_nothing_is_made_up_where_nothing_is_seen() -> None:
    blank = np.full((HEIGHT, WIDTH), 90, np.uint8)
    assert scene_motion(blank, blank) is None
    with pytest.raises(ValueError, match="one size"):
        scene_motion(blank, blank[:-2])


def test_a_cut_ends_the_path() -> None:
    frames = [grey(shot(400 + 5 * number, 150)[0]) for number in range(4)]
    frames += [np.full((HEIGHT, WIDTH), 10, np.uint8)] * 2
    path = camera_path(frames)
    assert path.known.tolist() == [True] * 4 + [False] * 2
    np.testing.assert_allclose(path.homographies[3, :2, 2], [-15, 0], atol=0.7)
    np.testing.assert_array_equal(path.at(np.array([0, 3])).homographies, path.homographies[[0, 3]])


# ---- who is followed ----

STANDING = (60, 90, 90, 190)  # x0, y0, x1, y1 in frame 0
ATHLETE = (210, 80, 245, 185)
SPECTATOR, MOVER = texture(21, 100, 30), texture(22, 105, 35)


def clip(pan: float, runs: float, starts: int = 0, frames: int = 36) -> list[Frame]:
    """A camera pans by `pan` px a frame; the mover runs by `runs` px a frame against the scene, from `starts` on."""
    made = []
    for number in range(frames):
        frame, _ = shot(300 + pan * number, 150)
        put(frame, SPECTATOR, STANDING[0] - pan * number, STANDING[1])
        put(frame, MOVER, ATHLETE[0] + runs * max(0, number - starts) - pan * number, ATHLETE[1])
        made.append(frame)
    return made


def put(frame: Frame, thing: Frame, x: float, y: int) -> None:
    left = round(x)
    low, high = max(0, left), min(WIDTH, left + thing.shape[1])
    if low < high:
        frame[y : y + len(thing), low:high] = thing[:, low - left : high - left]


def people(*scores: float) -> Detections:
    return Detections(np.asarray([STANDING, ATHLETE][: len(scores)], np.float32), np.asarray(scores, np.float32))


@pytest.mark.parametrize(
    ("pan", "runs", "starts"),
    [(0, 6, 0), (8, 8, 0), (-6, -6, 0), (0, 9, 18)],
    ids=["camera still", "camera follows", "camera follows to the left", "stands first, as a diver does"],
)
def test_the_mover_is_followed_and_not_the_surer_spectator(pan: float, runs: float, starts: int) -> None:
    heat = departed(clip(pan, runs, starts))
    found = people(0.9, 0.3)
    assert choose_athletes(found, "score", 1, (WIDTH, HEIGHT), heat).tolist() == [0]
    assert choose_athletes(found, "followed", 1, (WIDTH, HEIGHT), heat).tolist() == [1]


def test_where_the_mover_is_near_the_edge_and_the_spectator_in_the_middle() -> None:
    """It is the motion that decides, not the place."""
    frames = [np.ascontiguousarray(np.roll(frame, 170, axis=1)) for frame in clip(0, 0.1)]
    for number, frame in enumerate(frames):
        put(frame, texture(30, 90, 40), 20 + 5 * number, 60)
    found = Detections(
        np.asarray([[230, 90, 260, 190], [20, 60, 60, 150]], np.float32), np.asarray([0.6, 0.6], np.float32)
    )
    assert choose_athletes(found, "followed", 1, (WIDTH, HEIGHT), departed(frames)).tolist() == [1]


def test_where_nothing_moves_the_surest_of_alike_people_is_taken() -> None:
    heat = departed([shot(300, 150)[0]] * 12)
    assert heat.max() == 0
    side_by_side = Detections(
        np.asarray([[180, 80, 210, 180], [245, 80, 275, 180]], np.float32), np.asarray([0.4, 0.8], np.float32)
    )
    assert choose_athletes(side_by_side, "followed", 1, (WIDTH, HEIGHT), heat).tolist() == [1]


def test_heat_is_where_somebody_left_and_nowhere_else() -> None:
    heat = departed(clip(5, 5))
    x0, y0, x1, y1 = ATHLETE
    assert heat[y0 + 5 : y1 - 5, x0 + 5 : x1 - 5].mean() > 0.6
    heat[y0 - 15 : y1 + 15, x0 - 15 : x1 + 15] = 0
    assert heat.mean() < 0.08


def test_the_same_frames_give_the_same_heat() -> None:
    frames = clip(8, 8, frames=12)
    np.testing.assert_array_equal(departed(frames), departed(frames))


def test_a_part_of_the_athlete_is_not_a_second_athlete() -> None:
    boxes = np.asarray([[0, 0, 50, 100], [5, 0, 45, 50], [60, 0, 100, 100], [30, 0, 70, 100]], np.float32)
    assert distinct(boxes, np.asarray([0, 1, 2, 3])).tolist() == [0, 2, 3]
    assert distinct(boxes, np.asarray([1, 0, 2])).tolist() == [1, 2]
    heat = departed(clip(0, 6))
    half = Detections(
        np.asarray([ATHLETE, (210, 80, 245, 130), STANDING], np.float32), np.asarray([0.9, 0.8, 0.2], np.float32)
    )
    assert choose_athletes(half, "followed", 2, (WIDTH, HEIGHT), heat).tolist() == [0, 2]


def test_nobody_and_no_later_frames() -> None:
    nobody = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    heat = np.zeros((HEIGHT, WIDTH), np.float32)
    assert choose_athletes(nobody, "followed", 1, (WIDTH, HEIGHT), heat).tolist() == []
    assert followed_rank(nobody, heat).shape == (0,)
    with pytest.raises(ValueError, match="later frames"):
        choose_athletes(people(0.5), "followed", 1, (WIDTH, HEIGHT))
    still = [shot(300, 150)[0]]
    assert departures(still, camera_path([grey(still[0])])).max() == 0
    assert sampled_frames(103).tolist() == list(range(0, 103, 3))
