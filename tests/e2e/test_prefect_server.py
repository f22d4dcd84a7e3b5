"""The pipeline as a team runs it: a Prefect server, deployments, a worker, each a real process on loopback."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig, load_config
from flows.datasets.ingest import ingest
from flows.stages import IN_ORDER, STAGE_NAMES, StageName
from tests.support.prefect_server import PrefectServer, serving, working
from tests.support.tiny_workspace import SETTINGS
from tests.support.video_files import numbered_frames, write_video

FLOWS = ("pipeline", "preprocess", "experiment", "stage")
CLIP_STAGES, DATASET_STAGES = STAGE_NAMES[:4], STAGE_NAMES[4:]
SMALL = [*SETTINGS, "train.epochs=1", "engine.shard_clips=2"]
CLIPS = {"make_procedural": {"clips": 4, "size": "320x240"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server that is set up, with every deployment, and a worker."""
    with serving(tmp_path_factory.mktemp("prefect")) as ready:
        succeed(ready.command("flows.cli", "setup"))
        succeed(ready.command("prefect", "--no-prompt", "deploy", "--all"))
        with working(ready):
            yield ready


def succeed(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@dataclass(frozen=True)
class Run:
    """One flow run: what the command said, and what the server knows."""

    command: subprocess.CompletedProcess[str]
    record: dict[str, Any]
    tasks: list[dict[str, Any]]

    @property
    def states(self) -> dict[str, Counter[str]]:
        """How many task runs of each stage ended in which state."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for task in self.tasks:
            counts[task["name"].split()[0]][task["state_name"]] += 1
        return dict(counts)


def run_deployment(server: PrefectServer, name: str, **parameters: Any) -> Run:
    """`prefect deployment run NAME --watch` to its end."""
    given = [word for key, value in parameters.items() for word in ("-p", f"{key}={json.dumps(value)}")]
    before = {run["id"] for run in server.post("/flow_runs/filter")}
    command = server.command("prefect", "deployment", "run", name, "--watch", *given)
    new = [run for run in server.post("/flow_runs/filter") if run["id"] not in before]
    assert len(new) == 1, command.stdout + command.stderr
    tasks = server.post("/task_runs/filter", flow_runs={"id": {"any_": [new[0]["id"]]}})
    return Run(command, new[0], tasks)


def artifacts_of(server: PrefectServer, run: Run) -> dict[str, dict[str, Any]]:
    """What a run shows on its page, by key."""
    found = server.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run.record["id"]]}})
    return {one["key"]: one for one in found}


@pytest.fixture(scope="module")
def demo(server: PrefectServer) -> Run:
    """The first run on an empty workspace."""
    return run_deployment(server, "pipeline/demo", overrides=SMALL, options=CLIPS)


def test_demo_draws_clips_and_ends_completed(server: PrefectServer, demo: Run) -> None:
    log = (server.folder / "worker.log").read_text()
    assert demo.command.returncode == 0, demo.command.stdout + log
    assert "Completed" in demo.command.stdout
    assert demo.record["state_name"] == "Completed"
    assert demo.record["state"]["message"].startswith("completed: ")
    assert Path(demo.record["state"]["message"].removeprefix("completed: ")).is_file()
    expected = {stage: Counter(Completed=2) for stage in CLIP_STAGES}
    expected |= {stage: Counter(Completed=1) for stage in DATASET_STAGES}
    assert demo.states == expected


def test_the_run_page_shows_stages_metrics_and_tubes(server: PrefectServer, demo: Run) -> None:
    artifacts = artifacts_of(server, demo)
    kinds = {key: one["type"] for key, one in artifacts.items()}
    tables = dict.fromkeys(("stages", "metrics", "tubes"), "table")
    assert kinds == tables | {"tube-pictures": "image", "progress": "progress"}
    assert float(artifacts["progress"]["data"]) == 100
    never = "normalize, detect, track, masks, pack, train, evaluate were never run with these settings"
    assert artifacts["progress"]["description"] == f"How long it takes is not known: {never}.\n\nDone."
    stages = json.loads(artifacts["stages"]["data"])
    assert [(row["stage"], row["clips"]) for row in stages][:4] == [(stage, 4) for stage in CLIP_STAGES]
    tubes = json.loads(artifacts["tubes"]["data"])
    assert sorted(row["clip"] for row in tubes) == [f"diving_{n:04d}" for n in range(4)]
    assert [row["suspicion"] for row in tubes] == sorted((row["suspicion"] for row in tubes), reverse=True)
    kind, _, picture = artifacts["tube-pictures"]["data"].partition(";base64,")
    shown = Image.open(io.BytesIO(base64.b64decode(picture)))
    assert kind in ("data:image/png", "data:image/jpeg")
    assert (shown.width, shown.height > 4 * 60) == (1100, True)
    file = Path(artifacts["tube-pictures"]["description"].split("the file is ")[1])
    assert Image.open(file).width >= shown.width


def test_second_run_shows_cached_stages(server: PrefectServer, demo: Run) -> None:
    again = run_deployment(server, "pipeline/demo", overrides=SMALL)
    assert again.command.returncode == 0
    assert set(again.states) == set(STAGE_NAMES)
    assert all(set(states) == {"Cached"} for states in again.states.values()), again.states
    hits = [task["state"]["message"] for task in again.tasks if task["name"].startswith("normalize")]
    assert sum(int(message.split(": ")[1].split()[0]) for message in hits) == 4


def test_one_stage_again_with_an_override(server: PrefectServer, demo: Run) -> None:
    again = run_deployment(server, "stage/demo", stage="masks", overrides=[*SMALL, "masks.tau=0.7"])
    assert again.command.returncode == 0
    assert again.states == {"masks": Counter(Completed=2)}
    assert again.record["name"] == "masks demo"


def test_bad_clip_is_a_row_on_the_run_page(server: PrefectServer, demo: Run, tmp_path: Path) -> None:
    write_video(tmp_path / "good.mp4", numbered_frames(30))
    (tmp_path / "torn.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:600])
    rows = [f"{name},{name}.mp4,train,1.0,8,8,20,20" for name in ("good", "torn")]
    labels = tmp_path / "labels.csv"
    labels.write_text("clip_id,video,split,score,x,y,w,h\n" + "\n".join(rows) + "\n")
    ingest(Workspace.open(server.folder / "workspace"), "spoiled", "folder", tmp_path, labels)

    run = run_deployment(server, "stage/demo", stage="normalize", dataset="spoiled", overrides=SMALL)
    assert run.record["state_name"] == "Completed"
    assert run.record["state"]["message"].startswith("completed with 1 quarantined")
    artifacts = artifacts_of(server, run)
    assert {key: one["type"] for key, one in artifacts.items()} == {
        "quarantined": "table",
        "stages": "table",
        "progress": "progress",
    }
    (row,) = json.loads(artifacts["quarantined"]["data"])
    assert (row["clip"], row["stage"]) == ("torn", "normalize")
    assert "torn.mp4" in row["reason"]
    assert row["remedy"]
    logs = server.post("/logs/filter", logs={"flow_run_id": {"any_": [run.record["id"]]}})
    assert [log["name"] for log in logs if "'torn' quarantined" in log["message"]] == ["tasks.engine.failures"]


def test_forms_show_the_demo_preset_and_refuse_what_cannot_be(server: PrefectServer) -> None:
    deployments = {flow: server.get(f"/deployments/name/{flow}/demo") for flow in FLOWS}
    for flow, deployment in deployments.items():
        schema = deployment["parameter_openapi_schema"]
        sections = schema["definitions"]["PipelineConfig"]["properties"]
        assert set(sections) == set(PipelineConfig.model_fields), flow
        assert PipelineConfig.model_validate(deployment["parameters"]["config"]) == load_config("demo")
        assert deployment["parameters"]["workspace"] == str(server.folder / "workspace")
        assert deployment["work_pool_name"] == "tubeflow"
    choice = deployments["stage"]["parameter_openapi_schema"]["properties"]["stage"]
    assert tuple(choice["enum"]) == get_args(StageName) == IN_ORDER
    refused = server.command("prefect", "deployment", "run", "stage/demo", "-p", "stage=trak")
    assert refused.returncode == 1
    assert "'trak' is not one of" in " ".join(refused.stdout.split())


@pytest.mark.slow
def test_failed_runs_say_why_in_a_sentence(server: PrefectServer, demo: Run) -> None:
    lost = run_deployment(server, "stage/demo", stage="masks", workspace="relative/path")
    assert (lost.command.returncode, lost.record["state_name"]) == (1, "Failed")
    assert lost.record["state"]["message"].startswith("A worker needs the whole path of the workspace")
    misspelt = run_deployment(server, "stage/demo", stage="masks", overrides=["masks.tua=0.7"])
    assert "did you mean 'masks.tau'" in misspelt.record["state"]["message"]
    unknown = run_deployment(server, "preprocess/demo", dataset="nowhere", options={})
    assert "nowhere" in unknown.record["state"]["message"]


@pytest.mark.slow
def test_preprocess_and_experiment_share_the_artifacts(server: PrefectServer, demo: Run) -> None:
    prepared = run_deployment(server, "preprocess/demo", overrides=SMALL)
    assert prepared.states.keys() == set(STAGE_NAMES[:5])
    trained = run_deployment(server, "experiment/demo", overrides=[*SMALL, "train.seed=1"])
    assert trained.states == {"train": Counter(Completed=1), "evaluate": Counter(Completed=1)}
