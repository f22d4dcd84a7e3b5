"""`tubeflow export --format backbone`: the weights of a run's backbone, for another training to begin with."""

from __future__ import annotations

from pathlib import Path

from data_catalog.atomic import replacing
from data_catalog.catalog import Workspace
from flows.runs.finished import FinishedRun, trained_state

BACKBONE = "backbone"
PREFIXES = ("backbone.", "network.")
"""Before the names of the backbone's tensors in a run's weights; the second of torchvision's alone."""


def export_backbone(workspace: Workspace, run: FinishedRun, weights: str, path: Path | None = None) -> Path:
    """Write the weights of a run's backbone as a safetensors file that `model.weights` takes; returns where.

    Args:
        workspace: the workspace.
        run: whose network.
        weights: `last` or `best` epoch.
        path: the file; by default RUN-WEIGHTS-backbone.safetensors in the current folder.

    Raises:
        CatalogError: the run trained nothing, or its weights are gone.
        OSError: the file can't be written.
    """
    import torch  # as below: seconds to load, and only this command needs them

    from models.safetensors_file import write_safetensors

    state = trained_state(workspace, run, weights)
    first, second = PREFIXES
    tensors = {
        name.removeprefix(first).removeprefix(second): torch.from_numpy(value)
        for name, value in state.items()
        if name.startswith(first)
    }
    target = (path or Path(f"{run.run_id}-{weights}-backbone.safetensors")).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        write_safetensors(tensors, temporary, {"backbone": run.config.model.backbone, "run": run.run_id})
    return target
