"""How `tubeflow explain` is shown on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rich.tree import Tree

from data_catalog.store import Lineage, Store
from flows.console import out


def print_explanation(store: Store, chains: Sequence[Sequence[Lineage]]) -> None:
    """Draw the chains as trees; `store` says where the files are."""
    for lineages in chains:
        tree = Tree(_title(lineages[0]))
        _grow(tree, store, lineages[0], {one.key: one for one in lineages})
        out.print(tree)


def _title(lineage: Lineage) -> str:
    subject = f"clip {lineage.clip_id}" if lineage.clip_id else f"dataset {lineage.dataset}"
    return f"[bold]{lineage.stage}[/bold] v{lineage.stage_version}  {subject}  {lineage.key}"


def _grow(branch: Tree, store: Store, lineage: Lineage, known: Mapping[str, Lineage]) -> None:
    branch.add(f"file      {store.path(lineage.stage, lineage.key)}")
    for title, values in (("config", lineage.config), ("inputs", lineage.inputs), ("weights", lineage.weights)):
        if values:
            branch.add(f"{title:<9} {json.dumps(dict(values))}")
    branch.add(f"libraries {', '.join(f'{name} {version}' for name, version in lineage.libraries.items())}")
    branch.add(f"made      {lineage.created} on {lineage.host} in {lineage.seconds:.3f} s")
    for stage, key in lineage.parents.items():
        if key in known:
            _grow(branch.add(_title(known[key])), store, known[key], known)
        else:
            branch.add(f"{stage} {key} is not in the store any more")
