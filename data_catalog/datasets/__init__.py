"""Dataset adapters by name. To add one: write its file, then add its line to `ADAPTERS`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from data_catalog.datasets.records import Check, ClipRecord, DatasetError, Listing, RejectedRow
from data_catalog.suggest import nearest

ADAPTERS = {
    "folder": "data_catalog.datasets.folder:FolderAdapter",
    "procedural": "data_catalog.datasets.procedural_folder:ProceduralAdapter",
    "aqa7": "data_catalog.datasets.aqa7:Aqa7Adapter",
    "mtl_aqa": "data_catalog.datasets.mtl_aqa:MtlAqaAdapter",
    "fr_fs": "data_catalog.datasets.fr_fs:FrFsAdapter",
    "finediving": "data_catalog.datasets.finediving:FineDivingAdapter",
}


class Adapter(Protocol):
    """Reads one kind of dataset folder; stateless, reads only, decodes no video."""

    def read(self, root: Path, labels: Path | None = None) -> Listing:
        """List the clips under `root`.

        Args:
            root: the dataset folder; `ClipRecord.video` is relative to it.
            labels: the label file or annotation folder when it lies elsewhere; by default the
                usual places inside `root` are searched.

        Raises:
            DatasetError: nothing can be listed, e.g. the annotation is missing; says where to get it.
        """
        ...

    def check(self, listing: Listing) -> list[Check]:
        """Compare the listing with the dataset's published counts and ranges."""
        ...


def build_adapter(name: str) -> Adapter:
    """The adapter registered as `name`.

    Raises:
        DatasetError: unknown name; names the nearest valid one.
    """
    if name not in ADAPTERS:
        near = nearest(name, ADAPTERS)
        hint = f"did you mean '{near}'?" if near else f"choose one of {', '.join(ADAPTERS)}"
        raise DatasetError(f"there is no dataset adapter named '{name}'; {hint}")
    module, _, attribute = ADAPTERS[name].partition(":")
    return cast(Adapter, getattr(importlib.import_module(module), attribute)())


__all__ = [
    "ADAPTERS",
    "Adapter",
    "Check",
    "ClipRecord",
    "DatasetError",
    "Listing",
    "RejectedRow",
    "build_adapter",
]
