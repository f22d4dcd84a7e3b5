"""The procedural data set: repeatable, judged by its own rule, and true to its own pixels."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data_catalog.synthetic.sport import COLUMNS, make_dataset, read_ground_truth
from data_catalog.synthetic.sport.agreement import DIFFICULTY, agreement
from data_catalog.synthetic.sport.athlete import JOINT, place_joints, pose, turn
from data_catalog.synthetic.sport.distractors import Setting
from data_catalog.synthetic.sport.dive import programme
from data_catalog.synthetic.sport.judges import PENALTY, Faults, deduction, final_score
from data_catalog.synthetic.sport.render_clip import render
from data_catalog.synthetic.sport.storyboard import Storyboard, plan_clip
from data_catalog.synthetic.sport.write import silhouette_quad

Maker = Callable[..., Path]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def decode(path: Path) -> tuple[np.ndarray, Fraction]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rate = container.streams.video[0].average_rate
    assert rate is not None
    return np.stack(frames), Fraction(rate)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Small data sets, each made once in this module."""
    cache: dict[tuple[str, int], Path] = {}

    def make(kind: str, clips: int) -> Path:
        if (kind, clips) not in cache:
            out = tmp_path_factory.mktemp(f"{kind}{clips}")
            cache[kind, clips] = make_dataset(out, kind=kind, clips=clips, seed=5, size="320x240", workers=1)
        return cache[kind, clips]

    return make


def test_same_seed_same_files_for_any_number_of_workers_and_clips(made: Maker, tmp_path: Path) -> None:
    one = made("diving", 3)
    calls: list[tuple[int, int]] = []
    two = make_dataset(
        tmp_path / "two", clips=2, seed=5, size="320x240", workers=2, progress=lambda *step: calls.append(step)
    )
    assert calls == [(1, 2), (2, 2)]
    assert rows_of(one)[:2] == rows_of(two)
    for clip in ("diving_0000", "diving_0001"):
        pixels, rate = decode(one / "videos" / f"{clip}.mp4")
        again, same_rate = decode(two / "videos" / f"{clip}.mp4")
        assert rate == same_rate
        assert np.array_equal(pixels, again)
        for name in (f"videos/{clip}.mp4", f"ground_truth/{clip}.npz"):
            assert (one / name).read_bytes() == (two / name).read_bytes()


def test_more_clips_to_hold_out_come_behind_the_others(made: Maker, tmp_path: Path) -> None:
    """Clip 2 trains in a set of three; behind a set of two it is held out, and the same clip otherwise."""
    three = made("diving", 3)
    more = make_dataset(tmp_path, clips=2, held_out=1, seed=5, size="320x240", workers=1)
    assert [row["split"] for row in rows_of(three)] == ["train"] * 3
    assert rows_of(more) == [*rows_of(three)[:2], rows_of(three)[2] | {"split": "test"}]
    assert json.loads((more / "dataset.json").read_text())["num_clips"] == 3
    for name in ("videos/diving_0002.mp4", "ground_truth/diving_0002.npz"):
        assert (three / name).read_bytes() == (more / name).read_bytes()


def test_another_seed_is_another_clip() -> None:
    first, second = (plan_clip("diving", 0, seed, "320x240") for seed in (0, 1))
    assert first.score != second.score or len(first.instants) != len(second.instants)
    assert first.scene.panorama.shape != second.scene.panorama.shape


@pytest.mark.parametrize(("kind", "athletes"), [("diving", 1), ("sync_diving", 2), ("skating", 1)])
def test_truth_fits_the_decoded_video(made: Maker, kind: str, athletes: int) -> None:
    folder = made(kind, 3 if kind == "diving" else 1)
    row = rows_of(folder)[0]
    pixels, rate = decode(folder / row["video"])
    truth = read_ground_truth(folder / "ground_truth" / f"{row['clip_id']}.npz")
    frames = len(pixels)
    assert 54 <= frames <= 273
    assert rate == truth.fps
    assert truth.fps in (25, Fraction(30000, 1001), 50)
    assert pixels.shape[1:3] == (240, 320)
    assert truth.quads.shape == (athletes, frames, 4, 2)
    assert truth.quads.dtype == np.float32
    assert truth.masks.shape == (athletes, frames, 240, 320)
    assert np.array_equal(truth.visible, truth.masks.any(axis=(2, 3)))
    assert truth.visible[:, 0].all()
    assert not (truth.masks.sum(axis=0) > 1).any(), "a pixel shows one athlete at most"


@pytest.mark.parametrize("kind", ["diving", "sync_diving", "skating"])
def test_quads_hold_the_silhouette_and_repeat_under_water(made: Maker, kind: str) -> None:
    folder = made(kind, 3 if kind == "diving" else 1)
    for path in sorted((folder / "ground_truth").glob("*.npz")):
        truth = read_ground_truth(path)
        hidden = 0
        for who, frame in np.ndindex(*truth.visible.shape):
            quad = truth.quads[who, frame].astype(np.float64)
            if not truth.visible[who, frame]:
                hidden += 1
                assert np.array_equal(quad, truth.quads[who, frame - 1])
                continue
            edges = np.roll(quad, -1, axis=0) - quad
            y, x = np.nonzero(truth.masks[who, frame])
            corners = np.concatenate([np.stack([x + dx, y + dy], -1) for dx in (0, 1) for dy in (0, 1)])
            away = corners[:, None] - quad
            side = (edges[:, 0] * away[..., 1] - edges[:, 1] * away[..., 0]) / np.linalg.norm(edges, axis=1)
            assert side.min() > -0.02, "a clockwise quad has all mask corners on its right"
        assert (hidden > 0) == (kind != "skating"), "divers end under water, skaters never do"


def test_first_row_box_is_the_whole_first_silhouette(made: Maker) -> None:
    folder = made("sync_diving", 1)
    rows = rows_of(folder)
    assert [row["athlete"] for row in rows] == ["0", "1"]
    truth = read_ground_truth(folder / "ground_truth" / "sync_diving_0000.npz")
    for who, row in enumerate(rows):
        x, y, w, h = (int(row[name]) for name in "xywh")
        assert truth.masks[who, 0, y : y + h, x : x + w].sum() == truth.masks[who, 0].sum()
        assert 0 < x < x + w < 320
        assert 0 < y < y + h < 240
        assert h > 0.28 * 240, "the athlete must be large enough to be judged"


def test_labels_follow_the_judging_rule(made: Maker) -> None:
    folder = made("diving", 3)
    rows = rows_of(folder)
    assert tuple(rows[0]) == COLUMNS
    about = json.loads((folder / "dataset.json").read_text())
    assert about["procedural"] is True
    for row in rows:
        marks = sorted(float(row[f"judge_{n}"]) for n in range(1, 8))
        assert all(0 <= mark <= 10 and (2 * mark).is_integer() for mark in marks)
        assert float(row["score"]) == pytest.approx(float(row["difficulty"]) * sum(marks[2:5]), abs=0.005)
        faults = Faults(**about["clips"][row["clip_id"]]["faults"])
        assert marks[3] == pytest.approx(10.0 - deduction(faults), abs=0.8)
        assert row["label"] == ""
        assert row["action"] == "diving"


def splash_places(story: Storyboard) -> list[float]:
    """Where the splashes of the last frame lie across, athlete's first; pixels of the frame."""
    middle = story.camera[-1, story.camera.shape[1] // 2, 0] - story.size[0] / 2
    waters = [one.splash for one in (*story.athletes, *story.others) if one.splash is not None]
    return [float(story.view.project(np.array([w.x_m, 0.0, w.z_m]))[0] - middle) for w in waters]


def test_distractors_leave_the_athletes_dive_as_it_is() -> None:
    for index in range(2):
        alone, beside = (plan_clip("diving", index, 0, "320x240", Setting(count)) for count in (0, 2))
        assert alone.facts == {k: v for k, v in beside.facts.items() if k != "distractors"}
        entries = [float(one["entry_sec"]) for one in beside.facts["distractors"]]
        athlete = beside.athletes[0].motion.entry_sec
        assert all(abs(entry - athlete) <= 0.5 + 1e-3 for entry in entries)
        lanes = [float(one["lane_m"]) for one in beside.facts["distractors"]]
        assert min(lanes) < beside.athletes[0].motion.lane_m < max(lanes), "one on either side"


def test_distractors_say_nothing_about_the_score() -> None:
    stories = [plan_clip("diving", index, 0, "320x240", Setting(1)) for index in range(24)]
    theirs = [float(story.facts["distractors"][0]["splash"]) for story in stories]
    own = [story.athletes[0].splash.size for story in stories]
    assert abs(np.corrcoef(own, theirs)[0, 1]) < 0.3
    assert np.std(theirs) > 0.2


def test_who_follows_the_group_does_not_tell_who_is_judged() -> None:
    """The athlete is left of the middle as often as right of it; a camera on the athlete keeps them in the middle."""
    sides = {}
    for camera in ("athlete", "group"):
        stories = [plan_clip("diving", index, 0, "320x240", Setting(1, camera=camera)) for index in range(12)]
        sides[camera] = np.array([splash_places(story)[0] / story.size[0] - 0.5 for story in stories])
    assert np.abs(sides["athlete"]).max() < 0.2
    assert np.median(np.abs(sides["group"])) > 1.4 * np.median(np.abs(sides["athlete"]))
    assert 3 <= (sides["group"] > 0).sum() <= 9


def test_who_is_judged_and_who_is_not_are_interchangeable() -> None:
    """Drawn from the group's point of view, the other diver could be the athlete: in time, place, dive and form."""
    stories = [plan_clip("diving", index, 0, "320x240", Setting(1, camera="group")) for index in range(60)]
    pairs = [[story.athletes[0].motion, *(o.motion for o in story.others if o.splash)] for story in stories]
    ends = np.array([story.instants[-1, 0] for story in stories])
    left = ends[:, None] - np.array([[one.entry_sec for one in pair] for pair in pairs])
    assert abs(left.mean(axis=0) @ [1, -1]) < 3 * (left @ [1, -1]).std() / np.sqrt(len(left))
    assert left.std(axis=0)[0] == pytest.approx(left.std(axis=0)[1], rel=0.25), "neither enters at a set time"
    assert all(pair[0].lane_m == pytest.approx(-pair[1].lane_m) for pair in pairs)
    for index in range(2):
        hard = np.array([pair[index].dive.difficulty for pair in pairs])
        splash = np.array([pair[index].faults.splash for pair in pairs])
        assert np.corrcoef(hard, splash)[0, 1] < -0.4, "better divers choose harder dives, whoever they are"


def test_the_picture_is_the_same_whoever_of_two_is_judged() -> None:
    story = plan_clip("diving", 1, 0, "320x240", Setting(1, camera="group"))
    *passers, other = story.others
    swapped = replace(story, athletes=(other,), others=(*passers, story.athletes[0]))
    shots = list(zip(render(story), render(swapped), strict=True))
    assert all(np.array_equal(one.frame, two.frame) for one, two in shots)
    assert not all(np.array_equal(one.masks, two.masks) for one, two in shots)


def test_distractors_are_in_the_picture_and_not_in_the_truth() -> None:
    """Their bodies and splashes change pixels away from the athlete's silhouette."""
    one, two = (list(render(plan_clip("diving", 1, 0, "320x240", Setting(count)))) for count in (1, 2))
    changed = [np.abs(a.frame.astype(int) - b.frame).max(axis=2) > 60 for a, b in zip(one, two, strict=True)]
    assert sum(mask.sum() > 100 for mask in changed) > len(changed) // 2
    assert all(shot.masks.shape[0] == 1 for shot in two)
    same = [np.array_equal(a.masks, b.masks) for a, b in zip(one, two, strict=True)]
    assert np.mean(same) > 0.5, "the truth is the athlete's, but for where another diver stands before them"


def test_zoom_makes_athletes_small() -> None:
    heights = []
    for zoom in (1.0, 0.4):
        shot = next(render(plan_clip("diving", 0, 0, "640x360", Setting(zoom=zoom))))
        heights.append(np.ptp(np.flatnonzero(shot.masks[0].any(axis=1))) + 1)
    assert heights[1] / heights[0] == pytest.approx(0.4, abs=0.03)


def test_setting_is_written_down_and_checked(tmp_path: Path) -> None:
    out = make_dataset(tmp_path, clips=1, size="320x240", setting=Setting(1, 0.5, "group"), workers=1)
    about = json.loads((out / "dataset.json").read_text())
    assert (about["distractors"], about["zoom"], about["camera"], about["generator_version"]) == (1, 0.5, "group", 3)
    assert len(about["clips"]["diving_0000"]["distractors"]) == 1
    assert len(rows_of(out)) == 1
    for wrong, message in (
        ({"distractors": 3}, "0 to 2 distractors, 3 asked"),
        ({"zoom": 2.0}, "from 0.25 to 1"),
        ({"camera": "crowd"}, "athlete or group, not 'crowd'"),
        ({"judged": "looks"}, "faults, agreement, lines, not 'looks'"),
    ):
        with pytest.raises(ValueError, match=message):
            Setting(**wrong)
    with pytest.raises(ValueError, match="only kind 'diving' has distractors"):
        plan_clip("skating", 0, 0, "320x240", Setting(1))


RELATION = Setting(1, camera="group", judged="agreement")


def test_agreement_is_what_is_marked_and_neither_moment_tells_it() -> None:
    """The product of lean and tilt ranks the scores; neither of them, and nothing of the other diver, does."""
    stories = [plan_clip("diving", index, 0, "320x240", RELATION) for index in range(400)]
    known = {name: np.array([float(story.facts[name]) for story in stories]) for name in ("lean", "tilt", "agreement")}
    score = np.array([story.score for story in stories])
    other = np.array([float(story.facts["distractors"][0]["agreement"]) for story in stories])
    assert np.corrcoef(known["agreement"], score)[0, 1] > 0.98
    assert known["lean"] * known["tilt"] == pytest.approx(known["agreement"] * np.radians(40) ** 2, abs=1e-3)
    chance = 3 / np.sqrt(len(stories))
    for alone in (known["lean"], known["tilt"], np.abs(known["lean"]), np.abs(known["tilt"]), other):
        assert abs(np.corrcoef(alone, score)[0, 1]) < chance
    assert {story.difficulty for story in stories} == {DIFFICULTY}
    assert all(agreement(story.athletes[0].motion) == pytest.approx(float(story.facts["agreement"]), abs=1e-4)
               for story in stories)  # fmt: skip


def test_the_first_half_shows_the_lean_alone_and_the_second_the_tilt_alone() -> None:
    """Another tilt leaves the first half of the film as it is, another lean the second."""
    for index in range(12):
        story = plan_clip("diving", index, 0, "320x240", RELATION)
        half, motion = len(story.instants) // 2, story.athletes[0].motion
        first, second = story.instants[:half], story.instants[half:]
        upright, straight = replace(motion, lean=0.0), replace(motion, tilt=0.0)
        assert np.array_equal(motion(first), straight(first))
        assert np.allclose(motion(second), upright(second), atol=1e-9)
        assert not np.allclose(motion(first[:1]), upright(first[:1]), atol=0.1)
        assert not np.allclose(motion(np.array([motion.entry_sec])), straight(np.array([motion.entry_sec])), atol=0.1)


def test_lines_are_marked_each_by_itself() -> None:
    """Nothing has to be compared: the sum of what is seen in the picture ranks the scores, the agreement doesn't."""
    stories = [plan_clip("diving", index, 0, "320x240", Setting(judged="lines")) for index in range(100)]
    sides = np.array([(s.facts["lean"] + s.facts["tilt"]) * s.view.mirror for s in stories]) / np.radians(40)
    splash = np.array([story.athletes[0].splash.size for story in stories])
    score = np.array([story.score for story in stories])
    assert np.corrcoef(sides - 2 * splash, score)[0, 1] > 0.98
    assert abs(np.corrcoef([float(story.facts["agreement"]) for story in stories], score)[0, 1]) < 0.3


def test_judging_agreement_leaves_the_other_clips_as_they_were() -> None:
    """Without it nobody leans, and the drawing of the same dive has the same times and places."""
    usual, related = (plan_clip("diving", 3, 0, "320x240", Setting(1, 1.0, "group", judged)) for judged in
                      ("faults", "agreement"))  # fmt: skip
    assert "lean" not in usual.facts
    assert usual.athletes[0].motion.lean == usual.athletes[0].motion.tilt == 0.0
    assert usual.athletes[0].motion.entry_sec == related.athletes[0].motion.entry_sec
    assert len(usual.instants) == len(related.instants)
    with pytest.raises(ValueError, match="only kind 'diving' is judged by agreement, 'skating' is not"):
        plan_clip("skating", 0, 0, "320x240", Setting(judged="agreement"))


def test_skating_labels_say_landed_or_fell() -> None:
    stories = [plan_clip("skating", index, 0, "320x240") for index in range(8)]
    assert {story.label for story in stories} == {0, 1}
    for story in stories:
        assert story.score == story.label
        assert story.marks is None
        end = story.athletes[0].motion(story.instants[-1:, 2])[0]
        standing = end[JOINT["head"], 1] > 1.0
        assert standing == bool(story.label)


def test_scores_spread_over_clips_and_follow_what_is_seen() -> None:
    stories = [plan_clip("diving", index, 0, "320x240") for index in range(24)]
    scores = np.array([story.score for story in stories])
    splash = np.array([story.athletes[0].splash.size for story in stories])
    assert scores.max() > 3 * scores.min()
    assert splash.min() < 0.15
    assert splash.max() > 0.6
    assert np.corrcoef(scores, splash)[0, 1] < -0.7


def test_programme_is_worth_one_and_a_half_to_four_point_one() -> None:
    worth = [dive.difficulty for dive in programme()]
    assert min(worth) == 1.5
    assert max(worth) == 4.1
    assert all(dive.somersaults % 1 == 0.5 for dive in programme())
    assert len({(dive.code, dive.height_m) for dive in programme()}) == len(programme())


def test_final_score_sums_the_middle_three() -> None:
    assert final_score(np.array([10.0, 0.0, 7.0, 7.5, 8.0, 2.0, 9.5]), 3.0) == 67.5
    assert deduction(Faults(**dict.fromkeys(PENALTY, 0.0))) == 0.0


def test_silhouette_quad_of_one_pixel_and_of_nothing() -> None:
    mask = np.zeros((5, 6), np.bool_)
    with pytest.raises(ValueError, match="empty mask"):
        silhouette_quad(mask)
    mask[2, 3] = True
    assert silhouette_quad(mask).tolist() == [[3, 2], [4, 2], [4, 3], [3, 3]]


def test_skeleton_keeps_its_limbs_and_stands_upright() -> None:
    rng = np.random.default_rng(0)
    poses = rng.uniform(-90, 140, (7, 16))
    body = turn(place_joints(poses), rng.uniform(0, 9, 7), rng.uniform(0, 9, 7))
    for side in "lr":
        thigh = body[:, JOINT[f"hip_{side}"]] - body[:, JOINT[f"knee_{side}"]]
        assert np.allclose(np.linalg.norm(thigh, axis=-1), 0.42)
    upright = place_joints(pose(ankle=90.0))
    assert upright[:, 1].argmax() in (JOINT["head"], JOINT["nape"])
    assert upright[JOINT["face"], 0] > upright[JOINT["head"], 0]
    with pytest.raises(KeyError, match="no joint angle"):
        pose(kneee=3.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"kind": "golf"}, "unknown kind 'golf'"), ({"size": "4k"}, "unknown frame size"), ({"clips": 0}, "at least one"),
     ({"seed": -1}, "negative"), ({"held_out": -1}, "held_out must not be negative")],
)  # fmt: skip
def test_bad_arguments_are_named(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_dataset(tmp_path, **({"clips": 1, "workers": 1} | wrong))
