"""The base of every stage's configuration."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class StageConfig(BaseModel):
    """Frozen, and a misspelt key is an error instead of vanishing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def key_view(self) -> dict[str, Any]:
        """What of this config enters the keys of artifacts, as JSON values; everything, unless a subclass differs."""
        return self.model_dump(mode="json")
