"""TSA-Net: a video network with attention inside the athlete's tube, and its two baselines.

Letters: B = videos, N = segments of a video, M = B·N, T = time steps of a segment at the cut, C = channels at the
cut, (Hf, Wf) = feature grid over the network's input, F = pooled features, S = input side in pixels.

The N segments of every video are folded into the batch for both stages of the backbone, so the network runs once a
step, not N times.  In between, a video is one long map of N·T time steps on which the attention works.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from models.attention import NonLocal, TubeSelfAttention
from models.attention.forms import FORMS, NO_FORM
from models.attention.tube_pool import TubePool
from models.backbones import I3D_SPLITS, SplitBackbone, build_backbone
from models.heads import Head, build_head
from models.renamed import renamed
from models.temporal import Temporal, build_temporal, outputs_alone

AttentionKind = Literal["tsa", "nonlocal", "none", "mask", "pointwise", "pool", "channel", "constant"]
Affinity = Literal["dot", "softmax"]
Compat = Literal["paper", "released"]
FrozenPart = Literal["none", "stage1", "backbone"]
Entrance = Literal["pixels", "cut", "pooled"]
"""What a network is given: segments of pixels, the map at the cut, or pooled features."""
Position = tuple[int, int, int, int]  # segment, step within it, row, column

# What each definition says where the caller says nothing.
_DEFAULT_AFFINITY: dict[Compat, Affinity] = {"paper": "dot", "released": "softmax"}
FEATURE_TYPE = torch.float16
"""What a frozen part hands on is rounded to this, whether it is stored in between or not."""


@dataclass(frozen=True, eq=False)
class TSANetOutput:
    """What TSANet returns when asked for more than its output.

    Attributes:
        output: the head's raw output per video, (B, ...).
        segments: the head's raw output per segment, (B, N, ...), or None if not asked for.
        attention: weights (B, N, T, Hf, Wf) that the chosen position assigns to every position, zero outside the
            tube, one tensor per attention block, or None if not asked for.
        features: pooled features (B, N, F) of every segment, as `segment_features` returns them.
    """

    output: Tensor
    segments: Tensor | None = None
    attention: tuple[Tensor, ...] | None = None
    features: Tensor | None = None


def merge_segments(h: Tensor, videos: int) -> Tensor:
    """Segment maps (B·N, C, T, Hf, Wf) of any dtype to video maps (B, C, N·T, Hf, Wf), segment after segment.

    On a channels-last map this is a view; otherwise it copies once.
    """
    m, c, t, rows, columns = h.shape
    n = m // videos
    return h.permute(0, 2, 3, 4, 1).reshape(videos, n * t, rows, columns, c).permute(0, 4, 1, 2, 3)


def split_segments(v: Tensor, segments: int) -> Tensor:
    """Video maps (B, C, N·T, Hf, Wf) of any dtype back to segment maps (B·N, C, T, Hf, Wf); undoes `merge_segments`."""
    b, c, steps, rows, columns = v.shape
    by_place = v.permute(0, 2, 3, 4, 1).reshape(b * segments, steps // segments, rows, columns, c)
    return by_place.permute(0, 4, 1, 2, 3)


def released_time_order(segments: int, steps: int) -> Tensor:
    """Time indices that the released code hands to stage 2: row n holds those of its "segment n".

    It joins maps segment after segment but parts the axis as if it were step after step, so row n is
    n, n + N, n + 2N, …; the right row is n·T, n·T + 1, ….

    Returns:
        (N, T) int64.
    """
    return torch.arange(segments * steps).view(steps, segments).T


class TSANet(nn.Module):
    """Score of a video from its segments and its tube mask.

    Args:
        backbone: the network around the cut.
        blocks: attention blocks applied one after another at the cut, each `(x (B, C, N·T, Hf, Wf), mask (B, N·T,
            Hf, Wf) bool) -> same shape`; none makes the PlainNet baseline.
        head: what `temporal` makes of the segments' pooled features to raw output; an `nn.Module`.
        compat: `paper` (correct segment order) or `released`, which reproduces the order of the released code; that
            code mixes the order only behind attention, so a PlainNet is the same under both.
        pool: what pools the last map over the tube, in place of the backbone's own mean over all positions.
        temporal: from the features of the segments to those of the video; None takes their mean.

    Outputs per segment come from the same head as the video's, applied to one segment's feature; with a linear head
    their mean would be the video's output, with ours it only resembles it.
    """

    def __init__(
        self,
        backbone: SplitBackbone,
        blocks: Sequence[nn.Module],
        head: Head,
        compat: Compat = "paper",
        pool: TubePool | None = None,
        temporal: Temporal | None = None,
    ) -> None:
        super().__init__()
        if compat not in _DEFAULT_AFFINITY:
            raise ValueError(f"compat is 'paper' or 'released', not {compat!r}")
        self.backbone = backbone
        self.attention = nn.ModuleList(blocks)
        self.head: Head = head
        self.temporal: Temporal = temporal or build_temporal("mean", backbone.features)
        self.compat: Compat = compat
        self.pool = pool
        self.frozen: FrozenPart = "none"

    @property
    def compares(self) -> bool:
        """Whether positions attend to each other, so that there is attention to look at."""
        return any(hasattr(block, "attention_from") for block in self.attention)

    def freeze(self, part: FrozenPart) -> None:
        """Leave a part of the backbone as it is from now on: no gradients, BatchNorm in evaluation mode.

        What the part hands on is rounded to `FEATURE_TYPE`, so that it is the same where it was computed once and
        stored (`features`), and where it is computed from pixels each time.

        Args:
            part: `stage1`, everything in front of the cut; `backbone`, all of it, with which no attention is possible;
                or `none`, which is where a network begins.

        Raises:
            ValueError: attention behind a frozen backbone, or a backbone that doesn't part at the cut.
        """
        if part == "backbone" and (len(self.attention) or self.pool is not None):
            raise ValueError("attention works in front of the backbone's second stage; freeze stage1 alone")
        try:
            frozen = self._layers_of(part)
        except NotImplementedError as exc:
            raise ValueError(f"this backbone's first stage can't be frozen by itself: {exc}") from exc
        self.frozen = part
        for layer in frozen:
            layer.requires_grad_(False)
        self.train(self.training)

    def frozen_layers(self) -> list[nn.Module]:
        """What `freeze` has frozen."""
        return self._layers_of(self.frozen)

    def _layers_of(self, part: FrozenPart) -> list[nn.Module]:
        if part == "stage1":
            return self.backbone.stage1_layers()
        return [self.backbone] if part == "backbone" else []

    def train(self, mode: bool = True) -> "TSANet":
        """As every module's, but a frozen part stays in evaluation mode."""
        super().train(mode)
        for layer in self.frozen_layers():
            layer.eval()
        return self

    @torch.no_grad()
    def features(self, video: Tensor) -> Tensor:
        """What the frozen part makes of a video, to be stored and given to `forward` later.

        Args:
            video: (B, N, 3, frames, S, S) float, as for `forward`.

        Returns:
            `FEATURE_TYPE`: the map at the cut (B, N, T, Hf, Wf, C), channels last; or pooled (B, N, F) where the whole
            backbone is frozen.

        Raises:
            ValueError: nothing is frozen.
        """
        if self.frozen == "none":
            raise ValueError("only a frozen part has features that are worth storing; freeze one first")
        self._check_input(video)
        made = self._run_frozen(video.flatten(0, 1).contiguous(memory_format=torch.channels_last_3d))
        if self.frozen == "stage1":
            made = made.permute(0, 2, 3, 4, 1)
        return made.to(FEATURE_TYPE).reshape(*video.shape[:2], *made.shape[1:])

    def _run_frozen(self, x: Tensor) -> Tensor:
        """Segments (M, 3, frames, S, S) to what the frozen part hands on, rounded, in the type it was computed in."""
        with torch.no_grad():
            made = cast(Tensor, self.backbone.stage1(x) if self.frozen == "stage1" else self.backbone(x))
            return made.to(FEATURE_TYPE).to(made.dtype)

    def forward(
        self,
        video: Tensor,
        mask: Tensor | None = None,
        return_segments: bool = False,
        return_attention: Position | None = None,
        entrance: Entrance = "pixels",
        return_features: bool = False,
    ) -> Tensor | TSANetOutput:
        """Run the network.

        Args:
            video: (B, N, 3, frames, S, S) float, normalised with the backbone's `mean` and `std`; or what `features`
                made of it, float, where `entrance` says so.
            mask: (B, N, T, Hf, Wf) bool, the tube masks; a PlainNet needs none, Non-local blocks ignore it.
            return_segments: also give the head's output for every segment.
            return_attention: also give what this position (segment, step, row, column) attends to; a video whose
                tube does not hold it gets zeros.
            entrance: what `video` is: `pixels`, the map at the `cut` (B, N, T, Hf, Wf, C), or `pooled` (B, N, F).
            return_features: also give the pooled features of every segment.

        Returns:
            The head's raw output (B, ...), or a `TSANetOutput` if more was asked for.

        Raises:
            ValueError: the video or mask does not have the shape that the backbone asks for, or a mask is missing.
        """
        segment_features, maps = self._segment_features(video, mask, return_attention, entrance)
        output = self.head(self.temporal(segment_features))
        if not (return_segments or return_features) and return_attention is None:
            return output
        segments = outputs_alone(segment_features, self.temporal, self.head) if return_segments else None
        attention = None if return_attention is None else tuple(maps)
        return TSANetOutput(output, segments, attention, segment_features)

    def segment_features(
        self, video: Tensor, mask: Tensor | None = None, entrance: Entrance = "pixels"
    ) -> Tensor:
        """Pooled features (B, N, F) float of every segment after attention; arguments as in `forward`."""
        return self._segment_features(video, mask, None, entrance)[0]

    def _segment_features(
        self, video: Tensor, mask: Tensor | None, position: Position | None, entrance: Entrance = "pixels"
    ) -> tuple[Tensor, list[Tensor]]:
        self._check(video, mask, position, entrance)
        if entrance == "pooled":
            return video, []
        videos, segments = video.shape[:2]
        maps: list[Tensor] = []

        def attend(h: Tensor) -> Tensor:
            if not self.attention:
                return h
            v = self._attend(merge_segments(h, videos), mask, position, maps)
            if self.compat == "released":
                order = released_time_order(segments, v.shape[2] // segments).flatten().to(v.device)
                v = v.index_select(2, order)
            return split_segments(v, segments)

        if entrance == "cut":
            pooled = self._behind(attend(video.flatten(0, 1).permute(0, 4, 1, 2, 3)), mask)
            return pooled.view(videos, segments, -1), maps
        # Channels-last lets the convolutions run without reordering and makes joining the segments free.
        x = video.flatten(0, 1).contiguous(memory_format=torch.channels_last_3d)
        if self.frozen == "none" and self.pool is None:
            pooled = cast(Tensor, self.backbone(x, attend))
        elif self.frozen == "backbone":
            pooled = self._run_frozen(x)
        else:
            h = self.backbone.stage1(x) if self.frozen == "none" else self._run_frozen(x)
            pooled = self._behind(attend(h), mask)
        return pooled.view(videos, segments, -1), maps

    def _behind(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """Maps behind the cut (M, C, T, Hf, Wf) to pooled features (M, F)."""
        if self.pool is None:
            return self.backbone.stage2(h)
        return cast(Tensor, self.pool(self.backbone.last_map(h), mask))

    def _attend(self, v: Tensor, mask: Tensor | None, position: Position | None, maps: list[Tensor]) -> Tensor:
        """All blocks one after another on (B, C, N·T, Hf, Wf); with a position, what it attends to goes into `maps`."""
        flat_mask = None if mask is None else mask.flatten(1, 2)
        for block in self.attention:
            if position is not None:
                maps.append(self._attention_map(block, v, flat_mask, position, v.shape[2] // self.backbone.steps))
            v = block(v, flat_mask)
        return v

    @torch.no_grad()
    def attention_features(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the first attention block is given of a video, for `attention_maps`: (B, C, N·T, Hf, Wf).

        Raises:
            ValueError: as `forward`.
        """
        self._check(video, mask, None)
        x = video.flatten(0, 1).contiguous(memory_format=torch.channels_last_3d)
        map_at_cut = self._run_frozen(x) if self.frozen == "stage1" else self.backbone.stage1(x)
        return merge_segments(map_at_cut, len(video))

    @torch.no_grad()
    def attention_maps(self, features: Tensor, mask: Tensor | None, position: Position) -> tuple[Tensor, ...]:
        """What a position attends to in each block, as `forward(…, return_attention=position)` returns it.

        Args:
            features: of `attention_features`, so that many positions cost one pass through the convolutions.
            mask: (B, N, T, Hf, Wf) bool, as for `forward`.
            position: (segment, step, row, column).

        Raises:
            ValueError: a network without attention, or a position outside of it.
        """
        place = (features.shape[2] // self.backbone.steps, self.backbone.steps, *self.backbone.grid)
        self._check_position(position, place)
        maps: list[Tensor] = []
        self._attend(features, mask, position, maps)
        return tuple(maps)

    def _check_position(self, position: Position, place: tuple[int, ...]) -> None:
        if not self.compares:
            raise ValueError("this network compares no positions, each attends to nothing; leave return_attention out")
        if not all(0 <= p < n for p, n in zip(position, place, strict=True)):
            raise ValueError(f"position {tuple(position)} is not (segment, step, row, column) within {place}")

    def _attention_map(
        self, block: nn.Module, v: Tensor, mask: Tensor | None, position: Position, segments: int
    ) -> Tensor:
        """What one position attends to in one block: (B, N, T, Hf, Wf)."""
        n, step, row, column = position
        steps = v.shape[2] // segments
        if mask is None or isinstance(block, NonLocal):
            mask = v.new_ones((v.shape[0], *v.shape[2:]), dtype=torch.bool)
        attention = cast(TubeSelfAttention, block)  # `_check_position` let no others through
        weights = attention.attention_from(v, mask, (n * steps + step, row, column))
        return weights.view(len(weights), segments, steps, *weights.shape[2:])

    def _check_input(self, video: Tensor, entrance: Entrance = "pixels") -> None:
        net = self.backbone
        what, wanted = {
            "pixels": ("videos", (3, net.frames, net.input_size, net.input_size)),
            "cut": ("maps at its cut", (net.steps, *net.grid, net.channels)),
            "pooled": ("pooled features", (net.features,)),
        }[entrance]
        if video.dim() < 3 or tuple(video.shape[2:]) != wanted:
            raise ValueError(
                f"the network takes {what} (B, N, {', '.join(map(str, wanted))}), got {tuple(video.shape)}"
            )
        if entrance == "pooled" and (len(self.attention) or self.pool is not None):
            raise ValueError("attention works at the cut; pooled features are behind it")

    def _check(
        self, video: Tensor, mask: Tensor | None, position: Position | None, entrance: Entrance = "pixels"
    ) -> None:
        self._check_input(video, entrance)
        net = self.backbone
        place = (video.shape[1], net.steps, *net.grid)
        if position is not None:
            self._check_position(position, place)
        if mask is None:
            if self.pool is not None or not all(isinstance(block, NonLocal) for block in self.attention):
                raise ValueError("this network attends inside the athlete's tube and needs its mask")
            return
        expected = (video.shape[0], *place)
        if tuple(mask.shape) != expected:
            raise ValueError(
                f"the network takes tube masks {expected}, got {tuple(mask.shape)}; "
                "make the masks for this backbone's grid and temporal stride"
            )
        if mask.dtype != torch.bool:
            raise ValueError(f"a tube mask is bool, got {mask.dtype}")


def build_attention(
    kind: AttentionKind, channels: int, stacks: int = 1, affinity: Affinity = "dot", **options: Any
) -> list[nn.Module]:
    """What stands at the cut for `channels` channels, a name of `models.attention.forms.FORMS`; nothing for `none`.

    Args:
        stacks: how many blocks one after another (the papers' TSA ×1, ×2, ×3).
        affinity: `dot` is the paper's Eq. 4-6, `softmax` the released form; of forms that compare positions.
        options: passed on to the block (`reduced`, `min_positions`, …).

    Raises:
        ValueError: an unknown kind, options that it doesn't have, or a number of blocks that it can't have.
    """
    if kind == NO_FORM:
        return []
    form = FORMS.find(kind)
    if stacks < 1:
        raise ValueError(f"attention needs at least one block, got stacks={stacks}; for none, choose '{NO_FORM}'")
    if stacks > 1 and not form.repeats:
        raise ValueError(f"{stacks} of attention '{kind}' do no more than one; set stacks to 1")
    if form.compares:
        options["affinity"] = affinity
    try:
        return [form.load()(channels, **options) for _ in range(stacks)]
    except TypeError as exc:  # says which
        raise ValueError(f"attention '{kind}' can't be built from these options: {exc}") from exc


def build_tsanet(
    backbone: str = "i3d",
    split: str | None = None,
    weights: str | Path | None = None,
    attention: AttentionKind = "tsa",
    stacks: int = 1,
    affinity: Affinity | None = None,
    attention_options: dict[str, object] | None = None,
    head: str = "regression",
    head_options: dict[str, object] | None = None,
    compat: Compat = "paper",
    temporal: str = "mean",
    temporal_options: dict[str, object] | None = None,
    form: str | None = None,
) -> TSANet:
    """Build TSA-Net or one of its baselines from plain words.

    Args:
        backbone: see `models.backbones.build_backbone`.
        split: see there; with `compat="released"` an I3D is split where the released code does it (`maxpool_4a`)
            unless told otherwise.
        weights: see there.
        attention: `tsa`, `nonlocal` (NL-Net), `none` (PlainNet), or a control that compares no positions: `pointwise`,
            `mask`, `channel`, `constant`, `pool`.
        stacks: number of attention blocks.
        affinity: `dot` or `softmax`; None takes the paper's, or with `compat="released"` the released one.
        attention_options: further arguments of the attention block.
        head: a name of `models.heads.HEADS`; `head_options` are its arguments.
        temporal: from segments to one vector, a name of `models.temporal.TEMPORAL`; `temporal_options` likewise.
        form: see `build_backbone`.
        compat: see `TSANet`.  The released code's uncropped masks are made by the masks stage, not here.

    Raises:
        ValueError: an unknown name or option anywhere.
    """
    if compat not in _DEFAULT_AFFINITY:
        raise ValueError(f"compat is 'paper' or 'released', not {compat!r}")
    if split is None and backbone == "i3d":
        split = I3D_SPLITS[compat]
    network = build_backbone(backbone, split, weights, form)
    blocks = build_attention(
        attention,
        network.channels,
        stacks,
        affinity or _DEFAULT_AFFINITY[compat],
        **(attention_options or {}),
    )
    pool = None
    if attention != NO_FORM and FORMS[attention].pools:
        pool, blocks = cast(TubePool, blocks[0]), []
        if type(network).last_map is SplitBackbone.last_map:
            raise ValueError(f"backbone {backbone} pools over no map, so attention '{attention}' can't be had with it")
    steps = build_temporal(temporal, network.features, **(temporal_options or {}))
    model = TSANet(network, blocks, build_head(head, steps.outputs, **(head_options or {})), compat, pool, steps)
    for layer in model.modules():
        if isinstance(layer, nn.Conv3d):  # one over single frames has no such form
            layer.to(memory_format=torch.channels_last_3d)
    return model


__getattr__ = renamed(
    __name__, {"join_segments": "models.tsanet:merge_segments", "part_segments": "models.tsanet:split_segments"}
)
