"""What is set in the environment before Prefect and others are imported, which read it then. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from data_catalog.threads import wait_asleep


def prepare_environment() -> None:
    """Set what Prefect and other libraries read when they are imported; what the user has set stays."""
    # Nothing leaves this machine unless the user says so, and the rooms' own log lines reach a run's page.
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["YOLO_AUTOINSTALL"] = "false"  # ultralytics would run pip for what a file seems to need
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "flows,tasks,models,data_catalog")
    # Outside of a run there is no page for them to reach; that is nothing to warn of.
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    # A run without a server brings its own, whose imports alone take a busy machine longer than Prefect's 20 s.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
    wait_asleep()
    _reach_loopback_directly()
    if "PREFECT_HOME" not in os.environ and not _home_is_writable():
        _keep_home_in(_workspace_of_command().absolute() / "home")


def _reach_loopback_directly() -> None:
    """Let no proxy stand between us and a server on this machine; what HTTP libraries ask is NO_PROXY."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*hosts, "localhost", "127.0.0.1", "::1"]))


def _home_is_writable() -> bool:
    try:
        folder = Path.home() / ".prefect"
        folder.mkdir(parents=True, exist_ok=True)  # as Prefect does when it is imported
    except (RuntimeError, OSError):  # RuntimeError: no HOME, and the system doesn't know this user
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _workspace_of_command() -> Path:
    """The workspace that this command names; needed before any command line is parsed."""
    words = sys.argv[1:]
    for word, value in zip(words, [*words, ""][1:], strict=True):
        name, sign, rest = word.partition("=")
        if name in ("--workspace", "-w"):
            return Path(rest if sign else value)
    return Path(os.environ.get("TUBEFLOW_WORKSPACE") or "workspace")


def _keep_home_in(folder: Path) -> None:
    """Libraries keep settings and caches at home; where there is none, they find a place inside the workspace."""
    for name, place in {
        "PREFECT_HOME": "prefect",
        "MPLCONFIGDIR": "matplotlib",
        "YOLO_CONFIG_DIR": "ultralytics",
        "TORCH_HOME": "torch",
        "XDG_CACHE_HOME": "cache",
    }.items():
        os.environ.setdefault(name, str(folder / place))
    with contextlib.suppress(OSError):  # a workspace that can't be written is reported by whoever needs it
        (folder / "prefect").mkdir(parents=True, exist_ok=True)
