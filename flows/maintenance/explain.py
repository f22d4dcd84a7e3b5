"""`tubeflow explain`: the chain from the source video to an artifact, read from the artifacts themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.store import ArtifactDamaged, Lineage, read_lineage
from flows.datasets.clips import dataset_clips
from flows.runs.last import dataset_of, last_config
from flows.stages import section, stages_of_clips
from tasks.engine import progress
from tasks.engine.plan import Planner


def find_artifacts(workspace: Workspace, name: str) -> list[Lineage]:
    """The artifacts that `name` means: a file, a key (or its beginning), or the last ones of a clip.

    Raises:
        CatalogError: nothing is called so, or a damaged file.
    """
    path = Path(name)
    if path.is_file():
        return [_read(path)]
    by_key = sorted(workspace.artifacts.glob(f"*/{name[:2]}/{name}*.h5")) if _is_hex(name) else []
    if by_key:
        return [_read(path, workspace) for path in by_key]
    dataset = dataset_of(workspace, name)
    clips = [clip for clip in dataset_clips(workspace, dataset) if clip.clip_id == name]
    config = last_config(workspace, dataset)
    stages = [(stage, section(stage, config)) for stage in stages_of_clips(config)]
    with progress.uncounted("plan"):
        plans = Planner(workspace, dataset, clips).plan(stages, [])
    done = [stage for stage, _ in stages if name in plans[stage.name].hits]
    # What another stage that is done was made from shows in that one's chain.
    last = [one for one in done if not any(one.name in other.parents for other in done) or one is done[-1]]
    if last:
        return [_read(workspace.store.path(one.name, plans[one.name].jobs[name].key), workspace) for one in last]
    raise CatalogError(f"Clip '{name}' has no artifact yet; run: tubeflow run … --dataset {dataset}")


def _is_hex(text: str) -> bool:
    return len(text) >= 6 and all(letter in "0123456789abcdef" for letter in text)


def _read(path: Path, workspace: Workspace | None = None) -> Lineage:
    """The lineage of a file; one of the workspace's artifacts that is damaged is removed, to be made again."""
    try:
        return read_lineage(path)
    except ArtifactDamaged as exc:
        if workspace is not None and workspace.store.name_of(path) is not None:
            raise CatalogError(workspace.discard(exc)) from exc
        raise CatalogError(f"{path} is damaged or no artifact; give an artifact's path or key, or a clip_id") from exc


def chain(workspace: Workspace, lineage: Lineage) -> Iterator[Lineage]:
    """An artifact and all that it was made from, each once, the artifact first."""
    seen = {lineage.key}
    waiting = [lineage]
    while waiting:
        current = waiting.pop(0)
        yield current
        for stage, key in current.parents.items():
            path = workspace.store.path(stage, key)
            if key not in seen and os.path.lexists(path):
                seen.add(key)
                waiting.append(_read(path, workspace))


def explain(workspace: Workspace, name: str) -> list[list[Lineage]]:
    """Every artifact that `name` means, each as its chain; raises as `find_artifacts`."""
    found = find_artifacts(workspace, name)
    return [list(chain(workspace, lineage)) for lineage in progress.each("read", found)]
