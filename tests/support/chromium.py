"""Which browser, and how it is started."""

from __future__ import annotations

import os
import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """Path of a Chromium on this machine."""
    return os.environ.get("TUBEFLOW_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
