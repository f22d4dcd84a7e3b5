"""Reading XML and JSON that somebody else wrote: bounded, without DTDs and entities, one sentence where it can't be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from data_catalog.tracks.text import TrackFileError

MOST_BYTES = 512 * 2**20
DEEPEST = 32
Handler = Callable[[str, dict[str, str]], None]


class _Target:
    """What the XML parser calls: passes elements on, with the path of those around them."""

    def __init__(self, start: Handler, end: Callable[[str, str], None]) -> None:
        self._start, self._end, self._path, self._text = start, end, list[str](), list[str]()

    def start(self, tag: str, attrs: dict[str, str]) -> None:
        self._path.append(tag)
        self._text = []
        if len(self._path) > DEEPEST:
            raise TrackFileError(f"it nests elements deeper than {DEEPEST}")
        self._start("/".join(self._path), attrs)

    def end(self, tag: str) -> None:
        self._end("/".join(self._path), "".join(self._text))
        self._path.pop()
        self._text = []

    def data(self, text: str) -> None:
        self._text.append(text)

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise TrackFileError("it has a document type, in which entities could be hidden; remove the DOCTYPE line")

    def close(self) -> None:
        """The parser wants one."""


def read_xml(path: Path, start: Handler, end: Callable[[str, str], None]) -> None:
    """Walk through an XML file without building it in memory.

    Args:
        path: the file.
        start: called with the path of an element, "annotations/track/box", and its attributes.
        end: called behind an element with its path and the text inside.

    Raises:
        TrackFileError: it is no XML, too large, too deep, or has a DTD.
    """
    check_size(path)
    parser = ElementTree.XMLParser(target=_Target(start, end))
    try:
        with path.open("rb") as file:
            while part := file.read(2**16):
                parser.feed(part)
        parser.close()
    except ElementTree.ParseError as exc:
        raise TrackFileError(f"{path.name} is no whole XML file: {exc}") from None
    except TrackFileError as exc:
        raise TrackFileError(f"{path.name} can't be used: {exc}") from None


def read_json(path: Path) -> Any:
    """A JSON file's content. Raises TrackFileError where it is no JSON, or too large."""
    check_size(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise TrackFileError(f"{path.name} is no whole JSON file: {' '.join(str(exc).split())[:200]}") from None


def check_size(path: Path) -> None:
    """Raises TrackFileError where a file is larger than any of its kind has to be, or is none."""
    if not path.is_file():
        raise TrackFileError(f"{path} is no file")
    if path.suffix.lower() == ".zip":
        raise TrackFileError(f"{path.name} is an archive; unpack it and give what is inside")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise TrackFileError(f"{path.name} has {size} bytes; up to {MOST_BYTES} are read")


class Fields:
    """The values of one JSON object or XML element, each checked when it is asked for."""

    def __init__(self, values: Any, place: str) -> None:
        if not isinstance(values, dict):
            raise TrackFileError(f"{place} is {type(values).__name__}, not an object")
        self.values, self.place = values, place

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number; null is as if it weren't there. Raises TrackFileError."""
        value = self.values.get(name)
        value = default if value is None else value
        try:
            if value is None or isinstance(value, bool):
                raise ValueError
            found = float(value)
        except (TypeError, ValueError):
            raise TrackFileError(f"{self.place} has no number '{name}' but {str(value)[:40]!r}") from None
        if not abs(found) < 1e9:
            raise TrackFileError(f"{self.place} has {name} = {str(value)[:40]}, which can't be")
        return found

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number, from 0. Raises TrackFileError."""
        found = self.number(name, default)
        if found != int(found) or found < 0:
            raise TrackFileError(f"{self.place} has {name} = {found:g}, which is no whole number from 0")
        return int(found)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false, also as 1 or "0". Raises TrackFileError."""
        value = self.values.get(name, default)
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("0", "1", "true", "false"):
            return str(value).lower() in ("1", "true")
        raise TrackFileError(f"{self.place} has {name} = {str(value)[:40]!r}, which is neither true nor false")

    def text(self, name: str, default: str = "") -> str:
        """A text; numbers become one."""
        value = self.values.get(name, default)
        return str(value) if isinstance(value, (str, int)) else default

    def listed(self, name: str) -> list[Any]:
        """A list; empty where there is none. Raises TrackFileError."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, list):
            raise TrackFileError(f"{self.place} has {name} = {str(value)[:40]!r}, which is no list")
        return value or []

    def numbers(self, name: str, count: int | None = None) -> list[float]:
        """A list of finite numbers, `count` of them. Raises TrackFileError."""
        values = self.listed(name)
        fields = Fields({str(place): value for place, value in enumerate(values)}, f"{self.place} {name}")
        if count is not None and len(values) != count:
            raise TrackFileError(f"{self.place} has {len(values)} numbers in {name}, not {count}")
        return [fields.number(str(place)) for place in range(len(values))]
