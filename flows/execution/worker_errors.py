"""What a shard that brought no report died of: its clips, its worker, or the engine.

Only the first two are about clips. Whatever else comes out of a worker would come out for every other clip as well, so
it ends the run.
"""

from __future__ import annotations

from flows.execution.task_runners import ShardFuture
from tasks.engine.errors import EngineError

WORKER_TAKERS = {"KilledWorker", "WorkerCrashedError", "OutOfMemoryError"}
"""Dask's and Ray's word for it: several workers ended, one after the other, while they had this shard."""


def outcome_of(future: ShardFuture) -> object:
    """What a shard returned, or the exception that ended it; waits for it."""
    future.wait()
    try:
        return future.result(raise_on_failure=False)
    except Exception as exc:  # Dask's future raises what ended the worker, whatever was asked
        return exc


def took_its_worker(outcome: object) -> bool:
    """Whether workers ended while they had this shard; the engine has others for the rest."""
    # By name, since Dask and Ray may not be installed.
    return any(kind.__name__ in WORKER_TAKERS and kind.__module__.split(".")[0] in ("distributed", "ray")
               for kind in type(outcome).__mro__)  # fmt: skip


def engine_error(stage: str, outcome: object) -> EngineError:
    """Why the run can't go on, in one sentence."""
    if isinstance(outcome, EngineError):
        return outcome
    name = type(outcome).__name__
    if name == "BrokenProcessPool":
        return EngineError(
            f"A worker process ended while it was at {stage}, as where memory runs out; run again with a smaller "
            "engine.workers. What is done is kept."
        )
    if isinstance(outcome, ImportError):
        return EngineError(
            f"A worker can't load Tubeflow ({outcome}); install the same version, with what it needs, on every machine."
        )
    if name.endswith("CancelledError") or isinstance(outcome, ConnectionError):
        return EngineError(
            f"The cluster was lost while it was at {stage} ({str(outcome).splitlines()[0] if str(outcome) else name}); "
            "start it again, then run the same command to go on. What is done is kept."
        )
    return EngineError(f"{stage} stopped, and no clip is to blame: {name}: {outcome}. What is done is kept.")
