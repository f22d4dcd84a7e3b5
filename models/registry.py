"""Parts by name: each name leads to the file that has the part, which is imported when the part is asked for.

One registry a kind: `BACKBONES`, `TRACKERS`, `DETECTORS`, `HEADS`, and `data_catalog.datasets.ADAPTERS`. A part of your
own, or of a test, is added by assignment: `BACKBONES["mine"] = Entry("my_file:build_mine")`; in a test,
`monkeypatch.setitem(BACKBONES, "mine", Entry(...))` takes it away again. Parts of other people's packages come by entry
points (`models.plugins`): as a dict a registry holds what is built in or assigned, and `find`, `names` and `check` know
the others as well.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Generic, TypeVar, cast

from models.plugins import Plugin, PluginError, installed_plugins

Part_co = TypeVar("Part_co", covariant=True)


@dataclass(frozen=True)
class Entry(Generic[Part_co]):
    """Where a part is: `target` is "module:attribute". Kinds of parts that need to say more add fields.

    `plugin` is set by the registry where another package brings the part.
    """

    target: str
    plugin: Plugin | None = field(default=None, kw_only=True)

    def load(self) -> Part_co:
        """Import the part. Raises PluginError where another package brings it and it can't be imported."""
        try:
            return cast(Part_co, _attribute(self.target))
        except Exception as exc:
            if self.plugin is None:
                raise
            raise self.plugin.broken(exc) from exc


def _attribute(target: str) -> object:
    """What "module:attribute" names; the attribute may be one of an attribute."""
    module, _, attributes = target.partition(":")
    found: object = import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found


EntryOfKind = TypeVar("EntryOfKind", bound="Entry[object]")


class Registry(dict[str, EntryOfKind]):
    """Entries by name.

    Args:
        kind: what its parts are called in messages.
        entries: name → entry; messages list the names in this order.
        also: names that mean something where these are asked for, though no part is behind them.
        group: the entry points by which other packages bring such parts; None where they can't.
        plain: makes the entry of a plug-in whose entry point leads to the part itself, from its target. One that has
            more to say leads to an entry of this registry's kind.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, EntryOfKind],
        also: Sequence[str] = (),
        group: str | None = None,
        plain: Callable[[str], EntryOfKind] | None = None,
    ) -> None:
        super().__init__(entries)
        self.kind, self.also, self.group, self._plain = kind, tuple(also), group, plain

    def find(self, name: str) -> EntryOfKind:
        """The entry of `name`, built in or of a plug-in, which is imported for it.

        Raises:
            ValueError: there is none; names the nearest and all that there are.
            PluginError: two packages bring one of this name, or it can't be imported.
        """
        if name in self:
            return self[name]
        plugin = self.plugin(name)
        if plugin is None or self._plain is None:
            raise self._unknown(name)
        try:
            part = _attribute(plugin.target)
        except Exception as exc:
            raise plugin.broken(exc) from exc
        plain = self._plain(part.target if isinstance(part, Entry) else plugin.target)
        entry = part if isinstance(part, type(plain)) else plain
        return replace(entry, plugin=plugin)

    def check(self, name: str) -> None:
        """As `find`, and imports nothing. Raises ValueError."""
        if name not in self and self.plugin(name) is None:
            raise self._unknown(name)

    def names(self) -> tuple[str, ...]:
        """All names: those in `also`, what is built in, then the plug-ins' that no built-in part has."""
        others = (plugin.name for plugin in self.plugins() if plugin.name not in self)
        return (*self.also, *self, *dict.fromkeys(others))

    def plugins(self) -> tuple[Plugin, ...]:
        """What other packages bring, also where its name is taken by a built-in part."""
        return () if self.group is None else installed_plugins(self.group)

    def plugin(self, name: str) -> Plugin | None:
        """The plug-in that `name` means; None where it means a built-in part, which wins, or nothing.

        Raises:
            PluginError: two packages bring one of this name.
        """
        if name in self or name in self.also:
            return None
        found = [one for one in self.plugins() if one.name == name]
        if len(found) > 1:
            raise PluginError(
                f"there are {len(found)} {self.kind}s '{name}', of the packages "
                f"{' and '.join(one.origin for one in found)}; uninstall all but one"
            )
        return found[0] if found else None

    def origin(self, name: str) -> str | None:
        """Distribution and version of the plug-in that `name` means; None for a built-in part. Raises PluginError."""
        plugin = self.plugin(name)
        return None if plugin is None else plugin.origin

    def targets(self) -> dict[str, str]:
        """Name → "module:attribute", for another process to add what this one knows."""
        return {name: entry.target for name, entry in self.items()}

    def _unknown(self, name: str) -> ValueError:
        known = self.names()
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        return ValueError(f"there is no {self.kind} '{name}'{hint}; choose one of {', '.join(known)}")


Built = TypeVar("Built")


def build_part(
    registry: Registry[Entry[Callable[..., Built]]], name: str, *arguments: object, **options: object
) -> Built:
    """Call the part of that name.

    Raises:
        ValueError: there is none, or it has no such options.
    """
    part = registry.find(name).load()
    try:
        return part(*arguments, **options)
    except TypeError as exc:
        raise ValueError(
            f"the {registry.kind} {name!r} does not understand its options {sorted(options)}: {exc}"
        ) from exc
