"""What the program of an exported folder needs to call a video `like` or `unlike` the training's: a file and words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_catalog.atomic import replacing
from data_catalog.catalog import Workspace
from flows.inference.known_kind import KindUnknown, KnownKind, find_kind
from flows.runs.finished import FinishedRun

KIND_FILE = "kind.npz"


def kind_to_export(workspace: Workspace, run: FinishedRun, weights: str) -> tuple[KnownKind | None, dict[str, Any]]:
    """The kind of a run's training clips where it can be told, and what `model.json` says of it."""
    try:
        known = find_kind(workspace, run, weights)
    except KindUnknown as exc:
        return None, {"unknown": str(exc)}
    told = {"coverage": known.coverage, "clips": known.clips, "held_out": known.held_out, "judged": known.judged}
    return known, {"file": KIND_FILE, "above": known.bound, **told}


def write_kind(known: KnownKind | None, folder: Path) -> None:
    """Write `kind.npz`, float64: mean (F,), directions (r, F), variances (r,), elsewhere (); none where it is unknown.

    Raises:
        OSError: it can't be written.
    """
    if known is None:
        (folder / KIND_FILE).unlink(missing_ok=True)  # of an earlier export
        return
    kind = known.kind
    with replacing(folder / KIND_FILE) as temporary, temporary.open("wb") as out:
        np.savez(
            out,
            mean=kind.mean,
            directions=kind.directions,
            variances=kind.variances,
            elsewhere=np.array(kind.elsewhere),
        )


def kind_text(unlike: Mapping[str, Any]) -> str:
    """What the card says of it."""
    if "unknown" in unlike:
        return f"`predict.py` can't say whether a video is like those that the model learnt from: {unlike['unknown']}"
    judged = f"{unlike['judged']} validation clips"
    if unlike["held_out"] == "folds":
        judged = f"{unlike['judged']} training clips in folds, each compared with the other folds"
    return (
        "`predict.py` says of a video whether it is like the clips that the model learnt from. It is `unlike` where "
        f"the distance of its features (output `features`; Mahalanobis', to {unlike['clips']} training clips, "
        f"`{KIND_FILE}`) is above {unlike['above']:.4g} standard deviations: {unlike['coverage']:.0%} of clips of "
        f"their kind stay within that, as found on {judged}. The score of a video that is `unlike` means little. It is "
        "a hint, no proof: other clips of the same kind may differ more, and a video that fools the network's features "
        "is called like."
    )
