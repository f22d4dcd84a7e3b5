"""From the joints of an athlete, frame by frame, to one vector: their trajectories' cosines, or graph convolution.

Both are temporal modules on steps (T, 3·J): x, y and confidence of joint after joint, as `tubeflow ingest poses` makes
them. Letters: B = clips, N = steps (frames), J = joints, K = frequencies, C = channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

VALUES = 3
"""Of a joint: x, y, confidence."""
COCO_BONES = (
    "0-1 0-2 1-3 2-4 0-5 0-6 5-6 5-7 7-9 6-8 8-10 5-11 6-12 11-12 11-13 13-15 12-14 14-16"
)
"""Of COCO's 17 joints, the head hung on the shoulders."""
COCO_CENTRE = "5 6 11 12"
"""Shoulders and hips."""
WIDTHS = "64 64 64 128 128 128 256 256 256"
"""Channels of ST-GCN's nine layers; where they grow behind the first, time is halved."""
KERNEL = 9
ALPHA = 1e-3
"""Added to the sums of rows, so that a joint without a neighbour of some kind divides by no zero."""


def joints_of(features: int, module: str) -> int:
    """J of steps of 3·J numbers. Raises ValueError."""
    if features % VALUES:
        raise ValueError(
            f"temporal module {module} takes x, y and confidence of each joint, and steps of {features} numbers "
            "can't be those; ingest the poses with: tubeflow ingest poses"
        )
    return features // VALUES


class DctPool(nn.Module):
    """Pose+DCT (Pirsiavash et al. 2014): low frequencies of each joint's way relative to one joint; nothing to learn.

    Q = A q with A the orthonormal DCT-II over the clip's own frames; |Q| of the K lowest frequencies. P = 2 · J · K,
    joint after joint, x before y; frequencies that a clip is too short for are 0.

    Args:
        features: 3 · J.
        frequencies: K.
        root: the joint that the others are seen from (0, the nose, of COCO).
        absolute: |Q|; else Q.
    """

    keeps_origin = True
    """A joint's coordinates may be scaled, all by one number, but not moved against another's."""

    def __init__(self, features: int, frequencies: int = 50, root: int = 0, absolute: bool = True) -> None:
        super().__init__()
        self.joints = joints_of(features, "dct")
        if frequencies < 1 or not 0 <= root < self.joints:
            last = self.joints - 1
            raise ValueError(f"dct takes frequencies from 1 and a root of 0 to {last}; got {frequencies}, {root}")
        self.frequencies, self.root, self.absolute = frequencies, root, absolute
        self.outputs = 2 * self.joints * frequencies

    def forward(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Steps (B, N, 3·J) float, mask (B, N) bool to (B, 2·J·K)."""
        places = steps.reshape(*steps.shape[:2], self.joints, VALUES)[..., :2]
        ways = (places - places[:, :, self.root : self.root + 1]).flatten(2)  # (B, N, 2·J)
        waves = torch.einsum("bkn,bnc->bck", self._basis(steps, mask), ways)
        return (waves.abs() if self.absolute else waves).flatten(1)

    def _basis(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """The DCT's matrix of each clip, (B, K, N); zero beyond its frames and its frequencies."""
        there = torch.ones_like(steps[..., 0]) if mask is None else mask.to(steps.dtype)
        length = there.sum(dim=1)[:, None, None]
        k = torch.arange(self.frequencies, device=steps.device, dtype=steps.dtype)[None, :, None]
        n = torch.arange(steps.shape[1], device=steps.device, dtype=steps.dtype)[None, None]
        size = torch.where(k == 0, 1.0, 2.0).div(length).sqrt()
        return size * torch.cos(math.pi * (n + 0.5) * k / length) * (k < length) * there[:, None]


class StGcnPool(nn.Module):
    """ST-GCN (Yan et al. 2018): convolution over the skeleton with spatial partition, then over time; P = last width.

    Each layer is Σ_p (Λ_p^-½ A_p Λ_p^-½ ⊙ M_p) f W_p over three kinds of neighbours (as far from the body's centre as
    the joint, itself among them, nearer, farther), with a learnt weight M of each edge, then 9 frames of each joint,
    both with BatchNorm, around them a residual. The mean over joints and frames is the clip's vector. Distances are
    counted in bones, as the public program does, and not measured. BatchNorm's statistics in training count frames that
    only fill a batch up; what is predicted doesn't.

    Args:
        features: 3 · J.
        bones: pairs of joints, those of COCO's 17 where nothing is said.
        centre: the joints nearest to the centre of the body.
        widths: channels of the layers.
        dropout: behind each layer's convolution over time.
    """

    def __init__(
        self,
        features: int,
        bones: str = COCO_BONES,
        centre: str = COCO_CENTRE,
        widths: str = WIDTHS,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.joints = joints_of(features, "stgcn")
        pairs = [(int(one), int(other)) for one, _, other in (bone.partition("-") for bone in bones.split())]
        adjacency = partitioned(self.joints, pairs, [int(joint) for joint in centre.split()])
        sizes = [int(width) for width in widths.split()]
        self.outputs = sizes[-1]
        self.norm = nn.BatchNorm1d(features)
        layers, channels = [], VALUES
        for place, width in enumerate(sizes):
            stride = 2 if place and width > channels else 1
            layers.append(StGcnLayer(channels, width, adjacency, stride, dropout, residual=place > 0))
            channels = width
        self.layers = nn.ModuleList(layers)

    def forward(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Steps (B, N, 3·J) float, mask (B, N) bool to (B, P)."""
        there = torch.ones_like(steps[..., 0]) if mask is None else mask.to(steps.dtype)
        x = self.norm(steps.transpose(1, 2)).reshape(len(steps), self.joints, VALUES, -1)
        x = x.permute(0, 2, 3, 1) * there[:, None, :, None]  # (B, C, N, J)
        for layer in self.layers:
            x, there = layer(x, there)
        return cast(Tensor, x.mean(dim=3).sum(dim=2) / there.sum(dim=1, keepdim=True))


class StGcnLayer(nn.Module):
    """One layer: (B, C, N, J) to (B, C', ⌈N / stride⌉, J).

    Args:
        channels: C.
        width: C'.
        adjacency: (3, J, J) of `partitioned`.
        stride: over time.
        dropout: behind the convolution over time.
        residual: whether the input is added to what comes out.
    """

    adjacency: Tensor

    def __init__(
        self, channels: int, width: int, adjacency: Tensor, stride: int, dropout: float, residual: bool = True
    ) -> None:
        super().__init__()
        self.stride = stride
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.importance = nn.Parameter(torch.ones_like(adjacency))
        self.graph = nn.Conv2d(channels, width * len(adjacency), 1)
        self.graph_norm = nn.BatchNorm2d(width)
        self.time = nn.Conv2d(width, width, (KERNEL, 1), (stride, 1), (KERNEL // 2, 0))
        self.time_norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.around: nn.Module | None = None
        if residual:
            same = channels == width and stride == 1
            project = nn.Conv2d(channels, width, 1, (stride, 1)), nn.BatchNorm2d(width)
            self.around = nn.Identity() if same else nn.Sequential(*project)

    def convolve(self, x: Tensor) -> Tensor:
        """The convolution over the skeleton alone: (B, C, N, J) float to (B, C', N, J)."""
        parts = self.graph(x).reshape(len(x), len(self.adjacency), -1, *x.shape[2:])  # (B, 3, C', N, J)
        return torch.einsum("bpcnj,pij->bcni", parts, self.adjacency * self.importance)

    def forward(self, x: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (B, C, N, J) float, and which frames are there (B, N) float; both as they are behind the layer."""
        # Frames that aren't there are zero wherever time is looked across, as beyond a clip's ends.
        y = self.graph_norm(self.convolve(x)).relu() * there[:, None, :, None]
        y = self.dropout(self.time_norm(self.time(y)))
        left = there[:, :: self.stride]
        if self.around is not None:
            y = y + self.around(x)
        return y.relu() * left[:, None, :, None], left


def partitioned(joints: int, bones: Sequence[tuple[int, int]], centre: Sequence[int]) -> Tensor:
    """Normalised neighbours of three kinds: as far from the centre, nearer, farther; (3, J, J) float, row i of joint i.

    Raises:
        ValueError: a joint that the skeleton doesn't have, or one that no bone leads to.
    """
    named = {joint for bone in bones for joint in bone} | set(centre)
    if not centre or any(not 0 <= joint < joints for joint in named):
        raise ValueError(
            f"poses of {joints} joints don't fit the skeleton's {1 + max(named, default=-1)}; say which are linked: "
            "model.temporal_options={bones: '0-1 1-2', centre: '0'}"
        )
    linked = torch.zeros(joints, joints, dtype=torch.bool)
    for one, other in bones:
        linked[one, other] = linked[other, one] = True
    far = torch.full((joints,), -1)
    reached, hops = torch.zeros(joints, dtype=torch.bool), 0
    reached[list(centre)] = True
    while bool((reached & (far < 0)).any()):
        far[reached & (far < 0)] = hops
        reached, hops = reached | linked[reached].any(dim=0), hops + 1
    if bool((far < 0).any()):
        raise ValueError(f"no bone leads from the centre to joint {int(torch.nonzero(far < 0)[0])}; name one in bones")
    close = linked | torch.eye(joints, dtype=torch.bool)
    apart = far[None, :] - far[:, None]
    kinds = torch.stack([close & (apart == 0), close & (apart < 0), close & (apart > 0)]).float()
    size = (kinds.sum(dim=2) + ALPHA).rsqrt()
    return size[:, :, None] * kinds * size[:, None, :]
