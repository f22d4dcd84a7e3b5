"""What the browser tests share: the running server, what a page must not do, and how to know what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data_catalog.catalog import Workspace
from tests.support.tiny_workspace import DATASET

WRONG_CLIP, WRONG_BOX = "diving_0003", "20,20,40,60"  # pixels of the 320x240 video, far from the diver

PICTURE = "() => document.querySelector('#canvas').toDataURL()"
SHOWN = "frame => document.querySelector('#canvas').dataset.frame === String(frame)"
TWO_PAINTINGS = """() => new Promise((done) =>
  requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(done), 60)))"""

Opener = Callable[..., Any]


@dataclass
class Site:
    """A running `tubeflow view`, and the workspace that it shows."""

    url: str
    root: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    def clip(self, clip: str, **extra: str) -> str:
        more = "".join(f"&{name}={value}" for name, value in extra.items())
        return f"{self.url}/clip?dataset={DATASET}&clip={clip}{more}"


@dataclass
class Watch:
    """What a page must not do."""

    host: str
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def on(self, page: Any) -> None:
        page.on("console", lambda message: message.type in ("error", "warning") and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))
        page.on("requestfailed", lambda request: self._failed(request))

    def _asked(self, url: str) -> None:
        if not url.startswith("blob:") and urlsplit(url).netloc != self.host:
            self.strangers.append(url)

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # a page that is left aborts what it still asks
            self.errors.append(f"{request.url}: {request.failure}")


def at_frame(page: Any, frame: int) -> None:
    """Wait until this frame is painted."""
    page.wait_for_function(SHOWN, arg=frame)


def settled(page: Any) -> str:
    """What the canvas shows once nothing is waiting to be painted: equal pictures are equal texts."""
    page.evaluate(TWO_PAINTINGS)
    return str(page.evaluate(PICTURE))


def shortened(value: float) -> str:
    """As the pages write numbers."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"
