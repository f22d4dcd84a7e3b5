"""A `tubeflow view` without a socket, over a real small workspace, asked as a browser asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from data_catalog.catalog import Workspace
from flows.view.access import Access
from flows.view.server import make_app
from flows.view.state import ViewState
from tests.support.tiny_workspace import DATASET

ORIGIN = "http://127.0.0.1:8321"


@dataclass(frozen=True)
class Pages:
    """A client of one server."""

    client: TestClient
    state: ViewState
    access: Access

    @property
    def workspace(self) -> Workspace:
        return self.state.workspace

    def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """JSON of an address that must answer with this status."""
        answer = self.client.get(path, params=params)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        """Send JSON as the server's own pages do."""
        sent = {"x-tubeflow-csrf": self.access.csrf, "origin": ORIGIN, **headers}
        answer = self.client.post(path, json=body, headers=sent)
        assert answer.status_code == status, answer.text
        return answer.json()

    def clip(self, number: int = 0, **more: Any) -> dict[str, Any]:
        """Everything that the server says of one of the tiny clips."""
        found: dict[str, Any] = self.get("/api/clip", dataset=DATASET, clip=clip_name(number), **more)
        return found


@contextmanager
def pages_of(root: Path, access: Access | None = None, **choice: Any) -> Iterator[Pages]:
    """Serve a workspace for as long as the block lasts."""
    state, wanted = ViewState(root, **choice), access or Access()
    with TestClient(make_app(state, wanted), base_url=ORIGIN, raise_server_exceptions=False) as client:
        yield Pages(client, state, wanted)


def clip_name(number: int) -> str:
    return f"diving_{number:04d}"
