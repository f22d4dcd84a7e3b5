"""How a page can be looked at: light or dark, on a desk or on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
LOOKS: dict[str, dict[str, Any]] = {
    f"{scheme}-{name}": {"color_scheme": scheme, **size}
    for scheme in ("light", "dark")
    for name, size in (("desk", DESK), ("phone", PHONE))
}

Doing = Callable[[Any], object]


@contextmanager
def looking(browser: Any, look: str) -> Iterator[Any]:
    """A page in a fresh profile with one of the `LOOKS`."""
    with browser.new_context(locale="en-GB", **LOOKS[look]) as context:
        page = context.new_page()
        page.set_default_timeout(90_000)
        yield page


def unfold(page: Any) -> None:
    """Open whatever can be opened, all at once."""
    page.evaluate(
        "() => document.querySelectorAll('details').forEach((one) => { one.removeAttribute('name'); one.open = true; })"
    )
