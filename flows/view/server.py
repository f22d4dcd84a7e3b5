"""The application behind `tubeflow view`: routes put together, errors told in one sentence, the guard in front."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from data_catalog.catalog import CatalogError
from data_catalog.errors import BadVideo, os_sentence
from data_catalog.indexed_read import NoArtifact
from data_catalog.store import ArtifactDamaged
from data_catalog.weights.registry import WeightsError
from flows.config import ConfigError
from flows.console import sentence
from flows.view.access import Access, Guard
from flows.view.api.clip import clip_routes
from flows.view.api.disagreements import disagreement_routes
from flows.view.api.gallery import gallery_routes
from flows.view.api.media import media_routes
from flows.view.api.network_scores import score_routes
from flows.view.api.writes import write_routes
from flows.view.jobs import Jobs, NoJob
from flows.view.pages import page_routes
from flows.view.state import UnknownClip, ViewState

logger = logging.getLogger(__name__)


def make_app(state: ViewState, access: Access) -> FastAPI:
    """The application for one workspace; `access` says who may use it."""
    jobs = Jobs()

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    app = FastAPI(title="tubeflow view", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.include_router(page_routes())
    app.include_router(media_routes(state))
    app.include_router(gallery_routes(state, access), prefix="/api")
    app.include_router(clip_routes(state), prefix="/api")
    app.include_router(write_routes(state, jobs), prefix="/api")
    app.include_router(score_routes(state), prefix="/api")
    app.include_router(disagreement_routes(state), prefix="/api")
    _tell_errors(app, state)
    app.add_middleware(Guard, access=access)
    return app


def _tell_errors(app: FastAPI, state: ViewState) -> None:
    """Every error is `{"error": sentence}` with the status that fits it."""

    def tell(status: int, text: str) -> JSONResponse:
        return JSONResponse({"error": sentence(text)}, status)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, exc: HTTPException) -> JSONResponse:
        return tell(exc.status_code, str(exc.detail))

    @app.exception_handler(RequestValidationError)
    def wrong_request(request: Request, exc: RequestValidationError) -> JSONResponse:
        faults = [f"{_field(error['loc'])}: {error['msg']}" for error in exc.errors()]
        return tell(422, f"This can't be used: {'; '.join(faults)}")

    @app.exception_handler(CatalogError)
    def catalog_error(request: Request, exc: CatalogError) -> JSONResponse:
        return tell(404 if isinstance(exc, NoArtifact | UnknownClip | NoJob) else 409, str(exc))

    @app.exception_handler(ArtifactDamaged)
    def damaged(request: Request, exc: ArtifactDamaged) -> JSONResponse:
        return tell(409, state.workspace.discard(exc))

    for kind in (ConfigError, WeightsError, BadVideo):
        app.add_exception_handler(kind, lambda request, exc: tell(409, str(exc)))

    @app.exception_handler(OSError)
    def os_error(request: Request, exc: OSError) -> JSONResponse:
        return tell(500, os_sentence(exc))

    @app.exception_handler(Exception)
    def bug(request: Request, exc: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=exc)
        return tell(500, "The server failed at this; its terminal says more")


def _field(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location if part not in ("query", "body", "path")) or "request"
