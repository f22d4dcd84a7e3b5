"""One training and evaluation step of TSA-Net, and what a checkpoint must remember besides weights.

Letters as in models.tsanet: B clips, L frames, N segments, T steps, S input side.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import CSVLogger, Logger
from numpy.typing import NDArray
from torch import Tensor, nn

from data_catalog.features.mapped_features import FeatureReader
from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.loader import Augmentation, Batch, ClipLoader, PackReader, StepCounts
from models.attention.tube_norm import TubeNorm
from models.feature_network import FeatureNetwork
from models.heads import ComparingHead
from models.losses import step_cross_entropy
from models.tsanet import TSANet
from tasks.engine.progress import report
from tasks.steps import StepLabels, StepTargets, targets_of
from tasks.training.averaging import moving_average
from tasks.training.config import EpochRow, ModelConfig, TrainConfig
from tasks.training.network import build_network, build_network_on_features
from tasks.training.remask import Remask
from tasks.training.score_table import OVERALL, SELECTION, score_table
from tasks.training.scorer import ClipScorer, FeatureScorer
from tasks.training.splits import ClipSplits, TrainingClips, split_clips
from tasks.training.targets import check_range, score_scale

STATE = "tubeflow"
"""Key of our part of a checkpoint."""
PREFIXES = ("scorer.", "network.")
"""Before the names of the network's weights in a checkpoint; the first alone before those of the layer of steps."""


def build_module(
    reader: PackReader | FeatureClips,
    model: ModelConfig,
    config: TrainConfig,
    on_epoch: Callable[[EpochRow], None] | None = None,
    features: Mapping[str, Path] | None = None,
    steps: StepLabels | None = None,
) -> TubeModule:
    """What Lightning trains on a pack, from the weights that training starts with.

    Args:
        reader: the pack, or clips of which there are features alone.
        model, config: which network, and how it is trained.
        on_epoch: called after each epoch with its row.
        features: file of each clip's features by clip id, which then stand for the pack's frames.
        steps: of the reader's clips, where `config.steps` learns them.

    Raises:
        ValueError: the pack doesn't fit the network, or nothing to train on.
    """
    parts = split_clips(reader, config, model)
    scale = score_scale(reader.labels, config.score_range, config.difficulty)
    if isinstance(config.score_range, tuple) and model.head not in ("musdl", "classification"):
        check_range(reader.labels, scale, config.score_range)
    if isinstance(reader, FeatureClips):
        network = build_network_on_features(model, reader.features, config.seed)
        network.standardize(*reader.moments(parts.train))
        on_own = FeatureScorer(network, reader, model.head, scale)
        return TubeModule(on_own, reader, parts, config, on_epoch, steps=targets_of(steps, reader))
    scorer = ClipScorer(build_network(model, config.seed, config.freeze), reader, model.head, scale)
    stored = None if features is None else FeatureReader([features[clip] for clip in reader.labels.clip_id])
    return TubeModule(scorer, reader, parts, config, on_epoch, stored, targets_of(steps, reader))


class TubeModule(LightningModule):
    """Lightning's view of the training."""

    def __init__(
        self,
        scorer: ClipScorer | FeatureScorer,
        reader: PackReader | FeatureClips,
        parts: ClipSplits,
        config: TrainConfig,
        on_epoch: Callable[[EpochRow], None] | None = None,
        features: FeatureReader | None = None,
        steps: StepTargets | None = None,
    ) -> None:
        super().__init__()
        self.scorer = scorer
        self._steps = steps
        if steps is not None:
            scorer.learn_steps(len(steps.labels.names), config.seed)
        self._features = features
        self._reader, self._parts, self._config, self._on_epoch = reader, parts, config, on_epoch
        self._remask = Remask(reader.geometry) if isinstance(reader, PackReader) else None
        self._trained: ClipLoader | None = None
        self._place: dict[str, int] | None = None
        self._losses: list[Tensor] = []  # on the device: turning each into a number would make a GPU wait
        self._seen: dict[int, tuple[float, float]] = {}
        self.history: list[EpochRow] = []
        self._best_epoch, self._best_rank = -1, (-math.inf, -math.inf)
        self._best_weights: dict[str, Tensor] = {}
        self._comparable: TrainingClips | None = None
        self._exemplars: list[int] = []
        head = scorer.network.head
        if isinstance(head, ComparingHead):
            self._comparable = TrainingClips(reader.labels, parts.train, config.seed)
            targets = cast(Tensor, scorer.targets).numpy()
            self._exemplars, known = self._comparable.exemplars(head.exemplars, targets)
            head.prepare(known)

    @property
    def network(self) -> TSANet | FeatureNetwork:
        """What is trained."""
        return self.scorer.network

    @property
    def parts(self) -> ClipSplits:
        """Which clips train, and which are predicted."""
        return self._parts

    @property
    def on_features(self) -> bool:
        """Whether clips are read from their features, so that an epoch takes next to no time."""
        return self._features is not None

    # -- data

    def train_dataloader(self) -> ClipLoader:
        """The training clips, shuffled and augmented."""
        augmentation = Augmentation(self._config.flip, self._config.shift)
        partner = None if self._comparable is None else self._comparable.partner
        self._trained = self._loader(
            self._parts.train, shuffle=True, augmentation=augmentation, partner=partner, steps=self._counts
        )
        # Lightning restores a loader in the middle of an epoch, but not (2.6) after the end of one.
        if self._place is not None:
            self._trained.load_state_dict(self._place)
        return self._trained

    @property
    def _counts(self) -> StepCounts | None:
        return None if self._steps is None else self._steps.counts

    def val_dataloader(self) -> ClipLoader | list[Any]:
        """All clips that are predicted after each epoch: test and validation."""
        watched = self._parts.test + self._parts.validation
        return self._loader(watched, eval_shift=self._config.eval_shift) if watched else []

    def unaugmented(self, indices: list[int]) -> ClipLoader:
        """Clips as test clips are read, in this process alone."""
        return self._loader(indices, eval_shift=self._config.eval_shift, alone=True)

    def _loader(self, indices: list[int], alone: bool = False, **options: Any) -> ClipLoader:
        """Reads clips; `alone` in this process whatever the others read."""
        config = self._config
        return ClipLoader(
            self._reader,
            indices,
            batch_size=config.batch,
            seed=config.seed,
            remask=self._remask,
            features=self._features,
            rank=0 if alone else self.trainer.global_rank,
            world_size=1 if alone else self.trainer.world_size,
            workers=0 if alone else config.workers,
            pin_memory=self.device.type == "cuda",
            **options,
        )

    # -- steps

    def on_train_start(self) -> None:
        """Give a resumed CSV log its first rows again: Lightning's begins a new file; stop what had stopped early."""
        for logger in self.trainer.loggers:
            logger.log_hyperparams({"train": self._config.key_view()})
            if isinstance(logger, CSVLogger):
                for row in self.history:
                    _log(logger, row)
        self._stop_early()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout and whatever else is random depends on the place in the training, not on the past."""
        place = f"{self._config.seed}:{self.current_epoch}:{batch_idx}:{self.global_rank}"
        torch.manual_seed(int.from_bytes(hashlib.blake2b(place.encode(), digest_size=7).digest(), "big"))
        if self._config.freeze_batchnorm and isinstance(self.network, TSANet):
            for layer in self.network.backbone.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch, a float32 scalar."""
        mask = self._counting_tubes(batch["mask"], batch_idx)
        if self._steps is None:
            loss = self._share_of_loss(self.scorer.run(batch, mask), batch, batch_idx)
        else:  # on one device, so all clips count
            output, features = self.scorer.run_with_features(batch, mask)
            steps = step_cross_entropy(self.scorer.step_logits(features).float(), batch["steps"])
            loss = self._share_of_loss(output, batch, batch_idx) + self._config.steps * steps
        self._losses.append(loss.detach())
        return loss

    def _counting_tubes(self, mask: Tensor, batch_idx: int) -> Tensor:
        """The masks, empty where a clip only fills up the batch and a norm counts the positions of all tubes."""
        counting = self._counting(len(mask), batch_idx)
        if all(counting) or not any(isinstance(part, TubeNorm) for part in self.network.modules()):
            return mask
        return mask & torch.tensor(counting, device=mask.device).view(-1, *[1] * (mask.dim() - 1))

    def _counting(self, rows: int, batch_idx: int) -> list[bool]:
        """Which rows of a batch aren't there only to fill it up; an exemplar counts where its clip does."""
        assert self._trained is not None
        mine = self._trained.counting(batch_idx)[0]
        clips = rows if self._comparable is None else rows // 2
        return [row % clips < mine for row in range(rows)]

    def _share_of_loss(self, output: Tensor, batch: Batch, batch_idx: int) -> Tensor:
        """A number of which the mean over all processes is the mean loss of the whole batch.

        An epoch's last batch may not be shared out evenly; then the loader fills up with clips that don't count.
        """
        assert self._trained is not None
        mine, mean_share = self._trained.counting(batch_idx)
        counting_rows = self._counting(len(output), batch_idx)
        if all(counting_rows):
            return self.scorer.loss(output, batch) * (mine / mean_share)
        if mine == 0:
            return output.float().sum() * 0.0  # the other processes still wait for our gradients
        rows = torch.tensor(counting_rows, device=output.device)
        counting = cast(Batch, {name: values[rows] for name, values in batch.items()})  # type: ignore[index]
        return self.scorer.loss(output[rows], counting) * (mine / mean_share)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Say how far the training is."""
        if self.trainer.is_global_zero:
            batches = int(self.trainer.num_training_batches)
            epochs = self._config.epochs
            note = f"epoch {self.current_epoch + 1}/{epochs}"
            shown = f"test/{SELECTION[self.scorer.classification]}"
            value = self.history[-1].get(shown) if self.history else None
            if value is not None:
                note += f", {shown} {value:.3f}"
            report("train", self.current_epoch * batches + batch_idx + 1, epochs * batches, note)

    def on_validation_epoch_start(self) -> None:
        """Forget the predictions of the epoch before, and look at the exemplars with the weights of now."""
        self._seen = {}
        self._remember_exemplars(self.scorer)

    @torch.no_grad()
    def _remember_exemplars(self, scorer: ClipScorer | FeatureScorer) -> None:
        """What the network makes of the exemplars now; every process does it by itself."""
        head = scorer.network.head
        if not isinstance(head, ComparingHead):
            return
        training = scorer.training
        scorer.eval()
        made = []
        for batch in self.unaugmented(self._exemplars):
            moved = {name: values.to(self.device) for name, values in batch.items()}  # type: ignore[attr-defined]
            made.append(scorer.run(cast(Batch, moved)).float())
        head.remember(torch.cat(made))
        scorer.train(training)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict one batch and remember it."""
        output = self.scorer.run(batch)
        points = torch.from_numpy(self.scorer.points(output, batch)).to(self.device)
        index = batch["index"]
        if self.trainer.world_size > 1:
            index, points = (cast(Tensor, self.all_gather(values)).flatten() for values in (index, points))
        self.seen_points(index, points)

    def seen_points(self, index: Tensor, points: Tensor | NDArray[np.float64]) -> None:
        """Remember what clips (B,) int64 were predicted to have, (B,) float64."""
        self._seen.update(zip(index.tolist(), points.tolist(), strict=True))

    def on_train_epoch_end(self) -> None:
        """Make the epoch's row, and keep the weights if they are the best so far."""
        if not self._parts.test + self._parts.validation:  # else it was done before they were predicted
            self._remember_exemplars(cast(TubeModule, self._kept()).scorer)
        losses = torch.stack([loss.to(self.device, torch.float64) for loss in self._common_losses()]).mean()
        self._losses = []
        row: EpochRow = {"epoch": float(self.current_epoch), "train/loss": float(losses)}
        row["lr"] = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.add_epoch(row)
        self._keep_best(row)
        self._stop_early()
        for logger in self.trainer.loggers:
            _log(logger, row)
        if self._on_epoch is not None and self.trainer.is_global_zero:
            self._on_epoch(dict(row))

    def add_epoch(self, row: EpochRow) -> None:
        """Put the metrics of what was predicted into an epoch's row, and the row into the history."""
        for split, indices in (("test", self._parts.test), ("validation", self._parts.validation)):
            if indices:
                row |= self._metrics(split, indices)
        self.history.append(row)

    def _common_losses(self) -> list[Tensor]:
        """The losses of this epoch so far, each the mean over all processes."""
        if self.trainer.world_size > 1 and self._losses:
            together = cast(Tensor, self.all_gather(torch.stack([loss.to(self.device) for loss in self._losses])))
            self._losses = list(together.mean(dim=0))
        return self._losses

    def _stop_early(self) -> None:
        patience = self._config.patience
        if patience is not None and len(self.history) - 1 - self._best_epoch >= patience:
            self.trainer.should_stop = True

    def _metrics(self, split: str, indices: list[int]) -> EpochRow:
        labels = self._reader.labels
        predicted = np.array([self._seen[i] for i in indices])
        table = score_table(
            self.scorer.truth[indices],
            predicted,
            [labels.action[i] for i in indices],
            self.scorer.classification,
        )
        return {f"{split}/{name}": metric.value for name, metric in table[OVERALL].items()}

    def _keep_best(self, row: EpochRow) -> None:
        split = self._config.selecting
        chosen = row.get(f"{split}/{SELECTION[self.scorer.classification]}")
        error = row.get(f"{split}/mse")
        # Where the metric is undefined (one test clip, say) the smaller error decides; without test clips the
        # last epoch is the best.
        rank = (-math.inf if chosen is None else chosen, -math.inf if error is None else -error)
        nothing_to_compare = chosen is None and error is None
        if self._best_epoch < 0 or rank > self._best_rank or nothing_to_compare:
            self._best_epoch, self._best_rank = self.current_epoch, rank
            weights = cast(TubeModule, self._kept()).scorer.state()
            self._best_weights = {k: v.detach().cpu().clone() for k, v in weights.items()}

    def _kept(self) -> nn.Module:
        """The module whose weights are kept: this one, or its moving average."""
        average = moving_average(self.trainer)
        return self if average is None else average.averaged()

    # -- optimiser and checkpoint

    def configure_optimizers(self) -> Any:
        """Adam, with the learning rate constant or falling along a cosine."""
        config = self._config
        trained = [parameter for parameter in self.scorer.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=config.lr, weight_decay=config.weight_decay)
        if config.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed training needs to end with the same numbers; plain values and tensors only."""
        checkpoint[STATE] = {
            "place": self._trained.state_dict() if self._trained is not None else None,
            "losses": [loss.cpu() for loss in self._common_losses()],  # all processes save together
            "history": [dict(row) for row in self.history],
            "best_epoch": self._best_epoch,
            "best_rank": list(self._best_rank),
            "best_weights": self._best_weights,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The inverse of `on_save_checkpoint`."""
        state = checkpoint[STATE]
        self._place = state["place"]
        self._losses, self.history = state["losses"], state["history"]
        self._best_epoch, self._best_weights = state["best_epoch"], state["best_weights"]
        self._best_rank = cast(tuple[float, float], tuple(state["best_rank"]))


def _log(logger: Logger, row: EpochRow) -> None:
    defined = {name: value for name, value in row.items() if value is not None}
    logger.log_metrics(defined, step=int(defined["epoch"]))
