"""Attention among the positions of a tube (Eq. 4-6), ready to be put behind any layer of a 3-D network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.dot import tube_dot
from models.attention.dot_forms import Projections
from models.attention.dot_update import dot_update
from models.attention.gather import add_to_tubes, gather_tubes, tube_indices
from models.attention.growth import grow_tubes
from models.attention.inputs import check_inputs, product_dtype, wide
from models.attention.released_keys import rename_released
from models.attention.softmax import attend_tubes
from models.attention.start import scale_start
from models.attention.tube_norm import TubeNorm, in_evaluation

AFFINITIES = ("dot", "softmax")


class TubeSelfAttention(nn.Module):
    """Self-attention of each video among the positions of its own tube; the rest passes through bit for bit.

    With x_p (C,) the features at one of the P positions p of a video's tube, `affinity="dot"` is the
    paper's block:

        y_p = 1/P Σ_q f(x_p, x_q) g(x_q)                    sum over the tube's own P positions   (Eq. 4)
        f(x_p, x_q) = θ(x_p) · φ(x_q)                       affinity of two positions             (Eq. 5)
        z_p = W_z y_p + b_z + x_p                           residual                              (Eq. 6)

    θ, φ, g reduce C to `reduced` channels, W_z goes back. The cost grows linearly with P: no P×P matrix is
    made. With `norm` a BatchNorm stands behind W_z, z_p = norm(W_z y_p + b_z) + x_p, as in the Non-local block with
    which the paper calls its own consistent; its statistics are those of all positions of all tubes of the batch, see
    `TubeNorm`. Without it nothing keeps the sums of several blocks small: each is cubic in its input.

    `affinity="softmax"` is the form of the released code: y_p = Σ_q softmax_q(x_p · x_q) g(x_q), no θ and
    φ, no scaling, g and W_z keep all channels, then BatchNorm: z_p = norm(W_z y_p + b_z) + x_p. In training
    the norm takes its statistics from each video's tube by itself and updates its running ones once a
    video; a tube of a single position has no variance, so it is normalised by the running ones. Its cost
    grows with P².

    A video whose tube is empty comes back unchanged. A new block changes nothing at all until it is trained
    (`zero_init`), so it can be put into a pretrained network:

    >>> import torch
    >>> from models.attention.block import TubeSelfAttention
    >>> class Net(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.stem = torch.nn.Conv3d(3, 64, 7, stride=(2, 4, 4), padding=3)
    ...         self.attention = TubeSelfAttention(64)
    ...         self.head = torch.nn.Linear(64, 1)
    ...     def forward(self, video, mask):                 # (B, 3, 16, 56, 56), (B, 8, 14, 14) bool
    ...         features = self.attention(self.stem(video).relu(), mask)
    ...         return self.head(features.mean((2, 3, 4)))
    >>> mask = torch.zeros(2, 8, 14, 14, dtype=torch.bool)
    >>> mask[:, :, 4:9, 5:8] = True                         # where the athlete is
    >>> Net()(torch.randn(2, 3, 16, 56, 56), mask).shape
    torch.Size([2, 1])

    Where a video is cut into segments, give all of them at once, one after the other on the time axis, so
    that a position attends to the whole tube: x (B, C, N·T, H, W). `models.geometry.quads.coverage` and
    `tube_mask` make masks.

    Half precision: under autocast to bfloat16 the products over positions run in bfloat16; float16 has too
    narrow a range for sums over a tube, so there they run in float32. The residual x is never rounded.

    Submodules: `theta`, `phi` (dot only), `g`, `w_z` are `nn.Linear` over channels, `norm` an `nn.BatchNorm1d`
    (softmax), a `TubeNorm` (dot) or None. Released checkpoints of TSA and Non-local blocks load as they are, see
    `released_keys`.

    Args:
        channels: C.
        reduced: channels of θ, φ and g; C / 2 for "dot" (the paper), C for "softmax" (the released code) if
            None.
        affinity: "dot" or "softmax".
        norm: BatchNorm after W_z; None is none for "dot" (the paper's equations) and one for "softmax".
        min_positions: a tube smaller than this grows into its neighbourhood until it has as many positions,
            see `grow_tubes`; 0 leaves tubes as they are.
        zero_init: start as the identity (norm, or W_z where there is none, begins at zero).
        gain: what norm, or W_z where there is none, is multiplied by at the start: 0 is the identity, 1 the start
            without `zero_init`; None leaves it to that.

    Raises:
        ValueError: an unknown affinity, sizes below one, or a negative gain.
    """

    def __init__(
        self,
        channels: int,
        reduced: int | None = None,
        affinity: str = "dot",
        *,
        norm: bool | None = None,
        min_positions: int = 0,
        zero_init: bool = True,
        gain: float | None = None,
    ) -> None:
        super().__init__()
        if affinity not in AFFINITIES:
            raise ValueError(f"affinity must be one of {', '.join(AFFINITIES)}, got {affinity!r}")
        if channels < 1 or (reduced is not None and reduced < 1) or min_positions < 0:
            raise ValueError(
                f"channels and reduced must be positive and min_positions not negative, "
                f"got {channels}, {reduced} and {min_positions}"
            )
        self.channels = channels
        self.reduced = reduced or (max(channels // 2, 1) if affinity == "dot" else channels)
        self.affinity = affinity
        self.min_positions = min_positions
        if affinity == "dot":
            self.theta = nn.Linear(channels, self.reduced)
            self.phi = nn.Linear(channels, self.reduced)
        self.g = nn.Linear(channels, self.reduced)
        self.w_z = nn.Linear(self.reduced, channels)
        self.norm: nn.BatchNorm1d | TubeNorm | None = None
        if affinity == "softmax" and norm in (None, True):
            self.norm = nn.BatchNorm1d(channels)
        elif affinity == "dot" and norm:
            self.norm = TubeNorm(channels)
        last = self.w_z if self.norm is None else self.norm
        scale_start(gain, zero_init, last.weight, last.bias)
        self.register_load_state_dict_pre_hook(rename_released)  # type: ignore[no-untyped-call]

    def extra_repr(self) -> str:
        """What `print` shows of the block."""
        floor = f", min_positions={self.min_positions}" if self.min_positions else ""
        return f"{self.channels}, reduced={self.reduced}, affinity={self.affinity!r}{floor}"

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features after attention.

        Args:
            x: (B, C, T, H, W) float.
            mask: (B, T, H, W) bool, the tube of each video; any number of positions, none included.

        Returns:
            (B, C, T, H, W), dtype and device of `x`.

        Raises:
            ValueError: shapes that do not belong together, or a mask that is not bool.
        """
        check_inputs(x, mask, self.channels)
        mask = grow_tubes(mask, self.min_positions)
        if self.affinity == "softmax":
            attended: Tensor = self._softmax(x, mask)
            return attended
        if isinstance(self.norm, TubeNorm) and self.training:
            normalised: Tensor = self._normed_dot(x, mask, self.norm)
            return normalised
        return tube_dot(x, mask, self._projections(), product_dtype(x))

    def _projections(self) -> Projections:
        """Of a dot block; in evaluation a norm behind W_z is a part of W_z."""
        layers = (self.theta, self.phi, self.g, self.w_z)
        w = Projections(*(wide(part) for layer in layers for part in (layer.weight, layer.bias)))
        if not isinstance(self.norm, TubeNorm) or self.training:
            return w
        scale, shift = in_evaluation(self.norm)
        return w._replace(z=w.z * scale[:, None], z_bias=w.z_bias * scale + shift)

    # As `_softmax`; the norm's statistics wait for the number of positions, too.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _normed_dot(self, x: Tensor, mask: Tensor, norm: TubeNorm) -> Tensor:
        indices = tube_indices(mask)
        copy, tubes = gather_tubes(x, indices)
        dtype, w = product_dtype(x), self._projections()
        with torch.autocast(x.device.type, enabled=False):  # as in `tube_dot`: every cast is deliberate
            normalised = norm(torch.cat([dot_update(tube, w, dtype) for tube in tubes], dim=1))
        return add_to_tubes(copy, indices, list(normalised.split([tube.shape[1] for tube in tubes], dim=1)))

    # The number of positions decides shapes here, so it runs as it is between compiled parts.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _softmax(self, x: Tensor, mask: Tensor) -> Tensor:
        indices = tube_indices(mask)
        copy, tubes = gather_tubes(x, indices)
        dtype = product_dtype(x)
        attended = attend_tubes([tube.to(dtype) for tube in tubes])
        return add_to_tubes(copy, indices, [self._project(tube) for tube in attended])

    def _project(self, attended: Tensor) -> Tensor:
        """norm(W_z g(y)) of one tube (C, P) → (C, P): attention weights sum to one, so g may come after them."""
        weight = self.w_z.weight @ self.g.weight
        bias = self.w_z.weight @ self.g.bias + self.w_z.bias
        projected = torch.addmm(bias[:, None].to(attended.dtype), weight.to(attended.dtype), attended)
        if self.norm is None:
            return projected
        norm = self.norm
        if not projected.shape[1]:  # other processes wait for all gradients, of an empty tube, too
            return projected * norm.weight[:, None] + norm.bias[:, None]
        if self.training and projected.shape[1] == 1:
            return F.batch_norm(
                projected[None], norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )[0]
        normalised: Tensor = norm(projected[None])[0]
        return normalised

    @torch.no_grad()
    def attention_from(self, x: Tensor, mask: Tensor, position: Sequence[int]) -> Tensor:
        """What one position attends to, for looking at; in the dtype of the weights, at least float32.

        Args:
            x: (B, C, T, H, W), mask: (B, T, H, W) bool: as given to `forward`.
            position: (t, y, x), the same in every video.

        Returns:
            (B, T, H, W): the weight of every position q in y_p — θ(x_p)·φ(x_q) / P for "dot", the softmax
            for "softmax"; 0 outside the tube, and everywhere in a video whose tube does not hold the
            position.
        """
        check_inputs(x, mask, self.channels)
        mask = grow_tubes(mask, self.min_positions)
        t, row, column = position
        features = wide(x)
        query = features[:, :, t, row, column]
        if self.affinity == "dot":
            keys = torch.einsum("bcthw,rc->brthw", features, wide(self.phi.weight))
            keys += wide(self.phi.bias).view(-1, 1, 1, 1)
            query = F.linear(query, wide(self.theta.weight), wide(self.theta.bias))
            scores = torch.einsum("br,brthw->bthw", query, keys)
            weights = scores / mask.flatten(1).sum(1).clamp(min=1).view(-1, 1, 1, 1)
        else:
            scores = torch.einsum("bc,bcthw->bthw", query, features)
            weights = scores.masked_fill(~mask, -torch.inf).flatten(1).softmax(1).view_as(scores)
        attends = mask & mask[:, t, row, column].view(-1, 1, 1, 1)
        return weights.masked_fill(~attends, 0)


class NonLocal(TubeSelfAttention):
    """The dense baseline: the same block with every position of the video in its tube.

    Takes all arguments of `TubeSelfAttention` but `min_positions`, and

    Args:
        sub_sample: softmax only: keys and values are the 2×2 spatial maxima of x and g(x), as in the released
            block: a quarter of the cost.
    """

    def __init__(
        self,
        channels: int,
        reduced: int | None = None,
        affinity: str = "dot",
        *,
        sub_sample: bool = False,
        norm: bool | None = None,
        zero_init: bool = True,
        gain: float | None = None,
    ) -> None:
        super().__init__(channels, reduced, affinity, norm=norm, zero_init=zero_init, gain=gain)
        if sub_sample and affinity != "softmax":
            raise ValueError("sub_sample is defined for the softmax affinity only")
        self.sub_sample = sub_sample

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features after attention among all positions: (B, C, T, H, W) float → the same; a mask has no effect."""
        everywhere = x.new_ones((x.shape[0], *x.shape[2:]), dtype=torch.bool)
        check_inputs(x, everywhere if mask is None else mask, self.channels)
        if self.sub_sample:
            sampled: Tensor = self._sub_sampled(x)
            return sampled
        return super().forward(x, everywhere)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _sub_sampled(self, x: Tensor) -> Tensor:
        values = F.conv3d(x, self.g.weight[..., None, None, None], self.g.bias)
        updates = []
        for video, value in zip(x, values, strict=True):
            keys, queries = F.max_pool3d(video, (1, 2, 2)).flatten(1).t(), video.flatten(1).t()
            pooled = F.max_pool3d(value, (1, 2, 2)).flatten(1).t()
            attended = F.scaled_dot_product_attention(queries[None], keys[None], pooled[None], scale=1.0)[0]
            projected = self.w_z(attended).t()[None]
            updates.append(projected if self.norm is None else self.norm(projected))
        return x + torch.cat(updates).view_as(x).to(x.dtype)
