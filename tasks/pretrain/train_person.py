"""Trains the person's network on pairs out of labelled footage."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from data_catalog.footage.lessons import Lessons, Pair
from models.trackers.siammask.person.person_learning import PersonBatch, person_losses
from models.trackers.siammask.person.person_network import PersonSiamMask
from tasks.pretrain.tracker_pool import as_crops


class _Part(Protocol):
    """What a run that was cut off goes on with."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


REPORT_EVERY = 50   # steps
_WARM = 100         # steps until the learning rate is at its peak
_LAST = 0.02        # of the peak, at the end


@dataclass(frozen=True)
class PersonRecipe:
    """How long and how hard the network is trained.

    Attributes:
        steps: batches.
        batch: pairs a step.
        rate: peak of the learning rate of what begins at random; falls as a cosine.
        backbone_rate: that of the backbone, as a share of it.
        still: first parts of the backbone that keep their ImageNet weights: they are most of a step's cost.
        decay: of the weights.
        mean: share of itself that the running mean of the weights keeps each step; the mean is what is kept.
        seed: of the network's beginning and of the pairs.
    """

    steps: int = 12000
    batch: int = 16
    rate: float = 1.5e-3
    backbone_rate: float = 0.2
    still: int = 4
    decay: float = 0.03
    mean: float = 0.995
    seed: int = 0


@dataclass(frozen=True)
class PersonStep:
    """After `step` steps: mean errors since the last report, and seconds since the start."""

    step: int
    errors: dict[str, float]
    seconds: float


def train_person(
    network: PersonSiamMask,
    lessons: Lessons,
    recipe: PersonRecipe,
    state: Path,
    progress: Callable[[PersonStep], None] | None = None,
) -> PersonSiamMask:
    """Train in place and return the network in evaluation mode, with the running mean of its weights.

    Args:
        network: with the backbone's beginning.
        lessons: where pairs come from.
        recipe: see there.
        state: file that a run which was cut off goes on from; written at every report, gone at the end.
        progress: called every 50 steps.

    Raises:
        OSError: the disk is full or the state can't be written.
        ValueError: the state is another recipe's.
    """
    optimizer, schedule = _optimizer(network, recipe)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.mean)  # type: ignore[no-untyped-call]
    mean = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    parts: dict[str, _Part] = {
        "network": network, "mean": mean, "optimizer": optimizer, "schedule": schedule,
    }  # fmt: skip
    first = _resume(state, parts, recipe)
    network.train()
    start, sums = time.perf_counter(), dict[str, float]()
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(draw_batch, lessons, recipe, first)
        for step in range(first, recipe.steps):
            batch, coming = coming.result(), ahead.submit(draw_batch, lessons, recipe, step + 1)
            torch.manual_seed(recipe.seed + step)   # what drops out too is the same in a run that was cut off
            errors = person_losses(network, batch)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(errors["all"])
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            mean.update_parameters(network)
            for name, part in errors.items():
                sums[name] = sums.get(name, 0.0) + float(part.detach())
            if (step + 1) % REPORT_EVERY == 0 or step + 1 == recipe.steps:
                _keep(state, parts, recipe, step + 1)
                if progress is not None:
                    count = (step + 1 - first - 1) % REPORT_EVERY + 1
                    shown = {name: total / count for name, total in sums.items()}
                    progress(PersonStep(step + 1, shown, time.perf_counter() - start))
                sums = {}
    network.load_state_dict(mean.module.state_dict())
    state.unlink(missing_ok=True)
    return network.eval()


def draw_batch(lessons: Lessons, recipe: PersonRecipe, step: int) -> PersonBatch:
    """The pairs of one step; they depend on (seed, step) alone."""
    rng = np.random.default_rng((recipe.seed, step))
    drawn = [lessons.draw(rng) for _ in range(recipe.batch)]

    def stacked(of: Callable[[Pair], NDArray[np.generic]]) -> NDArray[np.generic]:
        return np.stack([of(pair) for pair in drawn])

    return PersonBatch(
        as_crops(stacked(lambda pair: pair.template)),
        as_crops(stacked(lambda pair: pair.search)),
        torch.from_numpy(stacked(lambda pair: pair.box)).float(),
        torch.from_numpy(stacked(lambda pair: pair.mask)),
        torch.tensor([pair.present for pair in drawn]),
    )


def _optimizer(
    network: PersonSiamMask, recipe: PersonRecipe
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    for part in [network.backbone.first, *network.backbone.blocks][: recipe.still]:
        part.requires_grad_(False)
    backbone = [one for one in network.backbone.parameters() if one.requires_grad]
    known = {id(one) for one in network.backbone.parameters()}
    fresh = [one for one in network.parameters() if id(one) not in known]
    optimizer = torch.optim.AdamW(
        [{"params": fresh, "lr": recipe.rate}, {"params": backbone, "lr": recipe.rate * recipe.backbone_rate}],
        weight_decay=recipe.decay,
    )

    def height(step: int) -> float:
        cosine = (1 + np.cos(np.pi * min(1.0, step / recipe.steps))) / 2
        return float(min(1.0, (step + 1) / _WARM) * (_LAST + (1 - _LAST) * cosine))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, height)


def _keep(state: Path, parts: Mapping[str, _Part], recipe: PersonRecipe, step: int) -> None:
    with replacing(state) as temporary:
        told = {name: part.state_dict() for name, part in parts.items()}
        torch.save(told | {"step": step, "recipe": vars(recipe)}, temporary)


def _resume(state: Path, parts: Mapping[str, _Part], recipe: PersonRecipe) -> int:
    """How many steps are done."""
    if not state.is_file():
        return 0
    kept = torch.load(state, weights_only=True)
    if kept["recipe"] != vars(recipe):
        raise ValueError(f"{state} is of another recipe; delete it to begin again")
    for name, part in parts.items():
        part.load_state_dict(kept[name])
    return int(kept["step"])
