"""A model's file: written as ONNX or torch.export, opened again as another program would, and kept where it agrees."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import CatalogError
from flows.config import ConfigError
from tasks.engine import progress

if TYPE_CHECKING:
    from models.exportable import InPoints

ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2"}
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
EXPORT_STEPS = 3

Arrays = tuple[NDArray[np.floating], ...]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        difference: largest difference on the checked clips, of any output, relative to the larger of 1 and the
            output's largest value.
        clips: how many clips of the run's pack were compared.
        folder: the folder with the model's card; None where a file alone was asked for.
    """

    path: Path
    description: Path
    format: str
    difference: float
    clips: int
    folder: Path | None

    def as_json(self) -> dict[str, object]:
        """What `tubeflow export --json` prints."""
        folder = None if self.folder is None else str(self.folder)
        return {**self.__dict__, "path": str(self.path), "description": str(self.description), "folder": folder}


def keep_checked(
    run_id: str,
    form: str,
    target: Path,
    write: Callable[[Path], None],
    compare: Callable[[Path], tuple[float, int]],
) -> tuple[float, int]:
    """Write a model's file and keep it where its outputs are the run's; the largest difference, and on how many clips.

    Raises:
        CatalogError: it can't be written in this format, or it differs.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}{ENDINGS[form]}")
    try:
        with quiet():
            progress.report("export", 1, EXPORT_STEPS, "writing the file")
            write(temporary)
            progress.report("export", 2, EXPORT_STEPS, "comparing it with the run")
            difference, clips = compare(temporary)
        if not difference <= TOLERANCE:
            raise CatalogError(
                f"The exported model differs from run '{run_id}' by {difference:.1e}, more than {TOLERANCE:g}; "
                "it was not kept. Try the other --format."
            )
        os.replace(temporary, target)
        progress.report("export", EXPORT_STEPS, EXPORT_STEPS)
    finally:
        temporary.unlink(missing_ok=True)
    return difference, clips


def check_format(form: str) -> None:
    """Raise ConfigError where there is no such format, or packages that it needs are missing."""
    if form not in ENDINGS:
        raise ConfigError(f"There is no format '{form}'; formats: {', '.join(ENDINGS)}.")
    missing = [name for name in ONNX_PACKAGES if form == "onnx" and importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"ONNX needs the packages {', '.join(missing)}; install them with: pip install 'tubeflow[onnx]', "
            "or choose --format torch-export."
        )


def write_model(
    model: InPoints,
    example: Arrays,
    form: str,
    path: Path,
    names: Sequence[str],
    given: Sequence[str],
    dynamic: dict[str, Any] | None = None,
) -> None:
    """Write a model's file: `given` are the names of its inputs, `dynamic` which of their lengths may be others."""
    import torch

    inputs = tuple(torch.from_numpy(array) for array in example)
    try:
        if form == "torch-export":
            torch.export.save(torch.export.export(model, inputs, dynamic_shapes=dynamic), path)
            return
        program = torch.onnx.export(
            model,
            inputs,
            dynamo=True,
            input_names=list(given),
            output_names=list(names),
            dynamic_shapes=dynamic,
            verbose=False,
        )
        assert program is not None
        program.save(path, external_data=False)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as exc:  # what tracing a network raises
        first = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise CatalogError(f"PyTorch can't export this model to {form}: {first}") from exc


def load_model(form: str, path: Path, wanted: Sequence[str]) -> Callable[[Arrays], Arrays]:
    """The file as another program would use it."""
    if form == "torch-export":
        import torch

        program = torch.export.load(path).module()

        def run_torch(inputs: Arrays) -> Arrays:
            with torch.no_grad():
                return tuple(out.numpy() for out in program(*(torch.from_numpy(array) for array in inputs)))

        return run_torch
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = {one.name for one in session.get_inputs()}  # an input without effect is left out of the graph

    def run_onnx(inputs: Arrays) -> Arrays:
        given = {name: array for name, array in zip(wanted, inputs, strict=True) if name in names}
        return tuple(session.run([one.name for one in session.get_outputs()], given))

    return run_onnx


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn about their own insides; what matters is the comparison."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
