"""Parts by name: each name leads to the file that has the part, which is imported when the part is asked for.

One registry a kind: `BACKBONES`, `TRACKERS`, `DETECTORS`, `HEADS`, and `data_catalog.datasets.ADAPTERS`. A part of your
own, or of a test, is added by assignment: `BACKBONES["mine"] = Entry("my_file:build_mine")`; in a test,
`monkeypatch.setitem(BACKBONES, "mine", Entry(...))` takes it away again.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Generic, TypeVar, cast

Part_co = TypeVar("Part_co", covariant=True)


@dataclass(frozen=True)
class Entry(Generic[Part_co]):
    """Where a part is: `target` is "module:attribute". Kinds of parts that need to say more add fields."""

    target: str

    def load(self) -> Part_co:
        """Import the part."""
        module, _, attribute = self.target.partition(":")
        return cast(Part_co, getattr(import_module(module), attribute))


EntryOfKind = TypeVar("EntryOfKind", bound="Entry[object]")


class Registry(dict[str, EntryOfKind]):
    """Entries by name.

    Args:
        kind: what its parts are called in messages.
        entries: name → entry; messages list the names in this order.
        also: names that mean something where these are asked for, though no part is behind them.
    """

    def __init__(self, kind: str, entries: Mapping[str, EntryOfKind], also: Sequence[str] = ()) -> None:
        super().__init__(entries)
        self.kind, self.also = kind, tuple(also)

    def find(self, name: str) -> EntryOfKind:
        """The entry of `name`.

        Raises:
            ValueError: there is none; names the nearest and all that there are.
        """
        if name in self:
            return self[name]
        known = (*self.also, *self)
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise ValueError(f"there is no {self.kind} '{name}'{hint}; choose one of {', '.join(known)}")

    def targets(self) -> dict[str, str]:
        """Name → "module:attribute", for another process to add what this one knows."""
        return {name: entry.target for name, entry in self.items()}


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
