"""Rendered people: their poses, their pictures, the pool, and scenes with boxes that fit what is drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_catalog.synthetic.composites.backgrounds import Backgrounds
from data_catalog.synthetic.composites.camera_faults import spoil, streak
from data_catalog.synthetic.composites.procedural_scenes import procedural_scenes
from data_catalog.synthetic.composites.scenes import Composer, Scene, read_things
from data_catalog.synthetic.materials import MaterialsError
from data_catalog.synthetic.people.mesh import People, PeopleError
from data_catalog.synthetic.people.people_pool import PeoplePool, people_pool
from data_catalog.synthetic.people.pose import (
    Pose,
    bone_motions,
    limb,
    quaternion_matrix,
    random_pose,
    random_rotation,
    shortest_rotation,
)
from data_catalog.synthetic.people.render import Viewpoint, random_body, random_person, render_person
from tests.support.tiny_people import bones, make_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("mesh") / "package").parent


@pytest.fixture(scope="module")
def people(package: Path) -> People:
    return People(package)


@pytest.fixture(scope="module")
def pool(package: Path, tmp_path_factory: pytest.TempPathFactory) -> PeoplePool:
    return people_pool(package, tmp_path_factory.mktemp("pool"), 6)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cv2

    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = rng.integers(0, 255, (12, 16, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(coarse, (480, 360), interpolation=cv2.INTER_CUBIC))
    return folder


# ---- poses ----


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_rotations_take_one_direction_to_the_other_and_keep_lengths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, end = (v / np.linalg.norm(v) for v in rng.normal(0, 1, (2, 3)))
    turn = shortest_rotation(start, end)
    np.testing.assert_allclose(turn @ start, end, atol=1e-9)
    for rotation in (
        turn,
        random_rotation(rng),
        quaternion_matrix(rng.normal(0, 1, 4)),
        shortest_rotation(start, -start),
    ):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_limbs_point_where_the_pose_says(people: People) -> None:
    pose = Pose(
        thighs=(limb(1.5, 0, True), limb(0, 0.4, False)), arms=(limb(3.0, 0, True), limb(0, 1.5, False)),
        knees=(0.0, 1.2), elbows=(0.0, np.pi / 2),
    )  # fmt: skip
    skeleton = people.skeleton
    _, places = bone_motions(pose, skeleton, skeleton.joints(people.vertices))
    at = {name: places[skeleton.index[name]] for name in skeleton.names}

    def along(a: str, b: str) -> np.ndarray:
        return (at[b] - at[a]) / np.linalg.norm(at[b] - at[a])

    np.testing.assert_allclose(along("upperleg01.L", "lowerleg01.L"), limb(1.5, 0, True), atol=1e-5)
    np.testing.assert_allclose(along("upperleg01.R", "lowerleg01.R"), limb(0, 0.4, False), atol=1e-5)
    np.testing.assert_allclose(along("upperarm01.L", "lowerarm01.L"), limb(3.0, 0, True), atol=1e-5)
    forearm, upper = along("lowerarm01.R", "wrist.R"), along("upperarm01.R", "lowerarm01.R")
    assert forearm @ upper == pytest.approx(0, abs=1e-5)  # bent by a right angle
    assert along("lowerleg01.R", "foot.R")[2] < -0.5  # a knee bends backwards


@pytest.mark.parametrize("seed", range(12))
def test_bones_keep_their_lengths_in_every_pose(people: People, seed: int) -> None:
    skeleton, rest = people.skeleton, people.skeleton.joints(people.vertices)
    pose = random_pose(np.random.default_rng(seed), people.poses)
    rotations, places = bone_motions(pose, skeleton, rest)
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (len(rest), 1, 1)), atol=1e-5
    )
    for bone, up in enumerate(skeleton.parents):
        if up >= 0:
            apart = [np.linalg.norm(joints[bone] - joints[up]) for joints in (rest, places)]
            assert apart[0] == pytest.approx(apart[1], abs=1e-4)


# ---- pictures ----


def test_a_person_upside_down_is_the_upright_one_turned(people: People) -> None:
    rng = np.random.default_rng(4)
    look, pose = random_body(people, rng), Pose((limb(0.2, 0.1, True), limb(0, 0.1, False)), (limb(0, 0.5, True),) * 2)
    light = np.array([0, 0, 1.0])
    upright = render_person(people, look, pose, Viewpoint(np.eye(3), 200, light, 0.5), 400)
    turned = render_person(people, look, pose, Viewpoint(np.diag([-1.0, -1.0, 1.0]), 200, light, 0.5), 400)
    assert upright.shape == turned.shape
    assert 399 <= max(upright.shape) <= 402
    both = (upright[..., 3] > 0) & (turned[::-1, ::-1, 3] > 0)
    either = (upright[..., 3] > 0) | (turned[::-1, ::-1, 3] > 0)
    assert both.sum() > 0.9 * either.sum()
    assert set(np.unique(upright[..., 3])) == {0, 255}


def test_people_differ_and_the_same_seed_is_the_same_person(people: People) -> None:
    first, again, other = (random_person(people, np.random.default_rng(seed), 96) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_a_pool_is_made_once_and_gives_back_what_was_drawn(package: Path, people: People, tmp_path: Path) -> None:
    drawn: list[int] = []
    pool = people_pool(package, tmp_path, 3, 7, drawn.append)
    assert (len(pool), drawn) == (3, [1, 2, 3])
    np.testing.assert_array_equal(pool[1], random_person(people, np.random.default_rng([7, 1]), 288))
    again = people_pool(tmp_path / "nothing", tmp_path, 3, 7, drawn.append)  # the package isn't needed any more
    np.testing.assert_array_equal(again[2], pool[2])
    assert len(drawn) == 3
    with pytest.raises(IndexError, match="3 people"):
        pool[3]
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(PeopleError, match="delete it and run again"):
        people_pool(package, tmp_path, 3, 7)


def test_a_folder_that_is_not_the_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeopleError, match="not the unpacked npm package"):
        People(tmp_path)
    broken = make_package(tmp_path / "broken")
    (broken / "src/json/rigs/default.json").write_text("{")
    with pytest.raises(PeopleError, match="damaged"):
        People(broken)
    model = broken / "public/data/models/human_full_size.json"
    content = json.loads(model.read_text())
    (broken / "src/json/rigs/default.json").write_text(json.dumps({"bones": {}, "joints": {}}))
    model.write_text(json.dumps(content | {"faces": [3, *content["faces"][1:]]}))
    with pytest.raises(PeopleError, match="face of kind 3"):
        People(broken)
    assert len(bones()) == 38


# ---- scenes ----


def test_boxes_hold_the_people_that_are_seen(pool: PeoplePool, photos: Path) -> None:
    composer = Composer(pool, [], Backgrounds([photos]))
    scenes = [composer(np.random.default_rng(seed), (320, 256)) for seed in range(25)]
    boxes = np.concatenate([scene.boxes for scene in scenes])
    assert all(scene.image.shape == (256, 320, 3) for scene in scenes)
    assert 5 < len(boxes) < 150
    assert any(len(scene.boxes) == 0 for scene in scenes)
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.min() >= 4
    assert sides.max() <= 0.65 * 320 * 1.4  # a streak makes somebody a little longer
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 320).all()
    assert (boxes[:, 3] <= 256).all()
    again = composer(np.random.default_rng(3), (320, 256))
    np.testing.assert_array_equal(again.image, scenes[3].image)


def test_a_box_is_tight_around_the_only_person(pool: PeoplePool, photos: Path) -> None:
    image = np.full((256, 320, 3), 7, np.uint8)
    composer = Composer(pool, [], Backgrounds([photos]))
    for seed in range(6):
        canvas = image.copy()
        mask = composer._add_person(canvas, 90, np.random.default_rng(seed))
        if mask is not None:
            changed = (canvas != image).any(axis=2)
            assert (changed & mask).sum() > 0.95 * mask.sum()
            assert (changed & ~mask).sum() < 0.5 * mask.sum()  # edges and streaks only


def test_things_with_people_on_them_are_left_out(tmp_path: Path) -> None:
    import cv2

    for folder in ("animals", "people", "sports"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.full((40, 40, 4), 255, np.uint8))
    assert len(read_things([tmp_path])) == 1


def test_ready_scenes_keep_their_people_in_sight(pool: PeoplePool, photos: Path) -> None:
    image = np.zeros((360, 640, 3), np.uint8)
    image[100:180, 500:540] = 255
    ready = Scene(image, np.asarray([[500, 100, 540, 180]], np.float32))
    composer = Composer(pool, [], Backgrounds([photos]), [ready], ready_share=1.0)
    for seed in range(8):
        scene = composer(np.random.default_rng(seed), (320, 256))
        x0, y0, x1, y1 = scene.boxes[0].round().astype(int)
        assert scene.image[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3].mean() > scene.image.mean() + 40


def test_no_photographs_is_said(tmp_path: Path) -> None:
    with pytest.raises(MaterialsError, match="no photographs"):
        Backgrounds([tmp_path])


def test_places_are_built_where_there_are_surfaces(photos: Path) -> None:
    backgrounds = Backgrounds([photos], [photos])
    made = [backgrounds(np.random.default_rng(seed), (320, 256)) for seed in range(6)]
    assert all(image.shape == (256, 320, 3) and image.dtype == np.uint8 for image in made)
    assert all(image.std() > 3 for image in made)


def test_faults_keep_shapes_and_streaks_grow_the_cut_out() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (64, 96, 3), np.uint8)
    assert all(spoil(image, np.random.default_rng(seed)).shape == image.shape for seed in range(20))
    cutout = np.full((80, 40, 4), 255, np.uint8)
    shapes = {streak(cutout, np.random.default_rng(seed)).shape for seed in range(20)}
    assert cutout.shape in shapes
    assert len(shapes) > 1


def test_procedural_frames_come_with_their_athletes() -> None:
    scenes = procedural_scenes(1)
    boxes = np.concatenate([scene.boxes for scene in scenes])
    assert len(scenes) > 4
    assert len(boxes) > 4
    assert all(scene.image.ndim == 3 for scene in scenes)
