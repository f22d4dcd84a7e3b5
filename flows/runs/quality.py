"""Which tubes are to be looked at: measured once after masks, judged by the thresholds of `quality.*`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from data_catalog.catalog import Workspace
from data_catalog.errors import BadVideo
from data_catalog.media.frame_codec import decode_frames
from data_catalog.tables.tube_quality import Pair, TubeQuality, TubeSeries
from flows.stages import planned_config
from tasks.assessment.tube_checks import MEASURE_VERSION, QualityConfig, TubeKeys, judge_series, measure_series
from tasks.engine.plan import StagePlan
from tasks.masks import MasksConfig

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


@dataclass(frozen=True)
class Judgement:
    """What is known of the tubes of a plan.

    Attributes:
        rows: the judgement of every tube that was measured, by clip.
        suspicious: those at or above `quality.suspicious`, the worst first.
        notes: a sentence where tubes could not be measured.
    """

    rows: dict[str, TubeQuality]
    suspicious: list[TubeQuality]
    notes: list[str]


def _tubes(workspace: Workspace, plans: Plans) -> dict[str, PlannedTube]:
    """The tubes of a plan that are in the store, by clip."""
    if not {"normalize", "track", "masks"} <= plans.keys():
        return {}
    tubes, crop = {}, planned_config(plans, "masks", MasksConfig).crop
    for clip, masks in plans["masks"].jobs.items():
        if all(_there(workspace, plans[name], clip) for name in ("normalize", "track", "masks")):
            subject = TubeKeys(plans["track"].jobs[clip].key, masks.key, masks.dataset, clip)
            tubes[clip] = PlannedTube(subject, plans["normalize"].jobs[clip].key, crop)
    return tubes


def _there(workspace: Workspace, plan: StagePlan, clip: str) -> bool:
    """Whether a clip has the artifact: it had when this was planned, or it was made since."""
    job = plan.jobs.get(clip)
    return job is not None and (clip in plan.hits or workspace.store.exists(plan.stage.name, job.key))


def known_quality(workspace: Workspace, plans: Plans, config: QualityConfig) -> dict[str, TubeQuality]:
    """The judgement of every tube of a plan that was measured, by clip. Decodes nothing, writes nothing."""
    return judge_tubes(workspace, plans, config).rows


def judge_tubes(
    workspace: Workspace,
    plans: Plans,
    config: QualityConfig,
    workers: int = 0,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Judgement:
    """Judge the tubes of a plan: as the table says, or by other thresholds anew from what was measured.

    Args:
        workspace: the workspace.
        plans: of the clips, up to masks.
        config: the thresholds.
        workers: threads that measure the tubes that were not measured yet; with 0 those are left out, and nothing is
            written.
        advance: is called with how many of them are measured, and how many there are.

    Raises:
        ArtifactDamaged, FileNotFoundError: an artifact that the plan counts on can't be read.
    """
    table, tubes = workspace.tube_quality, _tubes(workspace, plans)
    known, settings = _known(workspace, tubes), config.digest()
    rows = {clip: row for clip, row in known.items() if row.settings == settings}
    stale = _series(workspace, {clip: row.pair for clip, row in known.items() if clip not in rows})
    todo = {clip: tube for clip, tube in tubes.items() if clip not in rows.keys() | stale.keys()} if workers else {}
    troubles: list[tuple[str, str]] = []
    for number, (clip, series) in enumerate(chain(stale.items(), _measured(workspace, todo, workers, advance)), 1):
        if isinstance(series, str):
            troubles.append((clip, series))
            continue
        rows[clip] = judge_series(tubes[clip].subject, series, config)
        if workers:
            table.add(rows[clip], series)
            if number % SAVE_EVERY == 0:
                table.save()
    if workers:
        table.save()
    suspicious = worst_first(row for row in rows.values() if row.suspicion >= config.suspicious)
    return Judgement(rows, suspicious, [_sentence(troubles)] if troubles else [])


def _known(workspace: Workspace, tubes: Mapping[str, PlannedTube]) -> dict[str, TubeQuality]:
    """The table's judgements of what is still measured as it was, by clip."""
    rows = workspace.tube_quality.rows
    found = {clip: rows[pair] for clip, tube in tubes.items() if (pair := pair_of(tube)) in rows}
    return {clip: row for clip, row in found.items() if row.version == MEASURE_VERSION}


def _series(workspace: Workspace, pairs: Mapping[str, Pair]) -> dict[str, TubeSeries]:
    """What was measured of these tubes, by clip; a tube whose figures are lost is left out."""
    found = workspace.tube_quality.all_series(list(pairs.values())) if pairs else {}
    return {clip: found[pair] for clip, pair in pairs.items() if pair in found}


def pair_of(tube: PlannedTube) -> Pair:
    """The row of the table that judges a tube."""
    return tube.subject.track_key, tube.subject.masks_key


def _measured(
    workspace: Workspace, tubes: Mapping[str, PlannedTube], workers: int, advance: Callable[[int, int], None]
) -> Iterator[tuple[str, TubeSeries | str]]:
    """Clip by clip what was measured of its tube, or why it could not be."""
    if not tubes:
        return
    advance(0, len(tubes))
    with ThreadPoolExecutor(workers) as pool:
        outcomes = pool.map(lambda tube: _measure(workspace, tube), tubes.values())
        for done, (clip, outcome) in enumerate(zip(tubes, outcomes, strict=True), 1):
            yield clip, outcome
            advance(done, len(tubes))


def _measure(workspace: Workspace, tube: PlannedTube) -> TubeSeries | str:
    """What was measured, or why it could not be. Raises ArtifactDamaged, FileNotFoundError."""
    store, subject = workspace.store, tube.subject
    track = store.read("track", subject.track_key)
    masks = store.read("masks", subject.masks_key, ["omega"])
    source = store.read("normalize", tube.normalize_key, ["frames", "frame_offsets", "source_index"])
    try:
        frame_wh = int(track.attrs["width"]), int(track.attrs["height"])
        frames = decode_frames(source.arrays, half=frame_wh[1] >= HALF_FROM)
        index = source.arrays["source_index"]
        return measure_series(frames, index, frame_wh, track.arrays, masks.arrays["omega"], tube.crop)
    except KeyError as exc:
        return f"its artifacts hold no {exc}"
    except (BadVideo, OSError, ValueError) as exc:
        return str(exc)


def _sentence(troubles: Sequence[tuple[str, str]]) -> str:
    clip, why = troubles[0]
    count = len(troubles)
    which = f"The tube of clip '{clip}'" if count == 1 else f"The tubes of {count} clips, '{clip}' the first,"
    return f"{which} could not be judged: {why.rstrip('.')}."


def worst_first(rows: Iterable[TubeQuality]) -> list[TubeQuality]:
    """The most suspicious first."""
    return sorted(rows, key=lambda row: (-row.suspicion, row.clip_id))


def suspicious_sentence(rows: Sequence[TubeQuality]) -> str:
    """`3 tubes are suspicious: dive_0004, dive_0007, dive_0011`."""
    names = ", ".join(row.clip_id for row in rows[:SHOWN]) + (", …" if len(rows) > SHOWN else "")
    return f"{len(rows)} {'tube is' if len(rows) == 1 else 'tubes are'} suspicious: {names}"
