"""The gallery's routes on a workspace where the whole pipeline ran."""

import math
import time
from pathlib import Path

from flows.datasets.labels import set_labels
from flows.runs.last import last_config, last_where
from flows.view.state import ViewState, fingerprint
from tests.support.tiny_workspace import DATASET, new_workspace, plan, run
from tests.support.view_pages import Pages, clip_name, pages_of


def names(pages: Pages, **filters: object) -> list[str]:
    return [row["clip"] for row in pages.get("/api/clips", **filters)["rows"]]


def test_the_session_says_what_there_is(pages: Pages, finished_workspace: Path) -> None:
    session = pages.get("/api/session")
    assert session["workspace"] == str(finished_workspace)
    assert session["stages"] == ["normalize", "detect", "track", "masks"]
    (dataset,) = session["datasets"]
    assert (dataset["name"], dataset["clips"], dataset["config"], dataset["note"]) == (DATASET, 4, True, None)
    assert session["rerun"] == {"local": True, "prefect": {"server": None, "deployment": None, "note": None}}


def test_rows_say_what_is_known_of_each_clip(pages: Pages) -> None:
    answer = pages.get("/api/clips", sort="name")
    assert answer["total"] == 4
    assert answer["facets"] == {"dataset": {DATASET: 4}, "split": {"test": 1, "train": 3}, "state": {"done": 4}}
    row = answer["rows"][0]
    assert (row["clip"], row["dataset"], row["state"], row["bad"]) == (clip_name(0), DATASET, "done", False)
    assert row["stages"] == dict.fromkeys(("normalize", "detect", "track", "masks"), "hit")
    planned = plan(pages.state.root)
    assert planned["normalize"].jobs[clip_name(0)].key in row["thumb"]
    assert planned["track"].jobs[clip_name(0)].key in row["thumb"]
    assert row["page"] == f"/clip?dataset={DATASET}&clip={clip_name(0)}"


def test_the_most_suspicious_tube_comes_first(pages: Pages) -> None:
    """As the catalog's own table has it, which the run wrote."""
    rows = pages.get("/api/clips")["rows"]
    judged = {row.clip_id: row for row in pages.workspace.tube_quality.rows.values()}
    assert len(judged) == 4
    worst_first = sorted(judged.values(), key=lambda row: (-row.suspicion, row.clip_id))
    assert [row["clip"] for row in rows] == [row.clip_id for row in worst_first]
    assert [row["suspicion"] for row in rows] == [row.suspicion for row in worst_first]
    assert [row["reasons"] for row in rows] == [list(row.reasons) for row in worst_first]


def test_filters_sorts_and_pages(pages: Pages) -> None:
    everything = [clip_name(number) for number in range(4)]
    assert names(pages, sort="name") == everything
    assert names(pages, sort="name", order="desc") == everything[::-1]
    assert names(pages, sort="name", offset=1, limit=2) == everything[1:3]
    assert names(pages, split="test") == [clip_name(3)]
    assert names(pages, q="0002 DIV") == [clip_name(2)]
    assert names(pages, state="quarantined") == []
    assert names(pages, stage="track", state="hit", sort="name") == everything
    assert names(pages, dataset="elsewhere") == []
    scores = [row["score"] for row in pages.get("/api/clips", sort="score")["rows"]]
    assert scores == sorted(scores, reverse=True)
    assert pages.get("/api/clips", status=422, limit=100_000)["error"].startswith("This can't be used: limit:")


def test_facets_keep_all_other_filters(pages: Pages) -> None:
    facets = pages.get("/api/clips", split="test")["facets"]
    assert facets["split"] == {"test": 1, "train": 3}
    assert facets["state"] == {"done": 1}


def test_neighbours_follow_the_filters(pages: Pages) -> None:
    asked = {"dataset": DATASET, "sort": "name"}
    found = pages.get("/api/neighbours", clip=clip_name(1), **asked)
    assert (found["position"], found["total"]) == (1, 4)
    assert (found["previous"]["clip"], found["next"]["clip"]) == (clip_name(0), clip_name(2))
    assert pages.get("/api/neighbours", clip=clip_name(3), **asked)["next"] is None
    alone = pages.get("/api/neighbours", clip=clip_name(3), split="test", **asked)
    assert (alone["total"], alone["previous"], alone["next"]) == (1, None, None)
    assert pages.get("/api/neighbours", clip=clip_name(1), within="elsewhere", **asked)["position"] is None


def test_a_change_on_the_disk_shows_at_the_next_request(root: Path) -> None:
    with pages_of(root) as pages:
        before = pages.get("/api/clips")
        assert pages.get("/api/clips")["generation"] == before["generation"]
        set_labels(pages.workspace, DATASET, clip_name(2), ["bad=true"])
        after = pages.get("/api/clips")
        assert after["generation"] > before["generation"]
        assert after["facets"]["state"] == {"bad": 1, "done": 3}
        assert names(pages, state="bad") == [clip_name(2)]


def test_what_is_missing_or_set_aside_says_why(root: Path) -> None:
    set_labels(ViewState(root).workspace, DATASET, clip_name(0), ["box=900,900,20,20"])
    run(root, selected=("normalize", "detect", "track", "masks"))
    set_labels(ViewState(root).workspace, DATASET, clip_name(1), ["box=60,50,40,60"])
    with pages_of(root) as pages:
        rows = {row["clip"]: row for row in pages.get("/api/clips")["rows"]}
    aside, waiting = rows[clip_name(0)], rows[clip_name(1)]
    assert aside["state"] == "quarantined"
    assert aside["problem"]["stage"] == "detect"
    assert "no usable part" in aside["problem"]["reason"]
    assert aside["stages"] == {"normalize": "hit", "detect": "quarantined", "track": "waiting", "masks": "waiting"}
    assert waiting["state"] == "missing"
    assert waiting["missing"] == {"stage": "detect", "why": "boxes changed"}
    assert waiting["thumb"] is not None
    assert "track=" not in waiting["thumb"]


def test_a_large_workspace_answers_from_what_it_knows_while_it_reads_again(root: Path) -> None:
    state = ViewState(root)
    first = state.current()
    first.seconds = math.inf  # as if it had taken that long
    set_labels(first.workspace, DATASET, clip_name(1), ["bad=true"])
    assert state.current() is first
    for _ in range(500):
        if state.current().generation > first.generation:
            break
        time.sleep(0.02)
    assert state.current().clip(DATASET, clip_name(1))[1].bad


def test_what_a_person_changes_shows_at_once_and_alone(root: Path) -> None:
    state = ViewState(root)
    first = state.current()
    first.seconds = math.inf
    before = fingerprint(root)
    set_labels(first.workspace, DATASET, clip_name(1), ["box=60,50,40,60"])
    after = state.clip_changed(DATASET, clip_name(1), since=before)
    assert after.datasets[DATASET].rows[clip_name(1)].state == "missing"
    assert state.current() is after  # nothing else is read again for it
    assert not state.refreshing
    others = [name for name in first.datasets[DATASET].rows if name != clip_name(1)]
    assert all(after.datasets[DATASET].rows[name] is first.datasets[DATASET].rows[name] for name in others)


def test_a_dataset_that_was_never_run_is_listed(tiny_videos: Path, tmp_path: Path) -> None:
    new_workspace(tmp_path / "ws", tiny_videos)
    with pages_of(tmp_path / "ws") as pages:
        answer = pages.get("/api/clips")
        assert answer["facets"]["state"] == {"missing": 4}
        assert answer["rows"][0]["missing"]["why"] == "this dataset was never run"
        assert "never run" in pages.get("/api/session")["datasets"][0]["note"]
        clip = pages.clip(0)
        assert (clip["frames"], clip["tube"], clip["plan"]["commands"]) == (None, None, [])
    with pages_of(tmp_path / "ws", preset="demo") as pages:
        assert pages.get("/api/clips")["rows"][0]["missing"] == {"stage": "normalize", "why": "new"}


def test_a_run_of_single_clips_is_not_the_last_run(root: Path) -> None:
    before = last_config(ViewState(root).workspace, DATASET)
    run(root, "masks.tau=0.3", selected=("masks",), clips=(clip_name(2),), where="split = 'train'")
    workspace = ViewState(root).workspace
    assert last_config(workspace, DATASET) == before
    assert last_where(workspace, DATASET) is None
    assert len(plan(root, "masks.tau=0.3")["masks"].hits) == 1
    with pages_of(root) as pages:
        assert pages.get("/api/clips")["total"] == 4
