"""The keys of artifacts: digests of everything that determines them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tasks.engine.stage import ConfigT, Stage

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def make_key(
    stage: Stage[ConfigT],
    config: ConfigT,
    inputs: Mapping[str, Any],
    weights: Mapping[str, str],
    parents: Mapping[str, str],
) -> str:
    """The key of an artifact: 40 hex digits of a SHA-256 over everything that determines it, in canonical JSON."""
    return KeyMaker(stage, config, weights).key(inputs, parents)


class KeyMaker:
    """Makes the keys of one stage; what all of its clips have in common is put into canonical JSON once."""

    def __init__(self, stage: Stage[ConfigT], config: ConfigT, weights: Mapping[str, str]) -> None:
        digests = _canonical(sorted(weights.values()))  # what a file is called changes nothing
        self._start = f'{{"config":{_canonical(stage.config_of(config))},"inputs":'
        self._end = f',"stage":{_canonical(stage.name)},"version":{stage.version},"weights":{digests}}}'

    def key(self, inputs: Mapping[str, Any], parents: Mapping[str, str]) -> str:
        """As `make_key`: the names of the six parts follow each other in the order of the alphabet."""
        text = f'{self._start}{_canonical(inputs)},"parents":{_canonical(parents)}{self._end}'
        return hashlib.sha256(text.encode()).hexdigest()[:40]
