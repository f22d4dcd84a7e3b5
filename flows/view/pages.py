"""Routes of the pages themselves and of what they load: one folder a page, files looked up by name in a list.

`static/gallery`, `static/clip` and `static/compare` hold what one page alone loads, `static/player` what clip and
compare share, `static/shared` what all three do. An address never becomes a path: only names that `web_files` lists
are served.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from flows.view.api.media import unchanged

PAGES = {"/": "gallery/gallery.html", "/clip": "clip/clip.html", "/compare": "compare/compare.html"}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


def web_files() -> Mapping[str, Path]:
    """Every page asset of the package, by `folder/name`."""
    static = Path(str(resources.files("flows.view").joinpath("static")))
    return {f"{path.parent.name}/{path.name}": path for path in static.glob("*/*") if path.suffix in TYPES}


def page_routes() -> APIRouter:
    """The three pages, and /static."""
    router = APIRouter()

    @router.get("/static/{folder}/{name}")
    def static(folder: str, name: str, request: Request) -> Response:
        return _asset(f"{folder}/{name}", request)

    for address, name in PAGES.items():
        router.add_api_route(address, _page(name), methods=["GET"])
    return router


def _page(name: str) -> Callable[[Request], Response]:
    def page(request: Request) -> Response:
        return _asset(name, request)

    return page


def _asset(name: str, request: Request) -> Response:
    path = web_files().get(name)
    if path is None:
        raise HTTPException(404, "There is no such page.")
    content = path.read_bytes()
    headers = {"etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"', "cache-control": "no-cache"}
    if unchanged(request, headers["etag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=TYPES[path.suffix], headers=headers)
