"""The Python API: what `import tubeflow` offers. It calls what the commands call, and returns tables and arrays."""

import flows.quiet  # noqa: F401  # isort: skip  # before anything that imports Prefect

from flows.api.clip_arrays import Masks, Tubes
from flows.api.exceptions import TubeflowError
from flows.api.python_workspace import Workspace
from flows.api.returned import CompareResult, IngestResult, PlanResult, PredictResult, RunResult

__all__ = [
    "CompareResult",
    "IngestResult",
    "Masks",
    "PlanResult",
    "PredictResult",
    "RunResult",
    "TubeflowError",
    "Tubes",
    "Workspace",
]
