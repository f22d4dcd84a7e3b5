"""Downloads one file over HTTP: resumes, survives stalls and short answers, never follows a redirect elsewhere."""

from __future__ import annotations

import http.client
import json
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
MIN_PROGRESS_BYTES = 1 << 16  # a connection that brings less counts as fruitless
MAX_BYTES = 16 * 2**30  # larger than any published network here; stops a server that never ends
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
Progress = Callable[[int, int | None], None]


class DownloadError(RuntimeError):
    """The file could not be had; one plain sentence, what was received so far is kept where that helps."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on: seconds without a byte, fruitless tries in a row, and the pause between them."""

    timeout_s: float = 30.0
    tries: int = 5
    pause_s: float = 1.0


def fetch(
    url: str, part: Path, *, size: int | None, resumable: bool, patience: Patience, progress: Progress | None = None
) -> None:
    """Download `url` into the file `part`, going on where an earlier call was cut off.

    Args:
        url: http or https.
        part: unfinished file; ``part.json`` beside it remembers which version of the file it is of.
        size: published bytes, if known; another length is refused at once.
        resumable: a digest will be checked afterwards, so that joining two halves is safe even when
            the server does not say which version they are of.
        patience: when to give up.
        progress: called with bytes so far and bytes in all (None when the server does not tell).

    Raises:
        DownloadError: unreachable, refused, redirected elsewhere, of another size, or cut off too often.
        OSError: the disk is full or may not be written.
    """
    _check_scheme(url, url)
    fruitless, reason, best = 0, "", part.stat().st_size if part.exists() else 0
    while fruitless < patience.tries:
        try:
            if _receive(url, part, size, resumable, patience.timeout_s, progress):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as exc:
            if exc.code not in _AGAIN:
                raise DownloadError(f"{url} answers {exc.code} {exc.reason}") from exc
            reason = f"the server answers {exc.code} {exc.reason}"
        except TimeoutError:
            reason = f"the server sent nothing for {patience.timeout_s:g} seconds"
        except urllib.error.URLError as exc:
            reason = f"{urlsplit(url).hostname} cannot be reached ({exc.reason})"
        except (http.client.HTTPException, ConnectionError, ssl.SSLError) as exc:
            reason = f"the connection broke ({type(exc).__name__})"
        received = part.stat().st_size if part.exists() else 0
        # Measured against the best so far: a server whose stated length is a lie makes us start again and again.
        fruitless = 0 if received >= best + MIN_PROGRESS_BYTES else fruitless + 1
        best = max(best, received)
        logger.warning("%s: %s after %d bytes", url, reason, received)
        if fruitless < patience.tries:
            time.sleep(patience.pause_s * 2 ** max(fruitless - 1, 0))
    raise DownloadError(f"{url}: {reason} after {best} bytes")


def _receive(
    url: str, part: Path, size: int | None, resumable: bool, timeout_s: float, progress: Progress | None
) -> bool:
    """One connection; True when the file is whole by all that the server says."""
    offset, validator = _resume_point(url, part, resumable)
    headers = {"User-Agent": "tubeflow", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    try:
        response = _opener().open(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as exc:
        if exc.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            # Whole already, or the file has become shorter; only starting again tells which.
            forget(part)
            return False
        raise
    with response:
        if response.status != http.client.PARTIAL_CONTENT or _range_start(response.headers) != offset:
            if response.status == http.client.PARTIAL_CONTENT:
                forget(part)  # a server that sends another range than asked cannot be resumed from
                return False
            offset = 0
        total = _total(response.headers, offset)
        _check_answer(url, response.headers, total, size)
        if total is None and size is None and not resumable and not response.chunked:
            raise DownloadError(f"{url} does not tell its length, so that a file cut short could not be recognised")
        _remember(part, url, response.headers)
        with part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            file.truncate()
            received = _copy(response, file, offset, size or MAX_BYTES, url, total, progress)
            file.flush()
            os.fsync(file.fileno())
    expected = total if total is not None else size
    return expected is None or received == expected


def _copy(
    source: http.client.HTTPResponse,
    file: IO[bytes],
    offset: int,
    limit: int,
    url: str,
    total: int | None,
    progress: Progress | None,
) -> int:
    done = offset
    # read1 hands over what has arrived: when the server stalls, no byte is lost in a half-filled buffer.
    while chunk := source.read1(CHUNK_BYTES):
        done += len(chunk)
        if done > limit:
            raise DownloadError(f"{url} sends more than the published {limit} bytes, so it is another file")
        file.write(chunk)
        if progress is not None:
            progress(done, total)
    return done


def _resume_point(url: str, part: Path, resumable: bool) -> tuple[int, str | None]:
    """Bytes that need not be sent again, and the validator that ties them to the server's file."""
    if not part.exists():
        return 0, None
    try:
        known = json.loads(_memory(part).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return 0, None
    validator = known.get("validator")
    if known.get("url") != url or not (validator or resumable):
        return 0, None
    return part.stat().st_size, validator


def _remember(part: Path, url: str, headers: Mapping[str, str]) -> None:
    etag = headers.get("ETag")
    strong = etag if etag and not etag.startswith("W/") else None
    _memory(part).write_text(json.dumps({"url": url, "validator": strong or headers.get("Last-Modified")}))


def forget(part: Path) -> None:
    """Remove an unfinished file and what is remembered of it."""
    part.unlink(missing_ok=True)
    _memory(part).unlink(missing_ok=True)


def _memory(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _check_answer(url: str, headers: Mapping[str, str], total: int | None, size: int | None) -> None:
    if headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(f"{url} answers with a web page instead of the file")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"{url} answers compressed, which was not asked for")
    if size is not None and total is not None and total != size:
        raise DownloadError(f"{url} has {total} bytes instead of the published {size}, so it is another file")


def _total(headers: Mapping[str, str], offset: int) -> int | None:
    length = headers.get("Content-Length", "")
    return offset + int(length) if length.isdecimal() else None


def _range_start(headers: Mapping[str, str]) -> int | None:
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdecimal() else None


class _SameKindRedirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and never from https down to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        _check_scheme(newurl, req.full_url)
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise DownloadError(f"{req.full_url} redirects from https down to {newurl}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str, asked: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{asked} leads to {url[:100]}, but only http and https are followed")


def _opener() -> urllib.request.OpenerDirector:
    """Only what is needed: urllib's own opener would also read file:, ftp: and data: addresses."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _SameKindRedirect(),
    ):
        opener.add_handler(handler)
    return opener
