"""Training of a head that is fitted at once: one look at the training clips, one epoch in the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from data_catalog.pack.loader import Batch
from models.heads import FittedHead
from tasks.engine.progress import report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.training.module import TubeModule


@torch.no_grad()
def fit_head(module: TubeModule, device: torch.device) -> None:
    """Fit the head to the training clips, unaugmented and read as test clips are, and make the only epoch's row.

    It is of no use to continue this where it was stopped: a fit has no half-way, and takes as long as one epoch.

    Raises:
        ValueError: something else in the network would have to be trained.
    """
    network = module.network
    head = cast("FittedHead", network.head)
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    if trained:
        raise ValueError(
            f"a head that is fitted at once leaves nothing else to train, and {trained[0]} isn't frozen: set "
            "features.mode to pooled and model.temporal to mean."
        )
    module.to(device).eval()
    given: list[Tensor] = []
    hook = cast(nn.Module, head).register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    batches = []
    try:
        for batch in _moved(module, module.parts.train, device):
            module.scorer.run(batch)
            batches.append((batch["index"], batch["difficulty"]))
            report("train", len(batches), len(batches) + 1, "looking at the training clips")
    finally:
        hook.remove()
    index, difficulty = (torch.cat(column) for column in zip(*batches, strict=True))
    features = torch.cat(given).float()
    target = cast(Tensor, module.scorer.targets)[index]
    head.fit(features, target, difficulty)
    watched = module.parts.test + module.parts.validation
    for batch in _moved(module, watched, device) if watched else ():
        module.seen_points(batch["index"], module.scorer.points(module.scorer.run(batch), batch))
    module.add_epoch({"epoch": 0.0, "train/loss": float(head.loss(head(features), target, difficulty))})


def _moved(module: TubeModule, indices: list[int], device: torch.device) -> Iterator[Batch]:
    for batch in module.unaugmented(indices):
        yield cast(Batch, {name: values.to(device) for name, values in batch.items()})  # type: ignore[attr-defined]
