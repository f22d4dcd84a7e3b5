"""YAML that a person wrote as a config: mappings, lists, text, numbers, true, false and null, and no more than that.

PyYAML's safe loader makes no objects, but it does make dates (and fails at the 40th of a month), converts integers of
any length, recurses as deeply as a file nests, and copies what merges and aliases stand for, which a few lines can turn
into billions of values. Here the events are counted before anything is made of them.
"""

from __future__ import annotations

import math
from typing import NoReturn, cast

import yaml

MAX_CHARACTERS = 128 * 1024
MAX_VALUES = 10_000  # aliases counted for what they stand for; the largest preset has 60
MAX_DEPTH = 20
MAX_INTEGER = 2**63 - 1
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null"))


class _PlainLoader(yaml.SafeLoader):
    """Dates stay text; a number has to fit into 64 bits and be finite."""

    def construct_plain_int(self, node: yaml.ScalarNode) -> int:
        try:
            value = self.construct_yaml_int(node)
        except ValueError:  # more digits than Python converts, or none
            value = None
        if value is None or abs(value) > MAX_INTEGER:
            _refuse("this number is too large, or none", node)
        return int(value)

    def construct_plain_float(self, node: yaml.ScalarNode) -> float:
        try:
            value = float(self.construct_yaml_float(node))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            _refuse("this number isn't finite", node)
        return value


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_plain_int)
_PlainLoader.add_constructor("tag:yaml.org,2002:float", _PlainLoader.construct_plain_float)
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> object:
    """The value that `text` is YAML for.

    Raises:
        yaml.YAMLError: it isn't YAML, or not of the plain kind; `problem` says what, `problem_mark` where.
    """
    if len(text) > MAX_CHARACTERS:
        raise yaml.MarkedYAMLError(problem=f"{len(text)} characters are more than any config has")
    _check_events(text)
    return yaml.load(text, _PlainLoader)  # a safe loader


def _check_events(text: str) -> None:
    """Depth, tags, and how many values the text stands for. Raises yaml.YAMLError."""
    known: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and values before it
    values = 0
    for event in yaml.parse(text, _PlainLoader):
        if isinstance(event, yaml.NodeEvent) and not isinstance(event, yaml.AliasEvent):
            values += 1
            tag = getattr(event, "tag", None)
            if tag not in (None, "!") and tag not in PLAIN_TAGS:
                _refuse(f"a config has no values of the type {tag}", event)
        match event:
            case yaml.AliasEvent():
                if event.anchor not in known:
                    _refuse(f"there is no '&{event.anchor}' that ended before this", event)
                values += known[event.anchor]
            case yaml.ScalarEvent() if event.anchor is not None:
                known[event.anchor] = 1
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                open_nodes.append((event.anchor, values))
                if len(open_nodes) > MAX_DEPTH:
                    _refuse(f"this is nested more than {MAX_DEPTH} levels deep", event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                anchor, before = open_nodes.pop()
                if anchor is not None:
                    known[anchor] = values - before + 1
        if values > MAX_VALUES:
            _refuse(f"this is more than {MAX_VALUES} values, aliases counted for what they stand for", event)


def _refuse(problem: str, place: yaml.Event | yaml.Node) -> NoReturn:
    mark = cast(yaml.Mark | None, place.start_mark)  # the C parser's has the same lines and columns
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
