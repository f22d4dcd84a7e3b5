"""What can be wrong with one clip, and with what runs them all."""

from data_catalog.errors import CatalogError


class BadClip(Exception):
    """A clip that no retry will mend: it is quarantined, the others go on.

    Args:
        reason: one plain sentence naming the clip or file and what is wrong with it.
        remedy: what the user can do about it, as an imperative sentence.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason} {remedy}")
        self.reason = reason
        self.remedy = remedy


class EngineError(CatalogError):
    """The run can't go on, and no clip is to blame: it ends with this sentence, and what is done is kept."""
