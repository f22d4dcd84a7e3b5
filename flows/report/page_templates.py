"""The templates that pages are written from: one setting for all, so that nothing is shown unescaped anywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from data_catalog.foreign_text import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def page_templates() -> Environment:
    """Templates of `report/templates`; values are escaped, and a name that a page was not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("flows.report", "templates"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: object) -> object:
    """Text with marks that would turn the writing round spelled out; line ends and tabs stay, and markup is ours."""
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(part if part in "\n\t" else visible(part) for part in re.split(r"([\n\t])", value))
