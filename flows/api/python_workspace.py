"""`tubeflow.Workspace`: the commands as methods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data_catalog import notices
from data_catalog.catalog import Workspace as Folders
from flows.api.clip_arrays import Masks, Tubes
from flows.api.exceptions import told_in_sentences
from flows.api.notebook import notebook_bars, report_waiting
from flows.api.returned import CompareResult, IngestResult, PlanResult, PredictResult, RunResult
from flows.config import PipelineConfig, load_config
from flows.datasets.ingest import procedural_spec
from flows.runs.command_line import said_as
from flows.stages import PREPROCESS, Selection

if TYPE_CHECKING:
    import pandas as pd

    from flows.inference.predict_videos import Box
    from flows.runs.clip_tube import ClipTube
    from flows.runs.summary import RunSummary

NO_SETTINGS: Mapping[str, object] = {}
PathLike = str | Path


class Workspace:
    """A workspace: the folder with everything that Tubeflow knows and made.

    Every method does what the command of its name does, with the same files, and raises `TubeflowError` with the
    sentences of that command. In a notebook what takes long shows its progress.

    Args:
        path: the folder; made by the first method that writes.
        progress: whether to show the progress of what takes long.

    Raises:
        TubeflowError: there is a file of this name.
    """

    def __init__(self, path: PathLike = "workspace", *, progress: bool = True) -> None:
        self.path = Path(path).absolute()
        self._progress = progress
        self._read()

    def __repr__(self) -> str:
        return f"Workspace({str(self.path)!r})"

    @told_in_sentences
    def ingest(
        self,
        name: str,
        videos: PathLike,
        labels: PathLike | None = None,
        adapter: str = "folder",
        steps: PathLike | None = None,
        poses: PathLike | None = None,
    ) -> IngestResult:
        """Read a dataset folder into the catalog, replacing an older dataset of that name.

        Args:
            name: what the dataset is called in the workspace.
            videos: folder that holds the videos, or features.
            labels: label file; by default inside the folder.
            adapter: layout of the folder: folder, features, poses, procedural, aqa7, mtl_aqa, fr_fs or finediving.
            steps: table of the clips' steps; by default steps.csv beside the labels, where there is one.
            poses: folder with a file of poses for each clip, CLIP.json or CLIP.npy.

        Raises:
            TubeflowError: nothing could be read.
        """
        from flows.datasets.dataset_records import ingest_and_compare

        with self._showing():
            places = [Path(path) if path is not None else None for path in (labels, steps, poses)]
            record = ingest_and_compare(self._open(), name, adapter, Path(videos), *places)
        notices.told(record.remarks)
        return IngestResult.of(record)

    @told_in_sentences
    def make_procedural(
        self,
        name: str,
        kind: Literal["diving", "sync_diving", "skating"] = "diving",
        clips: int = 60,
        *,
        seed: int = 0,
        size: Literal["640x360", "320x240", "mixed"] = "mixed",
        workers: int = 1,
    ) -> pd.DataFrame:
        """Draw a procedural dataset with its ground truth and ingest it.

        Args:
            name: what the dataset is called in the workspace.
            kind: what is drawn.
            clips: how many; every fourth is for testing.
            seed: of everything random.
            size: width and height of the videos in pixels.
            workers: processes that draw; with several, a script has to be guarded by `if __name__ == "__main__":`.

        Returns:
            Its clip table, see `clips`.

        Raises:
            TubeflowError: there is no such kind or size, or the name can't be used.
        """
        from flows.datasets.ingest import make_procedural

        spec = procedural_spec(kind=kind, clips=clips, seed=seed, size=size)
        with self._showing():
            make_procedural(self._open(), name, spec, workers=workers)
        return self.clips(name)

    @told_in_sentences
    def clips(self, dataset: str) -> pd.DataFrame:
        """The clip table of a dataset, corrections included; `tubeflow catalog schema clips` explains its columns.

        Raises:
            TubeflowError: the workspace has no such dataset.
        """
        table: pd.DataFrame = self._read().datasets.table(dataset).to_pandas()
        return table

    @told_in_sentences
    def query(self, sql: str) -> pd.DataFrame:
        """The answer to one SQL SELECT over the catalog's tables, see `tubeflow catalog schema`.

        Raises:
            TubeflowError: it isn't one SELECT, or is wrong.
        """
        from data_catalog.query import query

        table: pd.DataFrame = query(self._read(), sql).to_pandas()
        return table

    @told_in_sentences
    def plan(
        self,
        preset: str,
        dataset: str,
        *,
        settings: Mapping[str, object] = NO_SETTINGS,
        only: str | None = None,
        start: str | None = None,
        until: str | None = None,
        where: str | None = None,
        clips: Sequence[str] = (),
    ) -> PlanResult:
        """Say what `run` would do with the same arguments, and why, and do nothing.

        Raises:
            TubeflowError: there is no such preset, dataset, setting, stage or clip.
        """
        from flows.maintenance.run_plan import plan_run

        selection = Selection.of(only, start, until)
        planned = plan_run(self._read(), dataset, _configured(preset, settings), selection, where, tuple(clips))
        return PlanResult.of(dataset, planned)

    @told_in_sentences
    def run(
        self,
        preset: str,
        dataset: str,
        *,
        settings: Mapping[str, object] = NO_SETTINGS,
        only: str | None = None,
        start: str | None = None,
        until: str | None = None,
        where: str | None = None,
        clips: Sequence[str] = (),
        retry_quarantined: bool = False,
        verify: bool = False,
    ) -> RunResult:
        """Run the pipeline on a dataset; what is already there is not made again.

        Args:
            preset: a preset's name, or a YAML file.
            dataset: name of the dataset in the workspace.
            settings: fields to change, by name: `{"masks.tau": 0.3}`.
            only: run this stage alone.
            start: run from this stage on.
            until: run up to and with this stage.
            where: only the clips for which this condition in SQL holds.
            clips: only the clips of these ids.
            retry_quarantined: try quarantined clips again.
            verify: read every source and artifact again.

        Raises:
            TubeflowError: the run can't be begun. Clips that fail are in the result instead.
        """
        from flows.execution.run_options import RunOptions
        from flows.local_run import run_pipeline

        options = RunOptions(where=where, clips=tuple(clips), retry_quarantined=retry_quarantined, verify=verify)
        config = _configured(preset, settings)
        selection = Selection.of(only, start, until)
        with said_as(f"tubeflow.Workspace(…).run({preset!r}, {dataset!r}, settings={dict(settings)!r})"):
            summary = run_pipeline(config, dataset, self.path, selection, options, self._showing, report_waiting)
        notices.told(summary.notes)
        return RunResult.of(summary)

    @told_in_sentences
    def predictions(self, run: str = "last") -> pd.DataFrame:
        """What a run predicted of its own clips: weights, clip_id, split, action, true, predicted, segment_0, ….

        Raises:
            TubeflowError: there is no such run, or it evaluated nothing.
        """
        from flows.runs.finished import find_run

        return find_run(self._read(), run).predictions()

    @told_in_sentences
    def tubes(
        self,
        clip: str,
        dataset: str | None = None,
        *,
        preset: str | None = None,
        settings: Mapping[str, object] = NO_SETTINGS,
    ) -> Tubes:
        """A clip's tubes, one an athlete, as arrays; in a notebook its contact sheet.

        Args:
            clip: the clip's id.
            dataset: needed where two datasets have it.
            preset: config; by default that of the dataset's last run.
            settings: fields to change, by name.

        Raises:
            TubeflowError: there is no such clip, or its tubes aren't made yet.
        """
        return Tubes.of(self._clip(clip, dataset, preset, settings)[0])

    @told_in_sentences
    def masks(
        self,
        clip: str,
        dataset: str | None = None,
        *,
        preset: str | None = None,
        settings: Mapping[str, object] = NO_SETTINGS,
    ) -> Masks:
        """A clip's tube mask and coverage as arrays; arguments as of `tubes`.

        Raises:
            TubeflowError: there is no such clip, or its masks aren't made yet.
        """
        tube, config = self._clip(clip, dataset, preset, settings)
        return Masks.of(tube, tuple(config.masks.starts), config.masks.segment_length)

    @told_in_sentences
    def predict(
        self,
        videos: PathLike | Sequence[PathLike],
        *,
        run: str = "last",
        boxes: Sequence[Sequence[Box]] = (),
        action: str | None = None,
        difficulty: float | None = None,
        weights: str = "last",
        settings: Mapping[str, object] = NO_SETTINGS,
        out: PathLike | None = None,
    ) -> PredictResult:
        """Score new videos with the weights of a run, and draw each one's tube into an MP4.

        Args:
            videos: video files or folders of images; feature files for a run on them.
            run: run_id, or `last` for the newest that was evaluated.
            boxes: for each video its athletes in the first frame: (x, y, w, h) in pixels of the video.
            action: which action, where the run knows several.
            difficulty: degree of difficulty, where the run needs it.
            weights: `last` or `best` epoch of the run.
            settings: another detector or tracker, by name of the field.
            out: folder of the MP4s; by default the run's folder of predictions in the workspace.

        Raises:
            TubeflowError: nothing can be scored. Videos that fail are in the result instead.
        """
        from flows.inference.predict import predict
        from flows.inference.predict_videos import Request, check_boxes

        paths = [videos] if isinstance(videos, str | Path) else videos
        request = Request(
            tuple(map(Path, paths)), check_boxes(boxes, len(paths)), action, difficulty, weights
        )
        folder = Path(out) if out is not None else None
        with said_as(f"tubeflow.Workspace(…).predict(…, run={run!r})"), self._showing():
            found = predict(self._open(), run, request, _words(settings), folder, self._preprocess)
        return PredictResult.of(found)

    @told_in_sentences
    def compare(
        self,
        *names: str,
        weights: str = "last",
        split: str = "test",
        repetitions: int = 2000,
        baseline: str | None = None,
    ) -> CompareResult:
        """Put runs beside each other and beside published figures, with intervals and paired tests.

        Args:
            names: run_ids, experiment_ids, or `last`; the first is the baseline.
            weights: `last` or `best` epoch.
            split: which split's clips.
            repetitions: bootstrap draws and permutations.
            baseline: the label of the row that others are compared with, where it isn't the first.

        Raises:
            TubeflowError: they can't be compared.
        """
        from flows.experiments.compare import Question, compare

        with self._showing():
            record = compare(self._read(), names, Question(weights, split, repetitions, baseline))
        notices.told(record["notes"])
        return CompareResult.of(record)

    @told_in_sentences
    def _read(self) -> Folders:
        """The workspace as it is on the disk now."""
        return Folders(self.path)

    def _open(self) -> Folders:
        """The workspace to be written to, made where there is none."""
        return Folders.open(self.path)

    def _showing(self) -> AbstractContextManager[None]:
        return notebook_bars() if self._progress else nullcontext()

    def _clip(
        self, clip: str, dataset: str | None, preset: str | None, settings: Mapping[str, object]
    ) -> tuple[ClipTube, PipelineConfig]:
        from flows.runs.clip_tube import find_clip

        tube, _, config = find_clip(self._read(), clip, dataset, preset, _words(settings))
        return tube, config

    def _preprocess(self, config: PipelineConfig, dataset: str, workspace: Path) -> RunSummary:
        from flows.local_run import run_pipeline

        return run_pipeline(config, dataset, workspace, PREPROCESS, showing=nullcontext, waiting=report_waiting)


def _configured(preset: str, settings: Mapping[str, object]) -> PipelineConfig:
    return load_config(preset, _words(settings))


def _words(settings: Mapping[str, object]) -> list[str]:
    """Settings as the command line has them: `section.field=value`."""
    return [f"{name}={json.dumps(value, default=str)}" for name, value in settings.items()]
