"""Which tubes are to be looked at: measured once after masks, judged by the thresholds of `quality.*`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from data_catalog.catalog import Workspace
from data_catalog.errors import BadVideo
from data_catalog.media.frame_codec import decode_frames
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.tube_quality import Pair, TubeQuality, TubeSeries
from tasks.assessment.tube_checks import MEASURE_VERSION, QualityConfig, TubeKeys, judge_series, measure_series
from tasks.engine.plan import StagePlan

logger = logging.getLogger(__name__)

SHOWN = 5  # clips in a sentence
HALF_FROM = 200  # px: frames of this height and more are looked at in half their size
SAVE_EVERY = 500  # clips, so that a killed run keeps most of what it measured


@dataclass(frozen=True)
class PlannedTube:
    """What a clip's tubes are judged by: keys of its artifacts, and the crop that the network sees."""

    subject: TubeKeys
    normalize_key: str
    crop: int


Plans = Mapping[str, StagePlan]


def _tubes(workspace: Workspace, plans: Plans, crop: int) -> dict[str, PlannedTube]:
    """The tubes of a plan that are in the store, by clip."""
    if not {"normalize", "track", "masks"} <= plans.keys():
        return {}
    tubes = {}
    for clip, masks in plans["masks"].jobs.items():
        if all(_there(workspace, plans[name], clip) for name in ("normalize", "track", "masks")):
            subject = TubeKeys(plans["track"].jobs[clip].key, masks.key, masks.dataset, clip)
            tubes[clip] = PlannedTube(subject, plans["normalize"].jobs[clip].key, crop)
    return tubes


def _there(workspace: Workspace, plan: StagePlan, clip: str) -> bool:
    """Whether a clip has the artifact: it had when this was planned, or it was made since."""
    job = plan.jobs.get(clip)
    return job is not None and (clip in plan.hits or workspace.store.exists(plan.stage.name, job.key))


def known_quality(workspace: Workspace, plans: Plans, crop: int, config: QualityConfig) -> dict[str, TubeQuality]:
    """The judgement of every tube of a plan that was measured, by clip. Decodes nothing, writes nothing.

    `crop` is the side, in pixels, of the square that the network sees. By other thresholds than the table's the
    judgement is made anew from what was measured.
    """
    return _judged(workspace, _tubes(workspace, plans, crop), config)


def _judged(workspace: Workspace, tubes: Mapping[str, PlannedTube], config: QualityConfig) -> dict[str, TubeQuality]:
    rows, wanted = workspace.tube_quality.rows, config.digest()
    found = {clip: rows[pair] for clip, tube in tubes.items() if (pair := pair_of(tube)) in rows}
    found = {clip: row for clip, row in found.items() if row.version == MEASURE_VERSION}
    stale = {clip: row for clip, row in found.items() if row.settings != wanted}
    if stale:
        series = workspace.tube_quality.all_series([row.pair for row in stale.values()])
        for clip, row in stale.items():
            if row.pair in series:
                found[clip] = judge_series(tubes[clip].subject, series[row.pair], config)
            else:
                del found[clip]
    return found


def pair_of(tube: PlannedTube) -> Pair:
    """The row of the table that judges a tube."""
    return tube.subject.track_key, tube.subject.masks_key


def measure_tubes(
    workspace: Workspace,
    plans: Plans,
    crop: int,
    config: QualityConfig,
    workers: int = 1,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, TubeQuality], list[str]]:
    """Measure the tubes that were not measured yet, and remember them.

    Returns:
        the judgement of every tube by clip, as `known_quality`, and a sentence where tubes could not be measured.
    """
    table, tubes = workspace.tube_quality, _tubes(workspace, plans, crop)
    known = _judged(workspace, tubes, config)
    _remember_again(workspace, known)
    todo = [clip for clip in tubes if clip not in known]
    troubles: list[tuple[str, str]] = []
    if todo:
        advance(0, len(todo))
        with ThreadPoolExecutor(workers) as pool:
            outcomes = pool.map(lambda clip: _measured(workspace, tubes[clip]), todo)
            for done, (clip, outcome) in enumerate(zip(todo, outcomes, strict=True), start=1):
                if isinstance(outcome, TubeSeries):
                    known[clip] = judge_series(tubes[clip].subject, outcome, config)
                    table.add(known[clip], outcome)
                else:
                    troubles.append((clip, outcome))
                if done % SAVE_EVERY == 0:
                    table.save()
                advance(done, len(todo))
    table.save()
    return known, [_sentence(troubles)] if troubles else []


def _remember_again(workspace: Workspace, known: Mapping[str, TubeQuality]) -> None:
    """Rows that were judged by other thresholds than before go into the table with what was measured of them."""
    table = workspace.tube_quality
    changed = [row for row in known.values() if table.rows[row.pair].settings != row.settings]
    series = table.all_series([row.pair for row in changed]) if changed else {}
    for row in changed:
        table.add(row, series[row.pair])


def _measured(workspace: Workspace, tube: PlannedTube) -> TubeSeries | str:
    """What was measured, or why it could not be."""
    store, subject = workspace.store, tube.subject
    try:
        track = store.read("track", subject.track_key)
        masks = store.read("masks", subject.masks_key, ["omega"])
        source = store.read("normalize", tube.normalize_key, ["frames", "frame_offsets", "source_index"])
        frame_wh = int(track.attrs["width"]), int(track.attrs["height"])
        frames = decode_frames(source.arrays, half=frame_wh[1] >= HALF_FROM)
        index = source.arrays["source_index"]
        return measure_series(frames, index, frame_wh, track.arrays, masks.arrays["omega"], tube.crop)
    except KeyError as exc:
        return f"its artifacts hold no {exc}"
    except (ArtifactDamaged, BadVideo, OSError, ValueError) as exc:
        return str(exc)


def _sentence(troubles: Sequence[tuple[str, str]]) -> str:
    clip, why = troubles[0]
    count = len(troubles)
    which = f"The tube of clip '{clip}'" if count == 1 else f"The tubes of {count} clips, '{clip}' the first,"
    return f"{which} could not be judged: {why.rstrip('.')}."


def suspicious(rows: Iterable[TubeQuality], config: QualityConfig) -> list[TubeQuality]:
    """Those at or above `quality.suspicious`, the worst first."""
    return worst_first(row for row in rows if row.suspicion >= config.suspicious)


def worst_first(rows: Iterable[TubeQuality]) -> list[TubeQuality]:
    """The most suspicious first."""
    return sorted(rows, key=lambda row: (-row.suspicion, row.clip_id))


def suspicious_sentence(rows: Sequence[TubeQuality]) -> str:
    """`3 tubes are suspicious: dive_0004, dive_0007, dive_0011`."""
    names = ", ".join(row.clip_id for row in rows[:SHOWN]) + (", …" if len(rows) > SHOWN else "")
    return f"{len(rows)} {'tube is' if len(rows) == 1 else 'tubes are'} suspicious: {names}"
