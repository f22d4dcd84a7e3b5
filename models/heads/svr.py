"""Support vector regression as a head: fitted at once to what all training clips are, not trained step by step.

Letters: B = clips, F = features of a clip, V = support vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from models.heads.score_heads import ScoreHead, without_difficulty

Kernel = Literal["linear", "rbf"]


class SvrHead(ScoreHead):
    """ε-SVR (Drucker et al. 1997): score = Σ_v w_v K(x_v, f) + b, over the training clips that became support vectors.

    K is x · f, of which one vector is kept, Σ_v w_v x_v; or exp(-γ |x - f|²). What was fitted is part of the weights as
    tensors, so that a trained head predicts and is exported without the package that fitted it.

    Args:
        features: F.
        kernel: `linear` or `rbf`.
        c: how much an error beyond `epsilon` costs against a flat function.
        epsilon: errors below cost nothing, in the unit of the target over `score_scale`.
        gamma: γ of `rbf`; 0 is one over F times the features' variance.
        score_scale, with_difficulty: as of `ScoreHead`.

    Raises:
        ValueError: another kernel, or a number out of range.
    """

    BUFFERS = ("vectors", "weights", "bias", "width")

    def __init__(
        self,
        features: int,
        kernel: Kernel = "linear",
        c: float = 1.0,
        epsilon: float = 0.1,
        gamma: float = 0.0,
        score_scale: float = 1.0,
        with_difficulty: bool = False,
    ) -> None:
        super().__init__(score_scale, with_difficulty)
        if kernel not in ("linear", "rbf"):
            raise ValueError(f"the kernel of head svr is 'linear' or 'rbf', not {kernel!r}")
        if c <= 0 or epsilon < 0 or gamma < 0:
            raise ValueError(f"head svr takes c above 0, epsilon and gamma from 0; got {c}, {epsilon} and {gamma}")
        self.kernel, self.c, self.epsilon, self.gamma = kernel, c, epsilon, gamma
        self.register_buffer("vectors", torch.zeros(0, features))
        self.register_buffer("weights", torch.zeros(0))
        self.register_buffer("bias", torch.zeros(()))
        self.register_buffer("width", torch.zeros(()))  # γ

    def fit(self, features: Tensor, target: Tensor, difficulty: Tensor | None = None) -> None:
        """Take over what scikit-learn's SVR makes of clips.

        Args:
            features: (B, F) float.
            target: scores (B,) float.
            difficulty: (B,) float, where the execution is predicted.
        """
        from sklearn.svm import SVR  # an extra, which only fitting needs

        execution = without_difficulty(target, difficulty, self.with_difficulty) / self.score_scale
        x = features.double().cpu().numpy()
        variance = float(x.var())
        width = self.gamma or (1 / (x.shape[1] * variance) if variance else 1.0)
        found = SVR(kernel=self.kernel, C=self.c, epsilon=self.epsilon, gamma=width)
        found.fit(x, execution.double().cpu().numpy())
        linear = self.kernel == "linear"
        fitted = {
            "vectors": found.coef_ if linear else found.support_vectors_,
            "weights": [1.0] if linear else found.dual_coef_[0],
            "bias": found.intercept_[0],
            "width": width,
        }
        for name, value in fitted.items():
            device = cast(Tensor, getattr(self, name)).device
            setattr(self, name, torch.tensor(np.asarray(value), dtype=torch.float32, device=device))

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) float to (...); 0 before it is fitted."""
        vectors, weights, bias, width = (cast(Tensor, getattr(self, name)) for name in self.BUFFERS)
        products = features @ vectors.T  # (..., V)
        if self.kernel == "rbf":
            apart = features.square().sum(-1, keepdim=True) - 2 * products + vectors.square().sum(-1)
            products = (-width * apart.clamp(min=0)).exp()
        return products @ weights + bias

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """As of every module, but there are as many support vectors as were found in training."""
        for name in self.BUFFERS:
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(saved, device=cast(Tensor, getattr(self, name)).device))
        super()._load_from_state_dict(cast("dict[str, Any]", state_dict), prefix, *rest)
