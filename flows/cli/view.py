"""`tubeflow view`: look at tubes in a browser, compare and correct them."""

from __future__ import annotations

import importlib
import logging
import socket
import threading
from pathlib import Path
from typing import Annotated

import typer

from data_catalog.catalog import CatalogError, Workspace
from flows.cli.options import NO_OVERRIDES, OverrideOption, WorkspaceOption, plain_errors
from flows.config import ConfigError
from flows.console import doing, out
from flows.execution.stopping import ending_by_itself

PORT = 8321

app = typer.Typer()


@app.command("view")
@plain_errors
def view_command(
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others can only reach it with a token.")]
    = "127.0.0.1",
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help=f"By default {PORT}, or a free one.")]
    = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Further host name by which browsers know this server.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Show this dataset alone.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Config; by default that of the last run.")] = None,
    overrides: OverrideOption = NO_OVERRIDES,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Look at the tubes in a browser: the most suspicious first; compare, correct and run again.

    The server stays on this machine; with `--host` it is open to others, who need the token that it prints.

    Example: `tubeflow view --dataset mine`
    """
    # A web server, which no other command needs.
    import uvicorn

    from flows.view.access import Access
    from flows.view.connections import BACKLOG, SaidOnce, bounded_protocol, most_connections
    from flows.view.server import make_app
    from flows.view.state import ViewState

    opened = Workspace(workspace)
    if not opened.catalog.is_dir():
        raise CatalogError(f"There is no workspace {opened.root}; name it with --workspace or TUBEFLOW_WORKSPACE.")
    if overrides and preset is None and dataset is None:
        raise ConfigError("With -o say which config it changes: --preset NAME, or --dataset for its last run's.")
    state = ViewState(opened.root, dataset, preset, overrides)
    listening = listen(host, port)
    number = listening.getsockname()[1]
    access = Access.of(host, number, tuple(name or ()))
    with doing("read"):
        state.current()  # what can't be read is reported here, not on the page
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(state, access),
            access_log=False,
            log_level="warning",
            http=bounded_protocol(most_connections()),
            backlog=BACKLOG,
        )
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("asyncio").addFilter(SaidOnce())
    out.print(address(host, number, access.token), markup=False, soft_wrap=True)
    if access.token is not None:
        out.print("Whoever has this address can see and change everything; it is shown once.", markup=False)
    out.print("Ctrl+C ends it.", markup=False)
    # Takes seconds, and the first click that asks a network must not wait for it.
    threading.Thread(target=importlib.import_module, args=("tasks.training.scorer",), daemon=True).start()
    with ending_by_itself():  # its runs are ended with it
        server.run(sockets=[listening])


def listen(host: str, port: int | None) -> socket.socket:
    """A bound socket; where no port was asked for, the usual one or any that is free. Raises CatalogError."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)[0]
    except OSError as exc:
        raise CatalogError(f"'{host}' is no address of this machine; leave --host away to serve it alone.") from exc
    for number in [port] if port is not None else [PORT, 0]:
        listening = socket.socket(found[0], socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((found[4][0], number))
            listening.listen()  # from here on a browser waits for the pages instead of being refused
        except OSError as exc:
            listening.close()
            trouble = exc
            continue
        return listening
    raise CatalogError(f"Port {port} of {host} can't be used ({trouble.strerror}); choose another with --port.")


def address(host: str, port: int, token: str | None) -> str:
    """What to open in a browser."""
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    if ":" in shown:
        shown = f"[{shown.strip('[]')}]"
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
