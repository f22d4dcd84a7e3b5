"""The base of every stage's configuration."""

from pydantic import BaseModel, ConfigDict


class StageConfig(BaseModel):
    """Frozen, and a misspelt key is an error instead of vanishing."""

    model_config = ConfigDict(frozen=True, extra="forbid")
