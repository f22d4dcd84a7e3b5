"""Heads: features of a clip to a score, by themselves or by comparing it with others."""

from models.head_names import HEADS
from models.heads.contrastive import ContrastiveHead
from models.heads.score_heads import (
    ClassificationHead,
    Head,
    LikertHead,
    LinearHead,
    MusdlHead,
    RegressionHead,
    ScoreHead,
    ScoreMlp,
    UsdlHead,
    build_head,
    judges_rule,
    panel_score,
)

__all__ = [
    "HEADS",
    "ClassificationHead",
    "ContrastiveHead",
    "Head",
    "LikertHead",
    "LinearHead",
    "MusdlHead",
    "RegressionHead",
    "ScoreHead",
    "ScoreMlp",
    "UsdlHead",
    "build_head",
    "judges_rule",
    "panel_score",
]
