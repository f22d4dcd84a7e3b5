"""Fixtures that every room uses."""

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips, annotations and independent numbers kept beside a developer's checkout."""
    folder = Path(os.environ.get("TUBEFLOW_SHARED", REPO.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the development data folder {folder.name}/ beside the checkout (set TUBEFLOW_SHARED)")
    return folder
