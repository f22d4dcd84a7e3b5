"""The base of every stage's configuration."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, field_validator

LARGEST = 2**63 - 1


class StageConfig(BaseModel):
    """Frozen, and a misspelt key is an error instead of vanishing.

    Attributes:
        added: fields that came later, each with the value that means what was done before it was there. At that value
            a field enters no key, so that artifacts made earlier stay valid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    added: ClassVar[Mapping[str, Any]] = {}

    @field_validator("*")
    @classmethod
    def _fits_into_64_bits(cls, value: object) -> object:
        """PyTorch and the catalog take no larger ones, and would say so hours later."""
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError(f"a whole number is at most {LARGEST}")
        return value

    def key_view(self) -> dict[str, Any]:
        """What of this config enters the keys of artifacts, as JSON values; a subclass may leave out more."""
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if name not in self.added or value != self.added[name]}
