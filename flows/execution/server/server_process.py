"""The temporary Prefect server's own process: `python -m flows.execution.server.server_process PARENT_PID`.

It listens on a port that the system chooses and says it in the first line of its standard output, which is all that
is written there. Nothing heavy may be imported above `end_with`: until then a killed parent would leave this process
behind.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import threading
import time

LOOK_SECONDS = 0.5


def end_with(parent: int) -> None:
    """End this process as soon as `parent` has ended, however that came: its pipe closes, or we have another parent.

    The pipe says so at once; a child that the parent forked may hold its other end open, so we look at the parent, too.
    """

    def read_to_the_end() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(0)

    for watch in (read_to_the_end, watch_parent):
        threading.Thread(target=watch, daemon=True).start()


def main(parent: int) -> None:
    """Serve Prefect's API on this machine alone, from the first moment: who asks before it is ready waits."""
    end_with(parent)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)  # noqa: T201 (the parent reads it)
    os.dup2(2, 1)  # what anything prints from here on is a complaint; nobody reads the pipe any longer
    gc.disable()  # importing makes objects that all stay: collecting among them takes a good part of the time
    # After `end_with` on purpose: these two take seconds to import.
    import uvicorn
    from prefect.server.api.server import create_app

    gc.freeze()
    gc.enable()

    config = uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on")
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]))
