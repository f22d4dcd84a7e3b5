"""What attention costs, in multiply-accumulates (MACs) of one forward pass for one video.

Four counts of the same block, for a tube of P positions, C channels, r reduced ones:

    published   2·P·C·r                  the products of g and W_z alone: linear in P, so that a tube's saving
                                         equals its share of positions.
    printed     P·(2·C·r + r + 3·C)      the same with their biases and a BatchNorm, as a counter of modules sees
                                         the block. With r = C / 2, C = 528 and N = 10 segments (7,840 positions)
                                         it is 7,840 · 280,632 = 2.20015 G, which the paper's Table 3 prints for
                                         the dense block: see docs/fidelity.md.
    true        4·P·C·r + 2·P²·r         all of Eq. 4-6 as written: θ, φ, g, W_z, P×P affinities and their
                                         weighted sum. For softmax, without θ and φ: 2·P·C·r + P²·C + P²·r.
    executed    what this project's CPU form does for the same result: linear in P for dot, the half of a
                symmetric matrix for softmax (see `dot_forms`, `softmax`).

But for `printed`, sums, exponentials and normalisations are not counted, as is usual. Forms that compare no positions
(`positionwise`, `tube_pool`) cost the same by all counts, `printed` adding the biases: 2·C·r a position for pointwise,
C·(C + 1) for channel, nothing for mask, constant and pool, whose selections, sums and means have no products.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.attention.dot_forms import factored_limit, factored_macs, matrix_macs
from models.attention.softmax import symmetric_macs


@dataclass(frozen=True)
class AttentionCost:
    """Positions of a tube and MACs of the attention block on it; costs of several videos add up with +."""

    positions: int
    published: int
    true: int
    executed: int
    printed: int = 0

    def __add__(self, other: AttentionCost) -> AttentionCost:
        return AttentionCost(
            self.positions + other.positions,
            self.published + other.published,
            self.true + other.true,
            self.executed + other.executed,
            self.printed + other.printed,
        )

    def of_blocks(self, blocks: int) -> AttentionCost:
        """The cost of several such blocks one after another, which all work on the same positions."""
        counts = (self.published, self.true, self.executed, self.printed)
        return AttentionCost(self.positions, *(count * blocks for count in counts))


def positionwise_cost(form: str, positions: int, channels: int, reduced: int | None = None) -> AttentionCost:
    """MACs for one video of a form that compares no positions.

    Args:
        form: its name in `models.attention.forms.FORMS`.
        positions: that it works on: the tube's, for channel all of the video.
        channels: C.
        reduced: r of pointwise; C / 2 if None.

    Raises:
        ValueError: a form that isn't one of these.
    """
    c, r = channels, reduced or max(channels // 2, 1)
    products = {"pointwise": 2 * c * r, "channel": c * (c + 1), "mask": 0, "constant": 0, "pool": 0}
    biases = {"pointwise": r + c, "channel": c}
    if form not in products:
        raise ValueError(f"a form that compares no positions is one of {', '.join(products)}, got {form!r}")
    macs = positions * products[form]
    return AttentionCost(positions, macs, macs, macs, macs + positions * biases.get(form, 0))


def attention_cost(
    positions: int, channels: int, reduced: int | None = None, affinity: str = "dot"
) -> AttentionCost:
    """MACs of one attention block for one video; a norm behind W_z, which has no products, is in `printed` alone.

    Args:
        positions: P, the positions of its tube (`mask.sum()`); T·H·W of all segments for the dense
            Non-local block.
        channels: C.
        reduced: r as given to the block; None means C / 2 for "dot" and C for "softmax", as there.
        affinity: "dot" or "softmax".

    Raises:
        ValueError: a negative number of positions, channels below one, or an unknown affinity.
    """
    if positions < 0 or channels < 1 or (reduced is not None and reduced < 1):
        raise ValueError(f"cannot count {positions} positions of {channels} channels reduced to {reduced}")
    if affinity not in ("dot", "softmax"):
        raise ValueError(f"affinity must be one of dot, softmax, got {affinity!r}")
    p, c = positions, channels
    r = reduced or (max(c // 2, 1) if affinity == "dot" else c)
    published, printed = 2 * p * c * r, p * (2 * c * r + r + 3 * c)
    if affinity == "softmax":
        executed = symmetric_macs(p, c)[0] + p * c * c + c * c * r if p else 0
        return AttentionCost(p, published, published + p * p * (c + r), executed, printed)
    form = factored_macs if p <= factored_limit(c, r) else matrix_macs
    return AttentionCost(p, published, 2 * published + 2 * p * p * r, form(p, c, r)[0] if p else 0, printed)


def total_cost(costs: Iterable[AttentionCost]) -> AttentionCost:
    """Sum of the costs of several videos; nothing costs nothing."""
    return sum(costs, AttentionCost(0, 0, 0, 0))


def reduction(cost: int, baseline: int) -> float:
    """Share saved against a baseline, in [-∞, 1]: 0.6 means 60 % fewer MACs.

    Raises:
        ValueError: a baseline that costs nothing, against which nothing can be saved.
    """
    if baseline <= 0:
        raise ValueError("the baseline costs nothing, so there is no reduction to speak of")
    return 1 - cost / baseline


def in_words(macs: float) -> str:
    """MACs to three digits with a unit: 2185666560 → "2.19 G"."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if macs >= 0.9995 * size:
            return f"{macs / size:#.3g} {unit}".replace(". ", " ")
    return f"{macs:.0f} "
