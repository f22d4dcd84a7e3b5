"""From shares of a range of scores to points; apart from the networks, so that it needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from numpy.typing import NDArray

if TYPE_CHECKING:  # takes seconds, and labels are scaled without it
    from torch import Tensor

Shares = TypeVar("Shares", "Tensor", NDArray[Any])


def to_points(shares: Shares, low: Any, high: Any, factor: Any) -> Shares:
    """Shares of a range of scores → points.

    Args:
        shares: any shape; 0 is `low`, 1 is `high`.
        low, high: the range in points (of execution where a `factor` follows), broadcast against `shares`.
        factor: the clip's degree of difficulty, or 1.
    """
    return cast(Shares, (low + shares * (high - low)) * factor)
