"""Tables as a notebook shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from data_catalog.foreign_text import visible

if TYPE_CHECKING:
    import pandas as pd

ROWS = 50
NOTHING = "–"


def table_html(frame: pd.DataFrame, title: str = "") -> str:
    """A table, its first `ROWS` rows; what strangers wrote in it is text and nothing else."""
    import pandas as pd  # as `flows.api.returned` does

    shown = frame.head(ROWS).map(_cell)
    with pd.option_context("display.max_colwidth", None):
        table = str(shown.to_html(index=False, border=0, na_rep=NOTHING, justify="left"))
    heading = f"<p><b>{text_html(title)}</b></p>" if title else ""
    more = f"<p>{ROWS} of {len(frame)} rows</p>" if len(frame) > ROWS else ""
    return heading + table + more


def sentences_html(sentences: Iterable[str]) -> str:
    """A paragraph a sentence."""
    return "".join(f"<p>{text_html(one)}</p>" for one in sentences)


def text_html(text: str) -> str:
    """A text as HTML, its control characters spelled out."""
    return escape(visible(text))


def _cell(value: object) -> object:
    if isinstance(value, float):
        return NOTHING if math.isnan(value) else f"{value:.4g}"
    return visible(value) if isinstance(value, str) else value
