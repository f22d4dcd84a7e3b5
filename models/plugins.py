"""Parts that other people's packages bring: what their entry points say, read once a process.

A package says `[project.entry-points."tubeflow.trackers"] still = "its_module:StillTracker"`. Reading that imports
nothing of it; the part is imported when it is asked for by name (`models.registry.Registry.find`).
"""

from __future__ import annotations

import functools
import importlib.metadata
from dataclasses import dataclass


class PluginError(ValueError):
    """A plug-in that can't be used; one plain sentence that names its distribution."""


@dataclass(frozen=True)
class Plugin:
    """What an entry point says.

    Attributes:
        group: which kind of part it is, e.g. "tubeflow.trackers".
        name: what the part is called in a config.
        target: where it is, "module:attribute".
        distribution: the package that brings it, as pip calls it.
        version: of the distribution.
    """

    group: str
    name: str
    target: str
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """Distribution and version: what enters keys, so that another version makes its artifacts anew."""
        return f"{self.distribution} {self.version}"

    def broken(self, exc: Exception) -> PluginError:
        """What to raise where importing it raised `exc`."""
        why = " ".join(f"{type(exc).__name__}: {exc}".split())
        return PluginError(
            f"the plug-in '{self.name}' of the package {self.origin} can't be imported ({why}); install what it needs, "
            f"or remove it: pip uninstall {self.distribution}"
        )


@functools.cache
def installed_plugins(group: str) -> tuple[Plugin, ...]:
    """The plug-ins of one group, by name; what is installed later is seen by the next process."""
    found = {
        Plugin(group, point.name, point.value, point.dist.name, point.dist.version)
        for point in importlib.metadata.entry_points(group=group)
        if point.dist is not None
    }
    return tuple(sorted(found, key=lambda one: (one.name, one.distribution)))
