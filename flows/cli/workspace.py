"""`tubeflow status`, `explain`, `gc`, `reindex` and `setup`: what the workspace holds, and keeping it in order."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from data_catalog.catalog import Workspace
from flows.cli.options import JsonOption, WorkspaceOption, plain_errors
from flows.console import PATIENCE, doing, out, stage_bars
from flows.maintenance.explain import explain
from flows.maintenance.gc import find_garbage, remove
from flows.maintenance.status import read_status
from flows.tables.garbage_table import print_garbage
from flows.tables.lineage_tree import print_explanation
from flows.tables.status_table import print_status
from tasks.engine import progress

app = typer.Typer()


@app.command("status")
@plain_errors
def status_command(workspace: WorkspaceOption = Path("workspace"), as_json: JsonOption = False) -> None:
    """Datasets, the state of their stages, quarantined clips, and the last runs.

    Example: `tubeflow status`
    """
    with stage_bars(PATIENCE):
        status = read_status(Workspace(workspace))
    if as_json:
        typer.echo(json.dumps(status))
        return
    print_status(status)


@app.command("explain")
@plain_errors
def explain_command(
    name: Annotated[str, typer.Argument(help="An artifact's path or key, or a clip_id.")],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Print the chain from the source video to an artifact.

    Example: `tubeflow explain diving_0003`
    """
    opened = Workspace(workspace)
    with stage_bars(PATIENCE):
        chains = explain(opened, name)
    if as_json:
        typer.echo(json.dumps([[dataclasses.asdict(one) for one in chain] for chain in chains]))
        return
    print_explanation(opened.store, chains)


@app.command("gc")
@plain_errors
def gc_command(
    keep: Annotated[int, typer.Option(min=1, help="Keep what the last runs of each dataset need.")] = 1,
    grace: Annotated[float, typer.Option(min=0, help="Hours for which what no run refers to is left alone.")] = 24.0,
    delete: Annotated[bool, typer.Option("--delete", help="Really delete; without it only say what would go.")] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Say which artifacts no recent run needs, or delete them.

    Example: `tubeflow gc --keep 3`, then `tubeflow gc --keep 3 --delete`
    """
    opened = Workspace.open(workspace)
    with stage_bars(PATIENCE):
        garbage = find_garbage(opened, keep, grace)
        if delete:
            remove(opened, garbage)
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in garbage]))
        return
    settings = f" --keep {keep}" * (keep != 1) + f" --grace {grace:g}" * (grace != 24.0)
    print_garbage(garbage, delete, f"tubeflow gc{settings}")


@app.command("reindex")
@plain_errors
def reindex_command(workspace: WorkspaceOption = Path("workspace")) -> None:
    """Verify every artifact and make the catalog's index again from the artifacts alone.

    Example: `tubeflow reindex`
    """
    opened = Workspace.open(workspace)
    with stage_bars():
        damaged = opened.index.rebuild(lambda done, total: progress.report("verify", done, total))
    for problem in damaged:
        out.print(str(problem), markup=False, soft_wrap=True)
    out.print(f"{len(opened.index.rows)} artifacts in the index, {len(damaged)} damaged.")


@app.command("setup")
@plain_errors
def setup_command(
    gpu_slots: Annotated[int, typer.Option(min=1, help="Shards on GPUs at once, over all machines.")] = 1,
    pool: Annotated[str, typer.Option(help="Name of the work pool; prefect.yaml says 'tubeflow'.")] = "tubeflow",
    as_json: JsonOption = False,
) -> None:
    """Make the Prefect server of PREFECT_API_URL ready: GPU slots, work pool, and who notices a killed run.

    Example: `tubeflow setup --gpu-slots 2`
    """
    # Loads Prefect, seconds that no other command of this file needs.
    from flows.execution.prefect_setup import set_up

    with doing("setup"):
        result = set_up(gpu_slots, pool)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result)))
        return
    out.print(f"Prefect server {result.server}", markup=False, soft_wrap=True)
    for sentence in result.done:
        out.print(f"  {sentence}", markup=False, soft_wrap=True)
