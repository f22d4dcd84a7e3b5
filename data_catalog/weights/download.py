"""Downloads one file over HTTP: resumes, survives stalls and short answers, never follows a redirect elsewhere."""

from __future__ import annotations

import json
import logging
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:  # only a download needs it, and what names weights imports this module
    import httpx

logger = logging.getLogger(__name__)

MIN_PROGRESS_BYTES = 1 << 16  # a connection that brings less counts as fruitless
MAX_BYTES = 16 * 2**30  # larger than any published network here; stops a server that never ends
MAX_REDIRECTS = 10
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416
ByteProgress = Callable[[int, int | None], None]
"""Called with the bytes received so far and all bytes, None where the server doesn't say how many there are."""


class DownloadError(RuntimeError):
    """The file could not be had; one plain sentence, what was received so far is kept where that helps.

    `status` is what an HTTP server answered where that was the reason, else None.
    """

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download is continued.

    Attributes:
        timeout_s: seconds without a byte.
        tries: fruitless tries in a row.
        pause_s: seconds between the first two tries, doubled for each further one.
    """

    timeout_s: float = 30.0
    tries: int = 5
    pause_s: float = 1.0


def fetch(
    url: str, part: Path, *, size: int | None, resumable: bool, patience: Patience, progress: ByteProgress | None = None
) -> None:
    """Download `url` into the file `part`, continuing where an earlier call was cut off.

    Proxies and certificates are those of the environment (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``) and of the
    system.

    Args:
        url: http or https.
        part: unfinished file; ``part.json`` beside it remembers which version of the file it is of.
        size: published bytes, if known; another length is refused at once.
        resumable: a digest will be checked afterwards, so that joining two halves is safe even when
            the server does not say which version they are of.
        patience: when to give up.
        progress: called with bytes so far and bytes in all.

    Raises:
        DownloadError: unreachable, refused, redirected elsewhere, of another size, or cut off too often.
        OSError: the disk is full or may not be written.
    """
    _require_http(url, url)
    fruitless, best = 0, _length(part)
    with _client(patience.timeout_s) as client:
        while True:
            reason = _attempt(client, url, part, size, resumable, progress)
            if reason is None:
                return
            received = _length(part)
            # Measured against the best so far: a server whose stated length is a lie makes us start again and again.
            fruitless = 0 if received >= best + MIN_PROGRESS_BYTES else fruitless + 1
            best = max(best, received)
            logger.warning("%s: %s after %d bytes", url, reason, received)
            if fruitless >= patience.tries:
                raise DownloadError(f"{url}: {reason} after {best} bytes")
            time.sleep(patience.pause_s * 2 ** max(fruitless - 1, 0))


def _client(timeout_s: float) -> httpx.Client:
    """A connection with our redirect rules, trusting the system's certificates as browsers there do."""
    import httpx  # see above

    try:
        return httpx.Client(
            timeout=timeout_s,
            verify=ssl.create_default_context(),
            headers={"User-Agent": "tubeflow", "Accept-Encoding": "identity"},
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            event_hooks={"response": [_check_redirect]},
        )
    except ValueError as exc:
        raise DownloadError(f"the proxy that the environment names can't be used ({exc})") from exc


def _attempt(
    client: httpx.Client, url: str, part: Path, size: int | None, resumable: bool, progress: ByteProgress | None
) -> str | None:
    """One connection: why it has to be tried again, None when the file is whole by all that the server says."""
    import httpx  # see above

    try:
        return None if _receive(client, url, part, size, resumable, progress) else "the connection was cut"
    except httpx.HTTPStatusError as exc:
        status = f"{exc.response.status_code} {exc.response.reason_phrase}"
        if exc.response.status_code not in _AGAIN:
            raise DownloadError(f"{url} answers {status}", exc.response.status_code) from exc
        return f"the server answers {status}"
    except httpx.TooManyRedirects as exc:
        raise DownloadError(f"{url} redirects more than {MAX_REDIRECTS} times, as in an infinite loop") from exc
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
        raise DownloadError(f"{url} is no address that can be asked ({exc})") from exc
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as exc:
        return f"{httpx.URL(url).host} cannot be reached ({exc})"
    except httpx.TimeoutException:
        return f"the server sent nothing for {client.timeout.read:g} seconds"
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return "the connection was cut"
    except httpx.TransportError as exc:
        return f"the connection broke ({type(exc).__name__})"


def _receive(
    client: httpx.Client, url: str, part: Path, size: int | None, resumable: bool, progress: ByteProgress | None
) -> bool:
    """Whether one connection made the file whole; what it brought stays in `part` in any case.

    Raises:
        DownloadError: it is another file than the published one.
        httpx.HTTPError: the answer is none, or the connection broke.
    """
    offset, validator = _resume_point(url, part, resumable)
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    if offset and validator:
        headers["If-Range"] = validator
    with client.stream("GET", url, headers=headers) as response:
        if offset and response.status_code == _RANGE_NOT_SATISFIABLE:
            # Whole already, or the file has become shorter; only starting again tells which.
            forget(part)
            return False
        response.raise_for_status()
        partial = response.status_code == _PARTIAL_CONTENT
        if partial and _range_start(response.headers) != offset:
            forget(part)  # a server that sends another range than asked cannot be resumed from
            return False
        offset = offset if partial else 0
        total = _total(response.headers, offset)
        _check_answer(url, response.headers, total, size)
        chunked = "chunked" in response.headers.get("Transfer-Encoding", "")
        if total is None and size is None and not resumable and not chunked:
            raise DownloadError(f"{url} does not tell its length, so that a file cut short could not be recognised")
        _remember(part, url, response.headers)
        with part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            file.truncate()
            received = _copy(response, file, offset, size or MAX_BYTES, total, progress)
            file.flush()
            os.fsync(file.fileno())
    expected = total if total is not None else size
    return expected is None or received == expected


def _copy(
    response: httpx.Response, file: IO[bytes], offset: int, limit: int, total: int | None, progress: ByteProgress | None
) -> int:
    """Write the answer's bytes as they arrive; returns the length of the file then."""
    done = offset
    for chunk in response.iter_raw():  # without a size: when the server stalls, no byte is lost in a half-filled buffer
        done += len(chunk)
        if done > limit:
            raise DownloadError(f"{response.url} sends more than the published {limit} bytes, so it is another file")
        file.write(chunk)
        if progress is not None:
            progress(done, total)
    return done


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


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


def _check_redirect(response: httpx.Response) -> None:
    """Redirects lead to http and https only, and never from https down to http. Raises DownloadError."""
    if not response.has_redirect_location:
        return
    target = response.url.join(response.headers["Location"])
    _require_http(str(target), str(response.url))
    if response.url.scheme == "https" and target.scheme != "https":
        raise DownloadError(f"{response.url} redirects from https down to {target}, which is refused")


def _require_http(url: str, asked: str) -> None:
    if not url.lower().startswith(("http://", "https://")):
        raise DownloadError(f"{asked} leads to {url[:100]}, but only http and https are followed")
