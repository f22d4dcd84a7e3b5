"""From the features of a video's segments or steps to one vector, which a head then reads.

Letters: B = videos, N = segments (or steps of features that were made elsewhere), F = features of one, P = length of
what comes out. Steps that a mask leaves out are as if they were not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from models.heads import Head
from models.registry import Entry, Registry, build_part


class Temporal(Protocol):
    """What a network asks of a temporal module, which is an `nn.Module` besides.

    Attributes:
        outputs: P.
    """

    outputs: int

    def __call__(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Steps (B, N, F) float to (B, P); mask (B, N) bool, true where a step is there, None for all."""
        ...


class MeanPool(nn.Module):
    """The mean over the steps; P = F, nothing to learn.

    Args:
        features: F.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.outputs = features

    def forward(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Steps (B, N, F) float, mask (B, N) bool to (B, F)."""
        if mask is None:
            return steps.mean(dim=1)
        there = mask[..., None].to(steps.dtype)
        return (steps * there).sum(dim=1) / there.sum(dim=1)


class AttentionPool(nn.Module):
    """Weighted mean, P = F: a = softmax_n(w · tanh(V h_n)), z = Σ a_n h_n (Ilse et al. 2018, Eq. 7 and 8).

    Args:
        features: F.
        hidden: rows of V.
        gated: with the gate of Eq. 9, w · (tanh(V h_n) ⊙ sigmoid(U h_n)).
    """

    def __init__(self, features: int, hidden: int = 128, gated: bool = False) -> None:
        super().__init__()
        self.outputs = features
        self.v = nn.Linear(features, hidden, bias=False)
        self.u = nn.Linear(features, hidden, bias=False) if gated else None
        self.w = nn.Linear(hidden, 1, bias=False)

    def weights(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weight of each step, (B, N) float, summing to 1; 0 where the mask (B, N) leaves it out."""
        hidden = torch.tanh(self.v(steps))
        if self.u is not None:
            hidden = hidden * torch.sigmoid(self.u(steps))
        scores = self.w(hidden).squeeze(-1)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return cast(Tensor, scores.softmax(dim=1))

    def forward(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Steps (B, N, F) float, mask (B, N) bool to (B, F)."""
        return (self.weights(steps, mask)[..., None] * steps).sum(dim=1)


class LstmPool(nn.Module):
    """The state h after the last step of an LSTM (Hochreiter and Schmidhuber 1997), as C3D-LSTM uses it; P = hidden.

    Steps that the mask leaves out have to stand behind the others.

    Args:
        features: F.
        hidden: length of the state (256 in Parmar and Morris 2017).
        layers: LSTMs one upon the other.
    """

    def __init__(self, features: int, hidden: int = 256, layers: int = 1) -> None:
        super().__init__()
        self.outputs = hidden
        self.lstm = nn.LSTM(features, hidden, layers, batch_first=True)

    def forward(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Steps (B, N, F) float, mask (B, N) bool to (B, hidden)."""
        if mask is None:
            return cast(Tensor, self.lstm(steps)[1][0][-1])
        lengths = mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        return cast(Tensor, self.lstm(packed)[1][0][-1])


class LevelDecoder(nn.Module):
    """A transformer whose K learned queries stand for levels of quality (GDLT, Xu et al. 2022); P = K · hidden.

    Steps are projected, see each other in the encoder, and the queries collect in the decoder what speaks for their
    level. The head `likert` reads a score from the levels as that paper does; every other head sees them one after
    another. There is no code of the position in time, as in GDLT.

    Differences from GDLT: LayerNorm in the projection in the place of BatchNorm, so that padding has no say, and none
    of its triplet loss.

    Args:
        features: F.
        levels: K.
        hidden: width of the transformer.
        heads: attention heads.
        encoders: layers of the encoder.
        decoders: layers of the decoder.
        dropout: within the layers.
    """

    def __init__(
        self,
        features: int,
        levels: int = 4,
        hidden: int = 128,
        heads: int = 4,
        encoders: int = 1,
        decoders: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"{heads} attention heads can't share a width of {hidden}")
        self.outputs = levels * hidden
        self.project = nn.Sequential(
            nn.Linear(features, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
        )
        self.levels = nn.Embedding(levels, hidden)
        encoder = nn.TransformerEncoderLayer(hidden, heads, 3 * hidden, dropout, batch_first=True)
        decoder = nn.TransformerDecoderLayer(hidden, heads, 3 * hidden, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(encoder, encoders, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, decoders)

    def forward(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Steps (B, N, F) float, mask (B, N) bool to (B, K · hidden), level after level."""
        absent = None if mask is None else ~mask
        context = self.encoder(self.project(steps), src_key_padding_mask=absent)
        queries = self.levels.weight.expand(len(steps), -1, -1)
        found = self.decoder(queries, context, memory_key_padding_mask=absent)
        return cast(Tensor, found.flatten(1))


def outputs_alone(steps: Tensor, temporal: Temporal, head: Head) -> Tensor:
    """The head's raw output (B, N, …) for each of the steps (B, N, F) float as if it were the whole clip."""
    alone = head(temporal(steps.flatten(0, 1)[:, None]))
    return alone.view(*steps.shape[:2], *alone.shape[1:])


TEMPORAL: Registry[Entry[Callable[..., Temporal]]] = Registry("temporal module", {
    "mean": Entry("models.temporal:MeanPool"),
    "attention": Entry("models.temporal:AttentionPool"),
    "lstm": Entry("models.temporal:LstmPool"),
    "levels": Entry("models.temporal:LevelDecoder"),
    "dct": Entry("models.poses.pose_modules:DctPool"),
    "stgcn": Entry("models.poses.pose_modules:StGcnPool"),
})


def build_temporal(name: str, features: int, **options: object) -> Temporal:
    """Temporal module by name on features of length F; options are its own keyword arguments.

    Raises:
        ValueError: an unknown name or option.
    """
    return build_part(TEMPORAL, name, features, **options)
