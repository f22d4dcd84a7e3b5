"""Names that were public once: they still work, and say what they are called now."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """A module's `__getattr__` that hands out what its old names stand for, with a DeprecationWarning.

    Args:
        module: `__name__` of the module that had the old names.
        names: old name → "module:attribute" of what it is today.
    """

    def __getattr__(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, attribute = names[name].partition(":")
        warnings.warn(f"{module}.{name} is now {place}.{attribute}", DeprecationWarning, stacklevel=2)
        return getattr(import_module(place), attribute)

    return __getattr__
