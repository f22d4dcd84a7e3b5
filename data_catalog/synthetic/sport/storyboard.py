"""One clip on paper: everything that is decided by (seed, kind, index) before a pixel is drawn."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from data_catalog.synthetic.sport.agreement import DIFFICULTY, facts_of_lines, judge_agreement, judge_lines, with_lines
from data_catalog.synthetic.sport.athlete import Floats, centre_of_mass, place_joints, pose, turn
from data_catalog.synthetic.sport.camera import Operator, View
from data_catalog.synthetic.sport.distractors import ALONE, AZIMUTH, Setting, facts_of, invite
from data_catalog.synthetic.sport.divers import draw_dive, draw_faults, draw_motion, draw_start, throw_up
from data_catalog.synthetic.sport.figure import Look, diver_look, official_look, skater_look
from data_catalog.synthetic.sport.judges import PENALTY, Faults, final_score, judge
from data_catalog.synthetic.sport.skating import SkatingMotion
from data_catalog.synthetic.sport.venue.arena import Arena
from data_catalog.synthetic.sport.venue.diving_hall import build_pool
from data_catalog.synthetic.sport.venue.rink import build_rink
from data_catalog.synthetic.sport.venue.splash import Splash

Kind = Literal["diving", "sync_diving", "skating"]
KINDS: Final[tuple[Kind, ...]] = ("diving", "sync_diving", "skating")
Motion = Callable[[Floats], Floats]

SUBFRAMES: Final = 9  # instants within an exposure, of which only as many are drawn as the blur needs
SHUTTER: Final = 0.5  # part of the frame interval during which the shutter is open
MIN_FRAMES: Final = 54
MAX_FRAMES: Final = 273
_RATES: Final = (Fraction(25), Fraction(30000, 1001), Fraction(50))
_SIZES: Final[dict[str, tuple[int, int]]] = {"640x360": (640, 360), "320x240": (320, 240)}
_GOLDEN: Final = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class Performer:
    """A moving person: what moves them, what they look like, and the water that they throw up, if they dive."""

    motion: Motion
    look: Look
    splash: Splash | None = None


@dataclass(frozen=True, eq=False)
class Storyboard:
    """A clip that can be rendered. `camera` is (F, S, 2): frame centres in panorama pixels per instant."""

    clip_id: str
    kind: Kind
    size: tuple[int, int]
    fps: Fraction
    instants: Floats  # (F, S) seconds
    view: View
    camera: Floats
    scene: Arena
    athletes: tuple[Performer, ...]
    others: tuple[Performer, ...]
    marks: NDArray[np.float64] | None
    difficulty: float | None
    score: float
    label: int | None
    facts: dict[str, object] = field(default_factory=dict)


def split_of(index: int) -> str:
    """Every fourth clip is held out."""
    return "test" if index % 4 == 3 else "train"


def plan_clip(kind: Kind, index: int, seed: int, size: str, setting: Setting = ALONE) -> Storyboard:
    """The storyboard of clip `index`; depends on nothing but these arguments.

    Raises:
        ValueError: for an unknown kind or size, or a setting that the kind doesn't have.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind '{kind}' of procedural clips; choose one of {', '.join(KINDS)}")
    if size != "mixed" and size not in _SIZES:
        raise ValueError(f"unknown frame size '{size}'; choose one of mixed, {', '.join(_SIZES)}")
    if setting.distractors and kind != "diving":
        raise ValueError(f"only kind 'diving' has distractors, '{kind}' has none; set distractors to 0")
    if setting.judged != "faults" and kind != "diving":
        raise ValueError(f"only kind 'diving' is judged by {setting.judged}, '{kind}' is not; set judged to faults")
    rng = np.random.default_rng([seed, KINDS.index(kind), index])
    wide = rng.random() < 0.5
    frame = _SIZES[size if size != "mixed" else "640x360" if wide else "320x240"]
    fps = _RATES[int(np.searchsorted([0.42, 0.84], rng.random()))]
    clip_id = f"{kind}_{index:04d}"
    if kind == "skating":
        return _plan_skating(clip_id, index, seed, frame, fps, setting, rng)
    return _plan_dive(clip_id, kind, index, seed, frame, fps, setting, rng)


def _spread(seed: int, stream: int, index: int) -> float:
    """A number in 0..1 that covers the range evenly over consecutive indices (golden-ratio sequence)."""
    start = float(np.random.default_rng([seed, 77, stream]).random())
    return (start + index * (_GOLDEN if stream == 0 else 0.7548776662466927)) % 1.0


def _venue(kind: Kind, seed: int) -> np.random.Generator:
    """Generator of the arena: all clips of a data set come from one competition."""
    return np.random.default_rng([seed, 78, KINDS.index(kind)])


def _plan_dive(
    clip_id: str, kind: Kind, index: int, seed: int, size: tuple[int, int], fps: Fraction, setting: Setting,
    rng: np.random.Generator,
) -> Storyboard:  # fmt: skip
    paired = kind == "sync_diving"
    slack = 1.0 - _spread(seed, 0, index)
    dive = draw_dive(slack, _spread(seed, 1, index), rng)
    timing = float(np.clip(slack * rng.uniform(0.5, 1.2), 0.0, 1.0)) if paired else 0.0
    lanes: tuple[float, ...] = (-0.8, 0.8) if paired else (0.0,)
    run_up, lead = draw_start(dive, rng)
    first = draw_faults(slack, timing, rng)
    motions = [draw_motion(dive, first, lead, run_up, lanes[0], rng)]
    if paired:
        late = lead + 0.01 + 0.17 * timing
        motions.append(draw_motion(dive, draw_faults(slack, timing, rng), late, run_up, lanes[1], rng))
    guests = np.random.default_rng([seed, 79, KINDS.index(kind), index])
    motions[0], *beside = invite(motions[0], setting, guests)
    if related := setting.judged != "faults":
        motions[0], *beside = [with_lines(motion, setting.judged, guests) for motion in (motions[0], *beside)]
    everybody = [*motions, *beside]
    filmed = motions if setting.camera == "athlete" else everybody
    frames = _frame_count(max(motion.entry_sec for motion in filmed) + rng.uniform(1.0, 1.3), fps)
    instants = _instants(frames, fps)
    turn_by = rng.uniform(*AZIMUTH) if paired or setting.distractors else rng.uniform(0.1, 0.35)
    scale = setting.zoom * size[1] / rng.uniform(3.9, 4.2)
    view = View(turn_by, rng.uniform(0.14, 0.2), float(rng.choice([-1.0, 1.0])), scale, (0.0, 0.0))
    athletes = tuple(Performer(motion, diver_look(rng)) for motion in motions)
    if paired:  # partners wear the same suit
        colours = {k: v for k, v in athletes[0].look.colours.items() if k in ("suit", "trim")}
        partner = athletes[1].look
        athletes = (athletes[0], replace(athletes[1], look=replace(partner, colours=partner.colours | colours)))
    others = tuple(Performer(motion, diver_look(guests), throw_up(motion, guests)) for motion in beside)
    followed = athletes if setting.camera == "athlete" else (*athletes, *others)
    view, camera, shape = _film(view, followed, instants, size, 1.05, rng)
    boards = tuple(motion.lane_m for motion in everybody)
    scene = build_pool(view, shape, dive.height_m, boards, _venue(kind, seed), rng)
    athletes = tuple(replace(one, splash=throw_up(motion, rng)) for one, motion in zip(athletes, motions, strict=True))
    seen = _mean_faults([m.faults for m in motions])
    if setting.judged == "agreement":
        marks = judge_agreement(motions[0], rng)
    elif setting.judged == "lines":
        marks = judge_lines(motions[0], view.mirror, rng)
    else:
        marks = judge(seen, rng)
    difficulty = DIFFICULTY if related else dive.difficulty
    visible = {name: round(value, 4) for name, value in asdict(seen).items()}
    facts: dict[str, object] = {**asdict(dive), "code": dive.code, "faults": visible}
    if beside:
        facts["distractors"] = [facts_of(motion) for motion in beside]
    if related:
        facts |= facts_of_lines(motions[0])
        facts |= {"distractors": [facts_of(motion) | facts_of_lines(motion) for motion in beside]} if beside else {}
    others = (*_passers(view, 0.95, rng), *others)
    return Storyboard(
        clip_id, kind, size, fps, instants, view, camera, scene, athletes, others,
        marks, difficulty, final_score(marks, difficulty), None, facts,
    )  # fmt: skip


def _mean_faults(faults: list[Faults]) -> Faults:
    """What the panel sees of a pair: the mean of both."""
    return Faults(**{name: float(np.mean([getattr(one, name) for one in faults])) for name in PENALTY})


def _plan_skating(
    clip_id: str, index: int, seed: int, size: tuple[int, int], fps: Fraction, setting: Setting,
    rng: np.random.Generator,
) -> Storyboard:  # fmt: skip
    landed = _spread(seed, 0, index) < 0.5
    turns = float(rng.integers(1, 4)) + 0.5 - (0.0 if landed else rng.uniform(0.04, 0.12))
    lean = float(np.radians(rng.uniform(78, 88)) * (1.0 if rng.random() < 0.6 else -1.0))
    jump, speed = rng.uniform(0.5, 0.8), rng.uniform(2.6, 4.2)
    motion = SkatingMotion(rng.uniform(0.9, 1.9), turns, jump, speed, landed, lean, rng.uniform(1.6, 1.76))
    frames = _frame_count(motion.landing_sec + rng.uniform(1.0, 1.6), fps)
    instants = _instants(frames, fps)
    scale = setting.zoom * size[1] / rng.uniform(3.3, 3.8)
    view = View(rng.uniform(0.1, 0.5), rng.uniform(0.14, 0.2), float(rng.choice([-1.0, 1.0])), scale, (0.0, 0.0))
    athletes = (Performer(motion, skater_look(rng)),)
    view, camera, shape = _film(view, athletes, instants, size, 1.0, rng)
    scene = build_rink(view, shape, _venue("skating", seed), rng)
    facts: dict[str, object] = {"turns": round(turns, 2), "landed": landed}
    return Storyboard(
        clip_id, "skating", size, fps, instants, view, camera, scene, athletes, _passers(view, 0.62, rng),
        None, None, float(landed), int(landed), facts,
    )  # fmt: skip


def _frame_count(seconds: float, fps: Fraction) -> int:
    return int(np.clip(round(seconds * float(fps)), MIN_FRAMES, MAX_FRAMES))


def _instants(frames: int, fps: Fraction) -> Floats:
    """Seconds (F, S) of the sub-frame instants, spread over the open shutter of each frame."""
    middle = np.arange(frames) / float(fps)
    inside = (np.linspace(-0.5, 0.5, SUBFRAMES) * SHUTTER) / float(fps)
    return np.maximum(middle[:, None] + inside, 0.0)


def _film(
    view: View, people: tuple[Performer, ...], instants: Floats, size: tuple[int, int], low_m: float,
    rng: np.random.Generator,
) -> tuple[View, Floats, tuple[int, int]]:  # fmt: skip
    """Let an operator follow the middle of people; return the view with its origin, the path, the panorama's shape."""
    step = 1.0 / 120.0
    clock = np.arange(0.0, float(instants.max()) + step, step)
    centres = np.mean([centre_of_mass(person.motion(clock)) for person in people], axis=0)
    centres[:, 1] = np.maximum(centres[:, 1], low_m)
    target = view.project(centres)[:, :2]
    operator = Operator(rng.uniform(9.0, 12.0), rng.uniform(0.12, 0.18), 0.004 * size[1], rng.uniform(0.0, 6.28))
    path = operator.follow(target, step)
    margin = 0.1 * size[1]
    low = path.min(axis=0) - np.array(size) / 2.0 - margin
    high = path.max(axis=0) + np.array(size) / 2.0 + margin
    origin = np.round(-low)
    shape = (int(np.ceil(high[1] - low[1])), int(np.ceil(high[0] - low[0])))
    camera = np.stack([np.interp(instants, clock, path[:, axis] + origin[axis]) for axis in range(2)], axis=-1)
    return replace(view, origin=(float(origin[0]), float(origin[1]))), camera, shape


def _passers(view: View, up_m: float, rng: np.random.Generator) -> tuple[Performer, ...]:
    """At times an official walks along the far side; `up_m` is how high their feet stand in the picture."""
    if rng.random() > 0.55:
        return ()
    near = -up_m / np.sin(view.elevation)
    start, pace = rng.uniform(-3.0, 4.0), rng.uniform(0.7, 1.4) * float(rng.choice([-1.0, 1.0]))
    phase = rng.uniform(0.0, 6.28)

    def walk(times: Floats) -> Floats:
        swing = np.sin(5.6 * times + phase)[..., None]
        lift = np.cos(5.6 * times + phase)[..., None]
        poses = swing * pose(hip_l=26.0, hip_r=-26.0, arm_l=-24.0, arm_r=24.0) + pose(ankle=88.0, elbow=16.0, spine=3.0)
        poses = poses + np.maximum(lift, 0.0) * pose(knee_l=44.0) + np.maximum(-lift, 0.0) * pose(knee_r=44.0)
        facing = (0.0 if pace > 0 else np.pi) - view.azimuth
        body = turn(place_joints(poses), np.zeros_like(times), np.full_like(times, facing))
        right = start + pace * times
        x = right * np.cos(view.azimuth) - near * np.sin(view.azimuth)
        z = right * np.sin(view.azimuth) + near * np.cos(view.azimuth)
        y = 0.04 - body[..., 1].min(axis=-1)
        placed: Floats = body + np.stack([x, y, z], axis=-1)[..., None, :]
        return placed

    return (Performer(walk, official_look(rng)),)
