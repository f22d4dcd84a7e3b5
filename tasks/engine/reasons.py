"""Why an artifact has to be made though an older one of the same clip and stage is there, in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from data_catalog.pack.file import SPLIT_NAMES, DamagedPack, PackLabels, PackReader
from data_catalog.store import Store
from data_catalog.tables.index import Record
from tasks.engine.config import StageConfig
from tasks.engine.job import Job
from tasks.engine.stage import Stage

MemberLabels = dict[str, tuple[Any, ...]]


def why_changed(stage: Stage[Any], config: StageConfig, job: Job, previous: Record, store: Store) -> str:
    """Why a job has another key than the newest artifact of the same clip (`previous`)."""
    if previous.stage_version != stage.version:
        return f"{stage.name} version {previous.stage_version} → {stage.version}"
    before, now = (_with_added(view, stage, config) for view in (json.loads(previous.config), stage.config_of(config)))
    changes = config_changes("", before, now)
    if changes:
        return ", ".join(changes)
    if sorted(json.loads(previous.weights).values()) != sorted(job.weights.values()):
        return f"{stage.name} weights changed"
    had, has = json.loads(previous.inputs), json.loads(json.dumps(job.inputs))
    changed = sorted(name for name in had.keys() | has.keys() if had.get(name) != has.get(name))
    if "source" in changed:
        return "source video changed"
    own = [name for name in changed if name not in stage.parents]
    if job.members and {"clips", "labels"} & set(own):
        return ", ".join(_member_changes(job, previous, store))
    if own:
        return " and ".join(f"{name} changed" for name in own)
    return "follows " + ", ".join(_moved_parents(stage, job, previous) or stage.parents)


def _with_added(view: Mapping[str, Any], stage: Stage[Any], config: StageConfig) -> dict[str, Any]:
    """A config as an artifact remembers it, with the values that fields had before they were there (`added`)."""
    return {name: {**config.added, **part} if name == stage.name else part for name, part in view.items()}


def _moved_parents(stage: Stage[Any], job: Job, previous: Record) -> list[str]:
    before, inputs = json.loads(previous.parents), json.loads(previous.inputs)
    moved = [name for name, key in job.parents.items() if before.get(name) != key]
    return moved + [name for name in stage.parents if name in inputs and inputs[name] != job.inputs.get(name)]


def config_changes(prefix: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`["track.tracker changed: mil → nano"]`: the leaves in which two configs differ."""
    changes: list[str] = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += config_changes(f"{prefix}{name}.", old, new)
        elif json.dumps(old) != json.dumps(new):
            changes.append(f"{prefix}{name} changed: {_short(old)} → {_short(new)}")
    return changes


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "…"


def _member_changes(job: Job, previous: Record, store: Store) -> list[str]:
    """`["labels changed: 3 clips", "1 clip added"]`, against the labels that the previous pack holds."""
    before = _packed_labels(store, previous)
    if before is None:  # the pack itself is gone, and with it the number
        return ["labels changed"]
    now = _member_labels(job)
    counts = {
        "labels changed: {}": sum(now[clip] != before[clip] for clip in now.keys() & before.keys()),
        "{} added": len(now.keys() - before.keys()),
        "{} left out": len(before.keys() - now.keys()),
    }
    found = [sentence.format(clips_text(count)) for sentence, count in counts.items() if count]
    return found or ["order of the clips changed"]


def clips_text(count: int) -> str:
    """`1 clip`, `3 clips`."""
    return f"{count} clip{'' if count == 1 else 's'}"


def _packed_labels(store: Store, record: Record) -> MemberLabels | None:
    try:
        reader = PackReader(store.path(record.stage, record.key))
    except (DamagedPack, OSError):
        return None
    reader.close()
    return _by_clip(reader.labels)


def _by_clip(labels: PackLabels) -> MemberLabels:
    numbers = zip(labels.score.tolist(), labels.difficulty.tolist(), labels.label.tolist(), strict=True)
    judges = labels.judges.tolist()
    return {
        clip: (split, action, *_present(row), *_given(marks))
        for clip, split, action, row, marks in zip(
            labels.clip_id, labels.split, labels.action, numbers, judges, strict=True
        )
    }


def _member_labels(job: Job) -> MemberLabels:
    return {
        clip.clip_id: (
            SPLIT_NAMES.get(clip.split, clip.split),
            clip.action,
            *_present([clip.score, clip.difficulty, clip.label]),
            *_given(clip.judges),
        )
        for clip in (member.clip for member in job.members)
    }


def _given(marks: Sequence[float]) -> list[float | None]:
    """Without the empty places behind them, of which a pack has as many as its largest panel."""
    found = _present(marks)
    while found and found[-1] is None:
        found.pop()
    return found


def _present(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None or math.isnan(value) else float(value) for value in values]
