"""Trains siammask-s: neck, heads and outlines, on a pool of synthetic crops; its backbone stays as ImageNet left it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from models.backbones.checkpoint import read_tensors
from models.safetensors_file import write_safetensors
from models.trackers.siammask.learning import losses
from models.trackers.siammask.mobilenet import fold_classifier
from models.trackers.siammask.person.person_network import PersonSiamMask
from models.trackers.siammask.small import SmallSiamMask
from tasks.pretrain.tracker_pool import SEARCHES_EACH, Pool

logger = logging.getLogger(__name__)

HELD_OUT = 0.05          # share of the sequences that only measure
_REPORT_EVERY = 25       # steps
_MEAN_OVER = 0.05        # share of the steps that the mean of the weights reaches back over; the mean is what is kept


@dataclass(frozen=True)
class TrackerRecipe:
    """How long and how hard siammask-s is trained.

    Attributes:
        steps: batches.
        batch: search crops a step.
        rate: peak of the learning rate; rises over a twentieth of the steps, then falls as a cosine to nothing.
        decay: of the weights.
        strangers: share of search crops whose template shows something else: there must be no target.
        seed: of the network's beginning and of the batches.
        half: multiply in bfloat16, where the processor has instructions for it.
    """

    steps: int = 6000
    batch: int = 32
    rate: float = 2e-3
    decay: float = 0.05
    strangers: float = 0.15
    seed: int = 0
    half: bool = True


@dataclass(frozen=True)
class TrackerStep:
    """After `step` steps: mean errors since the last report, and seconds since the start."""

    step: int
    errors: dict[str, float]
    seconds: float


def new_network(classifier: Path, seed: int) -> SmallSiamMask:
    """siammask-s untrained, its backbone from torchvision's MobileNetV2 in `classifier`.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it holds something else.
    """
    torch.manual_seed(seed)
    network = SmallSiamMask()
    network.backbone.load_state_dict(fold_classifier(read_tensors(classifier)))
    network.backbone.requires_grad_(False)
    return network.eval()


def train_tracker(
    network: SmallSiamMask,
    pool: Callable[[], Pool],
    recipe: TrackerRecipe,
    progress: Callable[[TrackerStep], None] | None = None,
) -> SmallSiamMask:
    """Train in place and return the network in evaluation mode, with the running mean of its weights.

    Args:
        network: from `new_network`.
        pool: what may be drawn from now; asked again at each report, so that a pool can grow meanwhile.
        recipe: see there.
        progress: called every 25 steps.
    """
    rng = np.random.default_rng(recipe.seed)
    learned = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.steps, pct_start=0.05, anneal_strategy="cos"
    )
    keep = max(0.0, 1 - 1 / (_MEAN_OVER * recipe.steps))
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(keep)  # type: ignore[no-untyped-call]
    mean = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    network.train()
    network.backbone.eval()
    start, sums, source = time.perf_counter(), dict[str, float](), pool()
    for step in range(1, recipe.steps + 1):
        batch = source.batch(*draw(rng, source.sequences, recipe), outlines=max(2, recipe.batch * 2 // 3), rng=rng)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.half):
            parts = losses(network, batch)
        torch.autograd.backward(parts["all"])
        torch.nn.utils.clip_grad_norm_(learned, 5.0)
        optimizer.step()
        schedule.step()
        mean.update_parameters(network)
        for name, part in parts.items():
            sums[name] = sums.get(name, 0.0) + float(part.detach())
        if step % _REPORT_EVERY == 0 or step == recipe.steps:
            count = (step - 1) % _REPORT_EVERY + 1
            if progress is not None:
                errors = {name: total / count for name, total in sums.items()}
                progress(TrackerStep(step, errors, time.perf_counter() - start))
            sums, source = {}, pool()
    network.load_state_dict(mean.module.state_dict())
    return network.eval()


def draw(
    rng: np.random.Generator, sequences: int, recipe: TrackerRecipe
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Search crops (batch,) and the sequences (batch,) whose templates they meet, none of them held out."""
    used = max(1, round(sequences * (1 - HELD_OUT)))
    rows = rng.integers(0, used * SEARCHES_EACH, recipe.batch)
    own = rows // SEARCHES_EACH
    strange = rng.random(recipe.batch) < recipe.strangers
    strange[: min(2, recipe.batch)] = False   # batch statistics of the outlines need two at least
    return np.asarray(rows), np.where(strange, rng.integers(0, used, recipe.batch), own)


@torch.inference_mode()
def held_out_errors(network: SmallSiamMask, pool: Pool, batch: int = 16) -> dict[str, float]:
    """Mean errors on the sequences that were not trained on."""
    first = max(1, round(pool.sequences * (1 - HELD_OUT))) * SEARCHES_EACH
    rows = np.arange(min(first, pool.sequences * SEARCHES_EACH - SEARCHES_EACH), pool.sequences * SEARCHES_EACH)
    found = []
    for begin in range(0, len(rows), batch):
        chosen = rows[begin : begin + batch]
        parts = losses(network, pool.batch(chosen, chosen // SEARCHES_EACH, len(chosen)))
        found.append({name: float(part) * len(chosen) for name, part in parts.items()})
    return {name: sum(one[name] for one in found) / len(rows) for name in found[0]}


def save_weights(network: SmallSiamMask | PersonSiamMask, path: Path) -> None:
    """Write the network in half precision, safetensors, with a note of what it is.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    tensors = {
        name: value.half() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    with replacing(path) as temporary:
        note = {"network": type(network).__name__, "made by": "tubeflow pretrain tracker"}
        write_safetensors(tensors, temporary, note)
