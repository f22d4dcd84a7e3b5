"""How many connections the server holds, and how long one may take to ask for something.

Sockets that are opened and say nothing would otherwise take every file handle that the process may have, after which it
can neither answer nor read an artifact. uvicorn bounds the requests that are answered, not the connections that wait.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from data_catalog.system import handle_limit, open_handles

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 10  # for the whole of a request, head and body, to arrive
MOST, LEAST = 256, 8
BACKLOG = 4  # asyncio accepts as many in one turn of its loop without asking whether there is room
TURNS = 4  # of the loop, from the accepting of a connection until the one that it replaces has given its handle back


def most_connections() -> int:
    """How many connections fit beside the files that are open and those that answers open."""
    handles = handle_limit()
    if handles is None:
        return MOST
    return max(LEAST, min(MOST, handles - open_handles() - handles // 4 - TURNS * BACKLOG))


def bounded_protocol(most: int, seconds: float = REQUEST_SECONDS) -> type[H11Protocol]:
    """Uvicorn's HTTP protocol, for one server.

    Args:
        most: connections held at once. One more closes the oldest that has not asked for anything yet; where every one
            is being answered, it is closed itself.
        seconds: a connection whose request has not arrived by then is closed.
    """
    waiting: dict[H11Protocol, None] = {}  # oldest first

    class BoundedProtocol(H11Protocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
            if len(self.connections) >= most:
                _say_once()
                oldest = next(iter(waiting), None)
                if oldest is None:
                    self.transport = transport
                    transport.abort()
                    return
                waiting.pop(oldest)
                oldest.connections.discard(oldest)  # its end is noticed a moment later
                oldest.transport.abort()
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            whole = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
            if whole or self.transport.get_protocol() is not self:  # asked, or another protocol has taken over
                self._stop_waiting()
            else:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait(self) -> None:
            if self._deadline is None:
                waiting[self] = None
                self._deadline = self.loop.call_later(seconds, self.transport.abort)

        def _stop_waiting(self) -> None:
            waiting.pop(self, None)
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    said = False

    def _say_once() -> None:
        nonlocal said
        if not said:
            said = True
            logger.warning("More than %d connections at once; the oldest that ask for nothing are closed.", most)

    return BoundedProtocol


class SaidOnce(logging.Filter):
    """asyncio says of every connection that it can't take, with a traceback, that no file handle is left.

    One sentence is enough, once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is to be written."""
        if "socket.accept()" not in record.getMessage():
            return True
        first, self._said = not self._said, True
        record.msg, record.args = "socket.accept(): no file handle is left; connections wait until one is.", ()
        record.exc_info = record.exc_text = None
        return first
