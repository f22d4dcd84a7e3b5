"""Heads: features of a clip to a score, by themselves or by comparing it with others."""

from models.head_names import HEADS
from models.heads.contrastive import ContrastiveHead
from models.heads.gaussian import GaussianHead
from models.heads.protocol import ComparingHead, FittedHead, Head, SpreadHead
from models.heads.score_heads import (
    ClassificationHead,
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
from models.heads.svr import SvrHead

__all__ = [
    "HEADS",
    "ClassificationHead",
    "ComparingHead",
    "ContrastiveHead",
    "FittedHead",
    "GaussianHead",
    "Head",
    "LikertHead",
    "LinearHead",
    "MusdlHead",
    "RegressionHead",
    "ScoreHead",
    "ScoreMlp",
    "SpreadHead",
    "SvrHead",
    "UsdlHead",
    "build_head",
    "judges_rule",
    "panel_score",
]
