"""Correcting labels and starting runs from the pages."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.config import load_config, validate_config
from flows.console import progress_lines
from flows.datasets.ingest import ingest
from flows.execution.prefect_setup import TAG
from flows.execution.run_options import RunOptions
from flows.runs.last import last_config
from flows.stages import STAGE_NAMES
from flows.view.jobs import STOPPED, Jobs, RerunJob
from flows.view.plans import rerun
from flows.view.prefect_runs import FLOW
from tasks.engine import progress
from tests.support.prefect_server import PrefectServer
from tests.support.tiny_workspace import DATASET, copy_workspace, run
from tests.support.view_pages import Pages, clip_name, pages_of

CLIP = {"dataset": DATASET, "clip": clip_name(1)}


@pytest.fixture
def pages(finished_workspace: Path, tmp_path: Path) -> Iterator[Pages]:
    with pages_of(copy_workspace(finished_workspace, tmp_path / "ws")) as found:
        yield found


def test_a_box_is_kept_with_its_history_and_says_what_follows(pages: Pages) -> None:
    old = pages.clip(1)["labels"]["boxes"]
    answer = pages.post("/api/labels", CLIP | {"boxes": [[57, 32, 114, 96]]})
    (edit,) = answer["edits"]
    assert (edit["field"], edit["old"], edit["new"]) == ("boxes", old, [[80, 60, 80, 120]])  # 228x128 in 320x240
    assert [one["state"] for one in answer["plan"]["stages"]] == ["hit", "missing", "missing", "missing"]
    assert [one["scope"] for one in answer["plan"]["commands"]] == ["clip", "all"]
    for one in answer["plan"]["commands"]:
        assert one["time"].startswith("About "), "the workspace has run with these settings before"
    clip = pages.clip(1)
    assert clip["label_boxes"] == [[57, 32, 114, 96]]
    assert clip["history"] == answer["edits"]
    assert clip["row"]["state"] == "missing"
    assert clip["tube"] is None
    assert pages.post("/api/labels", CLIP | {"boxes": [[57, 32, 114, 96]]})["edits"] == []  # it is so already


def test_taking_back_leaves_nothing_to_do(pages: Pages) -> None:
    (edit,) = pages.post("/api/labels", CLIP | {"boxes": [[57, 32, 114, 96]]})["edits"]
    answer = pages.post("/api/labels", CLIP | {"source_boxes": edit["old"]})
    assert answer["plan"]["commands"] == []
    assert len(pages.clip(1)["history"]) == 2
    assert pages.clip(1)["row"]["state"] == "done"


def test_a_second_athlete_is_followed_too(pages: Pages) -> None:
    first = pages.clip(1)["label_boxes"][0]
    pages.post("/api/labels", CLIP | {"boxes": [first, [150, 40, 190, 100]]})
    run(pages.state.root, selected=("detect", "track", "masks"))
    tube = pages.clip(1)["tube"]
    assert tube["athletes"] == 2
    assert tube["quads"][1][0][0] == pytest.approx([150, 40], abs=0.02)


def test_another_detection_becomes_the_athlete(pages: Pages) -> None:
    pages.post("/api/labels", CLIP | {"boxes": [[10, 10, 60, 90], [120, 30, 170, 110]]})
    run(pages.state.root, selected=("detect", "track", "masks"))
    assert len(pages.clip(1)["detections"]["boxes"]) == 2
    answer = pages.post("/api/labels", CLIP | {"detections": [1]})
    assert answer["edits"][0]["new"] == [pytest.approx([168.42, 56.25, 70.18, 150], abs=0.02)]
    pages.post("/api/labels", CLIP | {"detections": [7]}, status=409)


def test_a_bad_clip_is_left_out_and_comes_back(pages: Pages) -> None:
    answer = pages.post("/api/labels", CLIP | {"bad": True})
    assert answer["plan"]["note"] == "This clip is marked bad; runs leave it out."
    assert [one["scope"] for one in answer["plan"]["commands"]] == ["all"]
    assert answer["plan"]["dataset"][0]["why"] == "1 clip left out"
    assert pages.clip(1)["row"]["state"] == "bad"
    assert pages.clip(1)["tube"] is not None  # it can still be looked at
    assert pages.post("/api/labels", CLIP | {"bad": False})["plan"]["commands"] == []


def test_a_cut_is_in_frames_of_the_video(pages: Pages) -> None:
    answer = pages.post("/api/labels", CLIP | {"start_frame": 4, "end_frame": 40})
    assert [(edit["field"], edit["new"]) for edit in answer["edits"]] == [("start_frame", 4), ("end_frame", 40)]
    assert answer["plan"]["stages"][0]["state"] == "missing"
    back = pages.post("/api/labels", CLIP | {"start_frame": None, "end_frame": None})
    assert back["plan"]["commands"] == []
    empty = pages.post("/api/labels", CLIP | {"start_frame": 9, "end_frame": 9}, status=409)
    assert "above start_frame" in empty["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"boxes": [[50, 50, 40, 60]]}, 409),
        ({"boxes": [[500, 10, 520, 40]]}, 409),
        ({"boxes": [[1, 2, 3]]}, 422),
        ({"boxes": [["a", 2, 3, 4]]}, 422),
        ({"boxes": [[1e9, 2, 3, 4]]}, 422),
        ({"boxes": [[10, 10, 10 + 1e-9, 60]]}, 409),
        ({"boxes": [[10, 10, 60, 10.5]]}, 409),
        ({"boxes": [[-500, -500, 900, 900]]}, 409),
        ({"boxes": [[200, 10, 240, 60]]}, 409),  # the frame is 228 wide
        ({"source_boxes": [[400, 10, 20, 20]]}, 409),
        ({"source_boxes": [[10, 10, 1e-9, 20]]}, 409),
        ({"source_boxes": [[10, 10, -5, 20]]}, 409),
        ({"boxes": [["10", 10, 60, 60]]}, 422),
        ({"boxes": [[True, 10, 60, 60]]}, 422),
        ({"source_boxes": [["10", "10", "60", "60"]]}, 422),
        ({"detections": [True]}, 422),
        ({"detections": ["0"]}, 422),
        ({"bad": "true"}, 422),
        ({"bad": 1}, 422),
        ({"start_frame": "3"}, 422),
        ({"start_frame": True}, 422),
        ({"start_frame": 3.0}, 422),
        ({"end_frame": 100_000}, 409),
        ({"start_frame": 100_000, "end_frame": None}, 409),
        ({"bad": True, "reason": "red \x1b[31m"}, 409),
        ({"bad": True, "reason": "two\nlines"}, 409),
        ({"bad": True, "reason": 5}, 422),
        ({"boxes": [[0, 0, 9, 9]] * 17}, 422),
        ({"boxes": [[0, 0, 9, 9]], "detections": [0]}, 409),
        ({"bad": "perhaps"}, 422),
        ({"start_frame": -1}, 422),
        ({"start_frame": 1.5}, 422),
        ({"score": 5}, 422),
        ({}, 409),
        ({"clip": "nobody", "bad": True}, 404),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(pages: Pages, body: dict[str, Any], status: int) -> None:
    assert pages.post("/api/labels", CLIP | body, status=status)["error"].endswith(".")
    assert pages.workspace.datasets.edits(DATASET).read() == []


def test_text_that_is_no_json_is_refused(pages: Pages) -> None:
    headers = {"x-tubeflow-csrf": pages.access.csrf, "content-type": "application/json"}
    for text in (b"{", b"", b"[]", b'{"boxes": [[NaN, 0, 1, 1]]}', b"\xff\xfe"):
        assert pages.client.post("/api/labels", content=text, headers=headers).status_code == 422


# -- runs


def ended(get: Callable[[], dict[str, Any]], seconds: float = 120) -> dict[str, Any]:
    """The job, once it is no longer running."""
    limit = time.monotonic() + seconds
    while (job := get())["state"] == "running":
        assert time.monotonic() < limit, job
        time.sleep(0.05)
    return job


def test_a_job_is_the_command_itself(tmp_path: Path, finished_workspace: Path) -> None:
    """A quick command stands for a run: its words, its output, its end."""
    jobs, called = Jobs(), []
    words = ["tubeflow", "datasets", "list", "--json", "--workspace", str(finished_workspace)]
    job = jobs.start_local(RerunJob("local", DATASET, "", "all", ""), words, lambda: called.append(True))
    assert job.command == " ".join(words)
    told = ended(job.as_json)
    assert (told["state"], called) == ("done", [True])
    assert json.loads(told["lines"][-1])[0]["name"] == DATASET


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    jobs = Jobs()
    words = ["tubeflow", "plan", "demo", "--dataset", "none", "--workspace", str(tmp_path)]
    told = ended(jobs.start_local(RerunJob("local", "none", "", "all", ""), words, lambda: None).as_json)
    assert told["state"] == "failed"
    assert "has no dataset 'none'" in told["message"]


def test_one_run_of_a_dataset_at_a_time_and_it_can_be_stopped(pages: Pages) -> None:
    pages.post("/api/labels", CLIP | {"boxes": [[57, 32, 114, 96]]})
    job = pages.post("/api/rerun", CLIP | {"scope": "clip"}, status=202)
    assert job["command"] == pages.get("/api/plan", **CLIP)["commands"][0]["command"]
    assert pages.post("/api/rerun", CLIP | {"scope": "all"}, status=409)["error"].startswith("A run of dataset")
    assert pages.get("/api/jobs")[0]["id"] == job["id"]
    pages.post(f"/api/jobs/{job['id']}/cancel", {})
    told = ended(lambda: pages.get(f"/api/jobs/{job['id']}"), 30)
    assert (told["state"], told["message"]) == ("cancelled", STOPPED)
    assert pages.get("/api/jobs/none", status=404)


def test_the_server_stops_its_runs_when_it_ends(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "ws")
    with pages_of(root) as pages:
        pages.post("/api/labels", CLIP | {"boxes": [[57, 32, 114, 96]]})
        others = set(children())
        pages.post("/api/rerun", CLIP | {"scope": "clip"}, status=202)
        (process,) = set(children()) - others
        deadline = time.monotonic() + 20  # between fork and exec it has no words of its own
        while b"flows.cli" not in cmdline(process) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert b"flows.cli" in cmdline(process)
    assert not Path(f"/proc/{process}").exists() or b"flows.cli" not in cmdline(process)


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children()]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_dataset_without_a_config_has_no_command(pages: Pages, tiny_videos: Path) -> None:
    ingest(pages.workspace, "fresh", "procedural", tiny_videos)
    answer = pages.post("/api/rerun", {"dataset": "fresh", "clip": clip_name(0), "scope": "clip"}, status=409)
    assert "never run" in answer["error"]


def test_prefect_is_asked_only_where_a_server_is_configured(pages: Pages) -> None:
    body = CLIP | {"scope": "clip", "via": "prefect"}
    assert pages.post("/api/rerun", body, status=409)["error"].startswith("No Prefect server is named")


def test_a_configured_server_gets_the_same_run(pages: Pages, prefect_server: PrefectServer) -> None:
    """A real server with a deployment and no worker: the run waits there, with everything that it needs."""
    body = CLIP | {"scope": "clip", "via": "prefect"}
    pages.post("/api/labels", CLIP | {"boxes": [[57, 32, 114, 96]]})
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        lacking = pages.get("/api/session")["rerun"]["prefect"]
        assert (lacking["server"], lacking["deployment"]) == (prefect_server.url, None)
        assert "no deployment" in pages.post("/api/rerun", body, status=409)["error"]
        flow = prefect_server.post("/flows/", name=FLOW)
        prefect_server.post("/deployments/", name="demo", flow_id=flow["id"], tags=[TAG])
        assert pages.get("/api/session")["rerun"]["prefect"]["deployment"] == f"{FLOW}/demo"
        job = pages.post("/api/rerun", body, status=202)
        run_id = job["url"].rpartition("/")[2]
        asked = prefect_server.get(f"/flow_runs/{run_id}")["parameters"]
        prefect_server.post(f"/flow_runs/{run_id}/set_state", state={"type": "CANCELLED"}, force=True)
        told = ended(lambda: pages.get(f"/api/jobs/{job['id']}"), 60)
    assert told["state"] == "cancelled"
    assert (asked["dataset"], asked["until"]) == (DATASET, "masks")
    assert asked["options"] == {"clips": [clip_name(1)]}
    assert asked["workspace"] == str(pages.state.root)
    assert validate_config(asked["config"]) == last_config(pages.workspace, DATASET)


def test_progress_is_told_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines():
        progress.report("track", 0, 5)
        for done in range(1, 5):
            progress.report("track", done, None)
        progress.report("track", 5, 5)
    lines = [json.loads(line)["progress"] for line in capsys.readouterr().err.splitlines()]
    assert (lines[0]["stage"], lines[0]["done"], lines[0]["total"]) == ("track", 0, 5)
    assert lines[0]["left"] is None, "nothing was measured yet"
    assert lines[-1]["done"] == 5
    assert len(lines) < 6  # a few a second
    assert lines[-1]["left"] == 0


def test_a_forecast_is_told_as_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines():
        progress.expect(progress.Forecast({"track": 60.0, "train": 30.0}, "About 90 seconds."))
        progress.report("track", 0, 5)
    (line,) = (json.loads(line)["progress"] for line in capsys.readouterr().err.splitlines())
    assert line["left"] == pytest.approx(90, abs=5)


@pytest.mark.slow
def test_a_box_is_corrected_run_again_and_scored(pages: Pages) -> None:
    """The whole way, with the real command in a process of its own."""
    before = pages.clip(1)["tube"]["quads"]
    pages.post("/api/labels", CLIP | {"boxes": [[57, 32, 114, 96]]})
    assert pages.get("/api/score", status=409, **CLIP)["error"]
    job = pages.post("/api/rerun", CLIP | {"scope": "clip"}, status=202)
    told = ended(lambda: pages.get(f"/api/jobs/{job['id']}"), 240)
    assert told["state"] == "done", told
    clip = pages.clip(1)
    assert clip["row"]["state"] == "done"
    assert clip["tube"]["quads"] != before
    assert clip["tube"]["quads"][0][0][0] == pytest.approx([57, 32], abs=0.02)
    assert len(clip["variants"]) == 2
    assert pages.get("/api/score", **CLIP)["score"] is not None


def test_the_command_and_the_parameters_are_one_run(pages: Pages) -> None:
    """What a Prefect server is asked for is what the command's own words come to."""
    for clip in (clip_name(1), None):
        wanted = rerun(pages.state.current(), DATASET, clip)
        words, asked = wanted.words(), wanted.parameters()
        assert json.loads(json.dumps(asked)) == asked  # a server takes JSON
        options = RunOptions.model_validate(asked["options"])
        assert options == wanted.options
        assert [words[n + 1] for n, word in enumerate(words) if word == "--clip"] == list(options.clips)
        until = words[words.index("--until") + 1] if "--until" in words else STAGE_NAMES[-1]
        assert asked["until"] == until == ("masks" if clip else STAGE_NAMES[-1])
        overrides = [words[n + 1] for n, word in enumerate(words) if word == "-o"]
        assert load_config(words[2], overrides) == validate_config(asked["config"])
