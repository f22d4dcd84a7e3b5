"""`tubeflow status`: what the workspace holds, read from the catalog and the runs, nothing computed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich import box
from rich.table import Table

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.store import ArtifactDamaged
from flows.config import ConfigError
from flows.console import out, print_whole
from flows.datasets.clips import clip_count, dataset_clips, left_out
from flows.runs.last import last_config, last_where
from flows.runs.quality import known_quality, suspicious
from flows.runs.record import read_runs
from flows.stages import make_plan
from tasks.engine.plan import Planner, StagePlan

LAST_RUNS = 5
SHOWN_TUBES = 5


def read_status(workspace: Workspace) -> dict[str, Any]:
    """Per dataset its clips, its stages under the config of its last run, and its quarantined clips; the last runs."""
    datasets = {}
    for name in workspace.datasets.names():
        datasets[name] = _dataset_status(workspace, name)
    runs = read_runs(workspace)[-LAST_RUNS:]
    kept = ("run_id", "dataset", "finished", "seconds", "command", "report")
    return {
        "workspace": str(workspace.root),
        "datasets": datasets,
        "runs": [{name: getattr(run, name) for name in kept} for run in runs],
    }


def _dataset_status(workspace: Workspace, name: str) -> dict[str, Any]:
    status: dict[str, Any] = {"clips": clip_count(workspace, name), "stages": {}, "quarantined": [], "suspicious": []}
    status["left_out"] = left_out(workspace, name)
    status["rejected"] = [str(row) for row in workspace.datasets.rejected(name)]
    try:
        config = last_config(workspace, name)
        clips = dataset_clips(workspace, name, last_where(workspace, name))
        plans = make_plan(Planner(workspace, name, clips), config)
    except (CatalogError, ConfigError) as exc:
        return status | {"note": str(exc)}
    rows = known_quality(workspace, plans, config.masks.crop, config.quality)
    status["judged"] = len(rows)
    status["suspicious"] = [
        {"clip_id": row.clip_id, "suspicion": round(row.suspicion, 3), "reasons": row.reasons}
        for row in suspicious(rows.values(), config.quality)
    ]
    status["sources"] = count_sources(workspace, plans["normalize"])
    for stage, plan in plans.items():
        status["stages"][stage] = {"wanted": len(plan.jobs), "done": len(plan.hits)}
        for row in plan.quarantined.values():
            status["quarantined"].append(
                {"clip_id": row.clip_id, "stage": row.stage, "reason": row.reason, "remedy": row.remedy}
            )
    return status


# What a normalize artifact says of its source, by attribute, and how status calls the clips that it is true of.
SOURCE_WORDS = {
    "tone_mapped": "HDR, tone-mapped",
    "deinterlaced": "interlaced, made whole",
    "rotation_deg": "turned upright",
    "missing_frames": "with frames missing",
    "damaged_packets": "with damaged packets skipped",
}


def count_sources(workspace: Workspace, plan: StagePlan) -> dict[str, int]:
    """How many normalised clips each attribute of `SOURCE_WORDS` is true of; attributes of no clip are left out."""
    counts: Counter[str] = Counter()
    for clip_id in plan.hits:
        try:
            attributes = workspace.store.attributes("normalize", plan.jobs[clip_id].key)
        except (ArtifactDamaged, FileNotFoundError):  # since it was planned; the next run says so
            continue
        counts.update(name for name in SOURCE_WORDS if attributes.get(name))
    return {name: counts[name] for name in SOURCE_WORDS if counts[name]}


def print_status(status: dict[str, Any]) -> None:
    """The same as tables."""
    out.print(f"workspace {status['workspace']}", markup=False, soft_wrap=True)
    stages = sorted({stage for one in status["datasets"].values() for stage in one["stages"]}, key=_order)
    # Single spaces between columns: with names of up to 13 letters the nine headings just fit into 80 characters.
    table = Table("dataset", "clips", *stages, "quarantined", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for name, one in status["datasets"].items():
        done = [_share(one["stages"].get(stage)) for stage in stages]
        table.add_row(name, str(one["clips"]), *done, str(len(one["quarantined"])))
    print_whole(table)
    for name, one in status["datasets"].items():
        for row in one["quarantined"]:
            out.print(f"  ✗ {name}/{row['clip_id']} {row['stage']}: {row['reason']} {row['remedy']}", markup=False)
        if one.get("sources"):
            found = "; ".join(f"{count} {SOURCE_WORDS[which]}" for which, count in one["sources"].items())
            out.print(f"  – {name}: clips from videos: {found}", markup=False, soft_wrap=True)
        for sentence in [*one["rejected"], *one["left_out"]]:
            out.print(f"  – {name}: {sentence}", markup=False)
        for row in one["suspicious"][:SHOWN_TUBES]:
            why = " ".join(row["reasons"])
            out.print(f"  ! {name}/{row['clip_id']} {row['suspicion']:.2f}: {why}", markup=False, soft_wrap=True)
        if len(one["suspicious"]) > SHOWN_TUBES:
            count = f"{len(one['suspicious'])} of {one['judged']}"
            out.print(f"  … {count} tubes of {name} are to be looked at", markup=False)
        if "note" in one:
            out.print(f"  {name}: {one['note']}", markup=False)
    for run in status["runs"]:
        line = f"{run['run_id']}  {run['dataset']}  {run['seconds']} s  {run['report'] or ''}"
        out.print(line, markup=False, soft_wrap=True)


def _order(stage: str) -> int:
    from flows.stages import STAGE_NAMES

    return STAGE_NAMES.index(stage)


def _share(stage: dict[str, int] | None) -> str:
    return "" if stage is None else f"{stage['done']}/{stage['wanted']}"
