"""Fixtures of the flows' tests."""

from collections.abc import Iterator

import pytest
from prefect_server import PrefectServer, serving


@pytest.fixture(scope="package")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A real Prefect server with nothing on it, for tests that need no worker; seconds to start, so one for all."""
    with serving(tmp_path_factory.mktemp("prefect")) as server:
        yield server
