"""Names of the weights in released checkpoints, and what they are called here.

| released TSA (`NL_1D.` before each) | released Non-local | with sub-sampling | here | shape there → here |
|---|---|---|---|---|
| g.weight, g.bias | g.weight, g.bias | g.0.weight, g.0.bias | g.weight, g.bias | (r, C, 1…) → (r, C), (r,) |
| W.0.weight, W.0.bias | the same | the same | w_z.weight, w_z.bias | (C, r, 1…) → (C, r), (C,) |
| W.1.weight, …, num_batches_tracked | the same | the same | norm.* | unchanged |

A block without BatchNorm has W.weight and W.bias for w_z. The original Non-local block's theta and phi,
where a checkpoint has them, keep their names.
"""

from __future__ import annotations

import re
from typing import Any

_RULES = (
    (re.compile(r"^NL_1D\."), ""),
    (re.compile(r"^(g|phi)\.0\."), r"\1."),
    (re.compile(r"^W\.0\."), "w_z."),
    (re.compile(r"^W\.1\."), "norm."),
    (re.compile(r"^W\."), "w_z."),
)


def released_name(name: str) -> str:
    """Name here of a weight that a released attention block calls `name`; names already ours stay."""
    for pattern, ours in _RULES:
        name = pattern.sub(ours, name)
    return name


def rename_released(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load hook: rewrite the keys of one block in place, and drop the trailing 1s of convolution weights."""
    for key in [key for key in state if key.startswith(prefix)]:
        value = state.pop(key)
        if key.endswith(".weight") and value.dim() > 2:
            value = value.flatten(1)
        state[prefix + released_name(key[len(prefix) :])] = value
