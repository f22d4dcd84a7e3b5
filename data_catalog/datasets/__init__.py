"""Dataset adapters by name. To add one: write its file, then add its line to `ADAPTERS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from data_catalog.datasets.records import Check, ClipRecord, Listing, RejectedRow
from data_catalog.errors import DatasetError
from models.registry import Entry, Registry


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


ADAPTERS: Registry[Entry[Callable[[], Adapter]]] = Registry("dataset adapter", {
    "folder": Entry("data_catalog.datasets.folder:FolderAdapter"),
    "features": Entry("data_catalog.datasets.feature_folder:FeaturesAdapter"),
    "poses": Entry("data_catalog.datasets.poses.pose_folder:PosesAdapter"),
    "procedural": Entry("data_catalog.datasets.procedural_folder:ProceduralAdapter"),
    "aqa7": Entry("data_catalog.datasets.aqa7:Aqa7Adapter"),
    "mtl_aqa": Entry("data_catalog.datasets.mtl_aqa:MtlAqaAdapter"),
    "fr_fs": Entry("data_catalog.datasets.fr_fs:FrFsAdapter"),
    "finediving": Entry("data_catalog.datasets.finediving:FineDivingAdapter"),
}, group="tubeflow.datasets", plain=Entry)


def build_adapter(name: str) -> Adapter:
    """The adapter registered as `name`.

    Raises:
        DatasetError: unknown name, and which is the nearest valid one; or a plug-in that can't be imported.
    """
    try:
        part = ADAPTERS.find(name).load()
    except ValueError as exc:
        raise DatasetError(str(exc)) from exc
    return part()


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
