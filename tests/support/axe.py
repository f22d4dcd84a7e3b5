"""axe-core on a page: what it finds there, by impact. Nothing is fetched; the package brings the script along."""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

# A page's own content policy would refuse a <script>; what the driver evaluates it doesn't ask.
ASK = """async () => {
  const preload = location.protocol !== 'file:'; // a page from the disk may not read its own style sheets
  const { violations } = await axe.run(document, { resultTypes: ['violations'], preload });
  return violations.flatMap(({ id, impact, nodes }) => nodes.map(({ html, target, any, all, none }) => ({
    id, impact, target: target.join(' '), html: html.slice(0, 160),
    why: [...any, ...all, ...none].map(({ message }) => message).join(' ') })));
}"""


@cache
def axe_source() -> str:
    """The script axe.min.js; TUBEFLOW_AXE names another one than the installed package has."""
    named = os.environ.get("TUBEFLOW_AXE")
    if named:
        return Path(named).read_text(encoding="utf-8")
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def findings(page: Any) -> list[str]:
    """Every element that a rule of axe objects to, of whatever impact, in a line each."""
    page.evaluate(axe_source())
    found = page.evaluate(ASK)
    return [f"{one['impact']} {one['id']}: {one['target']} {one['html']} ({one['why']})" for one in found]
