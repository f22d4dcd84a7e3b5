"""What became of the jobs of one shard, and how that comes back from another process."""

from __future__ import annotations

from dataclasses import dataclass, field

from data_catalog.tables.index import Record
from data_catalog.tables.quarantine import QuarantineRow
from tasks.engine.failures import Failure


@dataclass
class ShardReport:
    """What became of the jobs of one shard."""

    stage: str
    hits: int = 0
    made: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    quarantined: list[QuarantineRow] = field(default_factory=list)
    troubles: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> set[str]:
        """Clips that have no artifact after this shard."""
        return {row.clip_id for row in self.quarantined} | {trouble.clip_id for trouble in self.troubles}


class IOFailure(OSError):
    """Reading or writing failed for some clips of a shard; carries what was done, and Prefect retries."""

    def __init__(self, report: ShardReport) -> None:
        super().__init__(report.troubles[0].reason)
        self.report = report

    def __reduce__(self) -> tuple[type[IOFailure], tuple[ShardReport]]:
        return type(self), (self.report,)  # so that it comes back whole from another process
