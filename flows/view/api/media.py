"""Routes that give pictures and files: frames, thumbnails, filmstrips, and the HDF5 files themselves.

An artifact never changes under its key, so every answer may be kept by the browser for ever; the ETag is the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from numpy.typing import NDArray

from data_catalog.indexed_read import ClipFrames, NoArtifact, artifact_file, open_artifact
from flows.draw.thumbs import filmstrip, thumbnail
from flows.view.state import ViewState

FOREVER = "private, max-age=31536000, immutable"
BLOCK = 1 << 16
RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


def media_routes(state: ViewState) -> APIRouter:
    """Everything below /frames, /thumbs, /filmstrip and /files."""
    router, clips = APIRouter(), ClipFrames()
    _frame_routes(router, state, clips)
    _picture_routes(router, state, clips)

    @router.get("/files/{stage}/{name}")
    def file(stage: str, name: str) -> Response:
        if not name.endswith(".h5"):
            raise NoArtifact("There is no such artifact.")
        key = name.removesuffix(".h5")
        path = artifact_file(state.workspace, stage, key)
        headers = kept(f'"{stage}-{key}"')
        return FileResponse(path, media_type="application/x-hdf5", filename=f"{stage}-{name}", headers=headers)

    return router


def _frame_routes(router: APIRouter, state: ViewState, clips: ClipFrames) -> None:
    @router.get("/frames/{key}/all")
    def every_frame(key: str, request: Request) -> Response:
        streams, _ = clips.get(state.workspace, key)
        return ranged(request, streams, "application/octet-stream", f'"{key}-all"')

    @router.get("/frames/{key}/{name}")
    def one_frame(key: str, name: str, request: Request) -> Response:
        found = re.fullmatch(r"(\d{1,5})\.jpg", name, re.ASCII)
        etag = f'"{key}-{name}"'
        if found is None:
            raise HTTPException(404, "There is no such frame.")
        streams, offsets = clips.get(state.workspace, key)
        index = int(found.group(1))
        if index >= len(offsets) - 1:
            raise HTTPException(404, f"The clip has frames 0 to {len(offsets) - 2}.")
        if unchanged(request, etag):
            return Response(status_code=304, headers=kept(etag))
        begin, end = int(offsets[index]), int(offsets[index + 1])
        return Response(bytes(streams[begin:end]), media_type="image/jpeg", headers=kept(etag))


def _picture_routes(router: APIRouter, state: ViewState, clips: ClipFrames) -> None:
    @router.get("/thumbs/{name}")
    def thumb(
        name: str,
        request: Request,
        track: str | None = None,
        frame: Annotated[int, Query(ge=0, le=100_000)] = 0,
        width: Annotated[int, Query(ge=32, le=1024)] = 320,
    ) -> Response:
        key = _jpeg_name(name)
        etag = f'"{key}-{track}-{frame}-{width}"'
        artifact_file(state.workspace, "normalize", key)
        if unchanged(request, etag):
            return Response(status_code=304, headers=kept(etag))
        quads = None
        if track is not None:
            with open_artifact(state.workspace, "track", track) as file:
                quads = file["quads"][:]
        with open_artifact(state.workspace, "normalize", key) as file:
            picture = thumbnail(file, frame, width, quads)
        return Response(picture, media_type="image/jpeg", headers=kept(etag))

    @router.get("/filmstrip/{name}")
    def strip(
        name: str,
        request: Request,
        count: Annotated[int, Query(ge=1, le=64)] = 24,
        height: Annotated[int, Query(ge=16, le=256)] = 48,
    ) -> Response:
        key = _jpeg_name(name)
        etag = f'"{key}-{count}-{height}"'
        streams, offsets = clips.get(state.workspace, key)
        if unchanged(request, etag):
            return Response(status_code=304, headers=kept(etag))
        picture = filmstrip({"frames": _as_bytes(streams), "frame_offsets": offsets}, count, height)
        return Response(picture, media_type="image/jpeg", headers=kept(etag))


def _jpeg_name(name: str) -> str:
    if not name.endswith(".jpg"):
        raise NoArtifact("There is no such picture.")
    return name.removesuffix(".jpg")


def _as_bytes(streams: memoryview) -> NDArray[np.uint8]:
    return np.frombuffer(streams, np.uint8)


def kept(etag: str) -> dict[str, str]:
    """Headers of what never changes."""
    return {"etag": etag, "cache-control": FOREVER}


def unchanged(request: Request, etag: str) -> bool:
    """Whether the browser holds exactly this already."""
    held = request.headers.get("if-none-match", "")
    return held.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in held.split(",")]


def ranged(request: Request, data: memoryview, media_type: str, etag: str) -> Response:
    """Bytes of memory in blocks, or the one range of them that was asked for; an unusable range is refused with 416."""
    headers = kept(etag) | {"accept-ranges": "bytes"}
    if unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    if request.headers.get("if-range", etag) != etag:
        wanted = None
    begin, end, status = 0, len(data), 200
    found = RANGE.fullmatch(wanted.strip()) if wanted else None
    if found is not None and any(found.groups()):  # several ranges at once are answered with everything, as HTTP allows
        first, last = found.groups()
        begin = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last) + 1, len(data)) if first and last else len(data)
        if begin >= end:
            return Response(status_code=416, headers=headers | {"content-range": f"bytes */{len(data)}"})
        status = 206
        headers["content-range"] = f"bytes {begin}-{end - 1}/{len(data)}"

    def blocks() -> Iterator[bytes]:
        for start in range(begin, end, BLOCK):
            yield bytes(data[start : min(start + BLOCK, end)])

    headers["content-length"] = str(end - begin)
    return StreamingResponse(blocks(), status, headers, media_type)
