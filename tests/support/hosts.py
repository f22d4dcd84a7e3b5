"""Machines of one machine: network namespaces on a bridge, each with a name, an address and a home of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BRIDGE, NET = "tfbridge", "10.213.77"
OURS = f"{NET}.1"
"""The address of this side, which every machine reaches."""


def ip(*words: str) -> str:
    """What `ip words…` says. Raises CalledProcessError where it isn't permitted."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def permitted() -> bool:
    """Whether this process may make network namespaces."""
    try:
        ip("netns", "add", f"{BRIDGE}-try")
        ip("netns", "del", f"{BRIDGE}-try")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@dataclass(frozen=True)
class Host:
    """One of them: `before` is the command that starts another one there."""

    name: str
    address: str
    home: Path

    @property
    def before(self) -> list[str]:
        named = 'hostname "$0" && export HOME="$1" && shift && exec "$@"'
        return ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", named, self.name, str(self.home)]

    def kill(self) -> None:
        """As when its power goes: everything there ends at once."""
        for process in ip("netns", "pids", self.name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)

    def link(self, state: str) -> None:
        """Cut its link (`down`), or mend it (`up`)."""
        ip("link", "set", f"{self.name}v", state)


@contextlib.contextmanager
def hosts(names: list[str], folder: Path) -> Iterator[list[Host]]:
    """Start them; at the end they are gone, and whatever ran there."""
    with contextlib.ExitStack() as stack:
        ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(ip, "link", "del", BRIDGE)
        ip("addr", "add", f"{OURS}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        found = []
        for number, name in enumerate(names, start=2):
            host = Host(name, f"{NET}.{number}", folder / f"home-{name}")
            host.home.mkdir()
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            stack.callback(host.kill)
            ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}v", "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            found.append(host)
        yield found
