"""Metrics of action quality and of tracking; `models.metrics.comparison` has the intervals and tests around them."""

from models.metrics.scores import (
    FISHER_LIMIT,
    Metric,
    accuracy,
    auc,
    f1,
    fisher_z_mean,
    kendall,
    mse,
    relative_l2,
    spearman,
)
from models.metrics.tracking import Grid, OnePass, box_overlap, mean_grid_iou, mean_overlap, one_pass, paired_difference
from models.renamed import renamed

__all__ = [
    "FISHER_LIMIT",
    "Grid",
    "Metric",
    "OnePass",
    "accuracy",
    "auc",
    "box_overlap",
    "f1",
    "fisher_z_mean",
    "kendall",
    "mean_grid_iou",
    "mean_overlap",
    "mse",
    "one_pass",
    "paired_difference",
    "relative_l2",
    "spearman",
]

__getattr__ = renamed(__name__, {"average_ranks": "models.metrics.batched:ranks"})
