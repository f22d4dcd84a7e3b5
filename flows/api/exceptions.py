"""The one exception of the Python API, with the sentences of the command line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from data_catalog import notices
from data_catalog.foreign_text import visible
from flows.user_errors import USER_ERRORS, error_sentences

P = ParamSpec("P")
R = TypeVar("R")


class TubeflowError(Exception):
    """Something that the user can put right: what is wrong, and what to do, as the command line says it."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: IPython asks exceptions for it."""
        return [str(self)]


class _HasPath(Protocol):
    @property
    def path(self) -> Path: ...


SelfT = TypeVar("SelfT", bound=_HasPath)


def told_in_sentences(method: Callable[Concatenate[SelfT, P], R]) -> Callable[Concatenate[SelfT, P], R]:
    """Turn what a user can put right into a TubeflowError; what was found damaged and mended becomes a warning."""

    def call(self: SelfT, /, *args: P.args, **kwargs: P.kwargs) -> R:
        notices.take()  # of something else in this process
        try:
            found = method(self, *args, **kwargs)
        except USER_ERRORS as exc:
            raise TubeflowError("\n".join(map(visible, error_sentences(exc, self.path)))) from exc
        for sentence in notices.take():
            warnings.warn(visible(sentence), stacklevel=2)
        return found

    update_wrapper(call, method)
    return call
