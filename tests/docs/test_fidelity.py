"""The page docs/fidelity.md names tests as proof; a renamed or removed test must not leave it lying."""

import re

from tests.support import REPO


def test_every_test_that_the_page_names_exists():
    page = (REPO / "docs" / "fidelity.md").read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)(?:\[[^`]*\])?`", page))
    assert len(named) > 10
    written = {
        name for file in (REPO / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert named <= written, f"not found in tests/: {sorted(named - written)}"


def test_every_file_that_the_page_names_exists():
    page = (REPO / "docs" / "fidelity.md").read_text()
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", page))
    assert files
    assert all((REPO / file).is_file() for file in files)
