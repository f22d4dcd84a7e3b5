"""Where no Prefect server is configured, Prefect starts one for the command, and stops it when the command ends.

A command that is killed can't do that: its server would stay, idle, for ever. So a small process waits on a pipe from
us, which the system closes however we end, and then ends the server.
"""

from __future__ import annotations

import functools
import subprocess
import sys

from prefect.server.api.server import SubprocessASGIServer

WAIT_AND_END = """
import contextlib, os, signal, sys
sys.stdin.read()
with contextlib.suppress(ProcessLookupError):
    os.kill(int(sys.argv[1]), signal.SIGTERM)
"""


@functools.cache
def end_own_server_with_us() -> None:
    """See that Prefect's temporary server, where this process started one, ends with us; call it once it runs."""
    server = SubprocessASGIServer().server_process
    if server is not None:
        waiting = [sys.executable, "-I", "-S", "-c", WAIT_AND_END, str(server.pid)]
        _guards.append(subprocess.Popen(waiting, stdin=subprocess.PIPE, start_new_session=True))


_guards: list[subprocess.Popen[bytes]] = []  # as long as one is kept, its pipe is open
