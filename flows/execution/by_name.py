"""Flows and tasks go to other processes by name, as Python's functions do.

Without this, cloudpickle packs the code of their functions and their parameters' whole schema, 30 kB with every shard;
and byte code that another version of Python doesn't run.
"""

from __future__ import annotations

import copyreg
import importlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from prefect import Flow, Task

AnyShell = TypeVar("AnyShell", Flow[..., Any], Task[..., Any])
Reduced = tuple[Callable[..., object], tuple[object, ...]]


def travel_by_name() -> None:
    """From now on, flows and tasks that are a module's own, or differ from one in their names alone, are so pickled."""
    copyreg.pickle(Flow, _reduced_flow)  # type: ignore[arg-type]  # the stubs know of no reducer of a generic class
    copyreg.pickle(Task, _reduced_task)  # type: ignore[arg-type]


def _reduced_flow(flow: Flow[..., Any]) -> Reduced | str | tuple[Any, ...]:
    return (_found, _place(flow)) if _original(flow) is not None else object.__reduce_ex__(flow, 4)


def _reduced_task(task: Task[..., Any]) -> Reduced | str | tuple[Any, ...]:
    if _original(task) is None:
        return object.__reduce_ex__(task, 4)
    return _renamed, (*_place(task), task.name, task.task_run_name)


def _place(shell: Flow[..., Any] | Task[..., Any]) -> tuple[str, str]:
    return shell.fn.__module__, shell.fn.__name__


def _original(shell: AnyShell) -> AnyShell | None:
    """What the module of a flow or task has under the name of its function, where that is of the same function."""
    module, name = _place(shell)
    found = getattr(sys.modules.get(module), name, None)
    same = isinstance(found, type(shell)) and found.fn is shell.fn and module != "__main__"
    return found if same else None


def _found(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _renamed(module: str, name: str, shown: str, run: str | Callable[[], str] | None) -> Any:
    return _found(module, name).with_options(name=shown, task_run_name=run)
