"""Who may ask this server for what: hosts, the token, writes only from its own pages, and the headers of every answer.

The server shows a person's videos and can start runs, so a page of another site that the same browser has open must
reach none of it. Four walls, each on its own: the Host header has to be a name of this server (DNS rebinding);
requests that a browser marks as another site's are refused; writes need a secret that only a page of this origin can
read (CSRF); every answer forbids other origins to embed or read it. Bound to more than this machine, a token comes
first.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
CSRF_HEADER = "x-tubeflow-csrf"
MAX_BODY = 1 << 20  # bytes; the largest write is a handful of boxes
MAX_LENGTH = 18  # digits of a Content-Length
MAX_RANGE = 1000  # letters of a Range header
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that is bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Access:
    """What a request must bring.

    Attributes:
        hosts: names that the Host header may have, lower case, without port.
        addresses: it may also be any IP address, which DNS can't rebind.
        token: what the first request must bring; None where only this machine can reach the server.
        csrf: what every write must bring, and only this server's own pages can read.
        cookie: name of the cookie that stands for the token after its first use.
    """

    hosts: frozenset[str] = LOOPBACK_NAMES
    addresses: bool = False
    token: str | None = None
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    cookie: str = "tubeflow-view"

    @classmethod
    def of(cls, host: str, port: int, names: tuple[str, ...] = ()) -> Access:
        """For a server that is bound to `host`; `names` are further ones by which browsers know it."""
        cookie = f"tubeflow-view-{port}"  # cookies don't tell ports apart
        if is_loopback(host):
            return cls(LOOPBACK_NAMES | {host.lower().strip("[]"), *map(str.lower, names)}, cookie=cookie)
        own = {socket.gethostname().lower(), socket.getfqdn().lower(), host.lower().strip("[]")}
        return cls(
            LOOPBACK_NAMES | own | {name.lower() for name in names},
            addresses=True,
            token=secrets.token_urlsafe(32),
            cookie=cookie,
        )

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names this server."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
            urlsplit(f"//{header}").port  # noqa: B018  # a port that is no number raises
        except ValueError:
            return False
        if not name or any(sign in header for sign in "/@?#\\ "):
            return False
        if name in self.hosts:
            return True
        try:
            return self.addresses and bool(ipaddress.ip_address(name))
        except ValueError:
            return False


class Refusal(Exception):
    """A request that goes no further: status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Guard:
    """ASGI middleware in front of everything."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused, and pass everything else on with the headers of every answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":  # uvicorn answers 403 to one that is closed before it is accepted
            refusal = JSONResponse({"error": "This server has no web sockets."}, 400)
            await send({"type": "websocket.http.response.start", "status": 400, "headers": refusal.raw_headers})
            await send({"type": "websocket.http.response.body", "body": refusal.body})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            answer = self._check(scope)
        except Refusal as exc:
            answer = JSONResponse({"error": str(exc)}, exc.status)
        if answer is not None:
            await answer(scope, receive, send_guarded)
            return
        await self._app(scope, _limited(receive), send_guarded)

    def _check(self, scope: Scope) -> Response | None:
        """None lets the request through; a response answers it. Raises Refusal."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            raise Refusal(421, "This server isn't known by that name; open the address that tubeflow view printed.")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise Refusal(405, "This server answers GET and POST only.")
        if len(headers.get("range", "")) > MAX_RANGE:  # Python converts no number of some thousand digits
            raise Refusal(416, "There are no such bytes.")
        navigation = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not navigation:
            raise Refusal(403, "Requests from pages of another site are refused.")
        entered = self._enter(scope, headers)
        if entered is None and scope["method"] == "POST":
            self._check_write(scope, headers, hosts[0])
        return entered

    def _enter(self, scope: Scope, headers: Headers) -> Response | None:
        """Ask for the token where there is one: in the cookie, as a bearer's, or once in the address."""
        token = self._access.token
        if token is None:
            return None
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if _same(_cookie(headers, self._access.cookie), token) or _same(bearer, token):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token", "")
        if scope["method"] != "GET" or not _same(given, token):
            raise Refusal(401, "This server asks for its token; open the address that tubeflow view printed.")
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # One leading slash, whatever the path was: two would send the browser to another host.
        target = "/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else "")
        answer = Response(status_code=303, headers={"location": target})
        answer.set_cookie(self._access.cookie, token, httponly=True, samesite="lax", path="/")
        return answer

    def _check_write(self, scope: Scope, headers: Headers, host: str) -> None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refusal(403, "Only this server's own pages may change something.")
        if not _same(headers.get(CSRF_HEADER, ""), self._access.csrf):
            raise Refusal(403, "The page is older than this server; reload it and try again.")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "Write JSON, with the content type application/json.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > MAX_LENGTH or int(length) > MAX_BODY:
            raise Refusal(413, f"A write is at most {MAX_BODY} bytes long.")


def _limited(receive: Receive) -> Receive:
    """The same body, cut off where it grows beyond what any write needs (a chunked one says no length)."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > MAX_BODY else message

    return limited


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
