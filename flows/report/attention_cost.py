"""`tubeflow flops`: what attention costs on the real tubes, beside the dense Non-local block (the paper's Table 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_catalog.catalog import CatalogError, Workspace
from flows.config import PipelineConfig, load_config
from flows.datasets.clips import dataset_clips
from flows.runs.attention_form import AttentionForm, attention_form
from flows.runs.last import dataset_of, last_config
from flows.stages import CLIP_STAGES, section
from models.attention.cost import AttentionCost, total_cost
from tasks.engine import progress
from tasks.engine.plan import Planner, StagePlan
from tasks.training.config import ModelConfig
from tasks.training.first_weights import model_form


@dataclass(frozen=True)
class GroupCost:
    """Mean cost of one video of a group of clips, and of the dense block for the same video."""

    group: str
    clips: int
    tube: AttentionCost
    dense: AttentionCost


def backbone_macs(model: ModelConfig, weights: Path, segments: int) -> int:
    """Multiply-accumulates of a clip's segments through the network around the attention; nothing is computed.

    Args:
        model: which network.
        weights: the weights folder, by which the size of some backbones is known.
        segments: of a clip.

    Raises:
        WeightsError: such weights aren't there.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from models.backbones import build_backbone

    form = model_form(model, weights)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net = build_backbone(model.backbone, model.split, form=form).eval()
        before = counter.get_total_flops()  # of the dry run that finds the network's sizes
        net(torch.empty(1, 3, net.frames, net.input_size, net.input_size))
        flops = counter.get_total_flops() - before
    return int(flops // 2 * segments)


def tube_positions(
    workspace: Workspace, dataset: str, config: PipelineConfig, form: AttentionForm, clip: str | None = None
) -> Mapping[str, tuple[str, int, int]]:
    """Per clip its action, the positions P of its tube and those of the dense block N·T·Hf·Wf.

    Raises:
        CatalogError: no clip has its masks yet.
    """
    clips = [one for one in dataset_clips(workspace, dataset) if clip in (None, one.clip_id)]
    plans = Planner(workspace, dataset, clips).plan([(stage, section(stage, config)) for stage in CLIP_STAGES], [])
    found = mask_positions(workspace, plans["masks"], form)
    if not found:
        raise CatalogError(
            f"No clip of dataset '{dataset}' has its masks yet; run: tubeflow run … --dataset {dataset} --until masks"
        )
    return found


def mask_positions(workspace: Workspace, masks: StagePlan, form: AttentionForm) -> Mapping[str, tuple[str, int, int]]:
    """As `tube_positions`, for the clips of a plan whose masks are in the store."""
    found = {}
    for done, (clip_id, job) in enumerate(masks.jobs.items(), 1):
        progress.report("count", done, len(masks.jobs))
        if workspace.store.exists("masks", job.key):
            mask = workspace.store.read("masks", job.key, ["mask"]).arrays["mask"]
            found[clip_id] = (job.clip.action if job.clip else "", form.positions(mask), int(mask.size))
    return found


def cost_rows(positions: Mapping[str, tuple[str, int, int]], form: AttentionForm) -> list[GroupCost]:
    """One row an action, and one for all clips: the mean over clips of each count."""
    groups: dict[str, list[tuple[int, int]]] = {}
    for action, tube, dense in positions.values():
        groups.setdefault(action or "clips", []).append((tube, dense))
    if len(groups) > 1:
        groups["all"] = [pair for pairs in groups.values() for pair in pairs]
    rows = []
    for group, pairs in groups.items():
        tubes = total_cost(form.cost(tube) for tube, _ in pairs)
        denses = total_cost(form.dense(dense) for _, dense in pairs)
        rows.append(GroupCost(group, len(pairs), _mean(tubes, len(pairs)), _mean(denses, len(pairs))))
    return rows


def _mean(cost: AttentionCost, count: int) -> AttentionCost:
    counts = (cost.positions, cost.published, cost.true, cost.executed, cost.printed)
    return AttentionCost(*(one // count for one in counts))


def count_flops(workspace: Workspace, name: str, preset: str | None, overrides: Sequence[str]) -> list[GroupCost]:
    """Costs of a clip or of a dataset, by name, under a preset or the dataset's last run. Raises CatalogError."""
    is_dataset = name in workspace.datasets.names()
    dataset = name if is_dataset else dataset_of(workspace, name)
    config = load_config(preset, overrides) if preset else last_config(workspace, dataset, overrides)
    form = attention_form(config.model, workspace.weights)
    return cost_rows(tube_positions(workspace, dataset, config, form, None if is_dataset else name), form)
