"""How a run behaves: a parameter of every flow, and what the command line's options become."""

from __future__ import annotations

from flows.datasets.ingest import ProceduralSpec
from tasks.engine.config import StageConfig


class RunOptions(StageConfig):
    """How a run behaves; nothing here changes an artifact.

    Attributes:
        strict: end Failed when any clip is quarantined or its tube suspicious.
        where: work on a part of the dataset: an SQL condition on the columns of its clip table.
        clips: work on these clips alone; such a run is a trial, and what a later command takes from "the last run"
            is the last whole one's.
        retry_quarantined: try quarantined clips again.
        verify: read every source and artifact instead of trusting size, time and inode.
        make_procedural: make this procedural dataset first where the workspace has none of the dataset's name.
        report: write the page of a run that was evaluated; its figures are written in any case.
    """

    strict: bool = False
    where: str | None = None
    clips: tuple[str, ...] = ()
    retry_quarantined: bool = False
    verify: bool = False
    make_procedural: ProceduralSpec | None = None
    report: bool = True
