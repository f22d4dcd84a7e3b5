"""The clip page's routes: what they say is what the artifacts hold."""

import base64
import contextlib
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from data_catalog.media.frame_codec import decode_frames
from data_catalog.pack.file import PackReader
from flows.config import PipelineConfig, load_config, preset_names
from flows.datasets.labels import set_labels
from flows.runs.finished import find_run, trained_state
from flows.view.command import nearest_preset, run_words
from models.geometry import polygon_iou
from tasks.trained import load_state, scorer_of
from tasks.training.network import build_network
from tests.support.tiny_workspace import DATASET, plan, run, tiny_config
from tests.support.view_pages import Pages, clip_name, pages_of


def artifact(pages: Pages, stage: str, number: int = 0) -> Any:
    return pages.workspace.store.read(stage, plan(pages.state.root)[stage].jobs[clip_name(number)].key)


def unpacked(text: str, kind: str, shape: tuple[int, ...]) -> Any:
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape)


def test_a_tube_is_what_its_artifacts_hold(pages: Pages) -> None:
    tube = pages.clip()["tube"]
    track, masks = artifact(pages, "track"), artifact(pages, "masks")
    np.testing.assert_allclose(tube["quads"], track.arrays["quads"], atol=0.006)
    np.testing.assert_allclose(tube["scores"], track.arrays["scores"], atol=6e-5)
    assert tube["border"] == track.arrays["border"].astype(int).tolist()
    assert (tube["width"], tube["height"], tube["count"], tube["athletes"]) == (228, 128, 24, 1)
    cells = (tube["count"], *tube["grid"])
    coverage = unpacked(tube["coverage"], "u1", cells) / 255
    assert np.abs(coverage - masks.arrays["coverage"]).max() <= 0.5 / 255 + 1e-6
    mask = unpacked(tube["mask"], "u1", (len(tube["starts"]), tube["steps"], *tube["grid"]))
    assert np.array_equal(mask, masks.arrays["mask"])
    assert tube["omega"] == masks.arrays["omega"].tolist()
    assert (tube["crop"], tube["tau"], tube["starts"]) == ({"left": 58, "top": 8, "size": 112}, 0.5, [0, 8])
    sides = track.arrays["quads"][0, 0]
    wide, high = sides.max(axis=0) - sides.min(axis=0)
    assert tube["area"][0][0] == pytest.approx(wide * high, abs=0.1)


def test_a_tube_says_what_was_measured_of_it(pages: Pages) -> None:
    tube = pages.clip()["tube"]
    row = pages.workspace.tube_quality.rows[tube["track_key"], tube["masks_key"]]
    quality = tube["quality"]
    assert (quality["suspicion"], quality["reasons"], quality["lost_frames"]) == (
        row.suspicion, list(row.reasons), list(row.lost_frames),
    )  # fmt: skip
    assert np.shape(quality["series"]["likeness"]) == (1, 24)


def test_frames_are_the_stored_ones(pages: Pages) -> None:
    frames = pages.clip()["frames"]
    stored = decode_frames(artifact(pages, "normalize").arrays)
    everything = pages.client.get(f"/frames/{frames['key']}/all")
    assert everything.headers["content-length"] == str(frames["offsets"][-1])
    for index in (0, 11, 23):
        answer = pages.client.get(f"/frames/{frames['key']}/{index}.jpg")
        assert answer.headers["content-type"] == "image/jpeg"
        assert "immutable" in answer.headers["cache-control"]
        assert answer.content == everything.content[frames["offsets"][index] : frames["offsets"][index + 1]]
        shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.array_equal(shown, stored[index])
    held = pages.client.get(f"/frames/{frames['key']}/0.jpg", headers={"if-none-match": f'"{frames["key"]}-0.jpg"'})
    assert (held.status_code, held.content) == (304, b"")
    assert pages.get(f"/frames/{frames['key']}/24.jpg", status=404)["error"] == "The clip has frames 0 to 23."


def picture(pages: Pages, address: str) -> Any:
    answer = pages.client.get(address)
    assert answer.status_code == 200, answer.text
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)


def test_a_thumbnail_shows_the_tube(pages: Pages) -> None:
    clip = pages.clip()
    key, track = clip["frames"]["key"], clip["tube"]["track_key"]
    bare = picture(pages, f"/thumbs/{key}.jpg?frame=5&width=160")
    drawn = picture(pages, f"/thumbs/{key}.jpg?frame=5&width=160&track={track}")
    assert bare.shape == drawn.shape == (90, 160, 3)
    changed = np.abs(bare.astype(int) - drawn).max(axis=-1) > 60
    x, y = (np.array(clip["tube"]["quads"][0][5]) * 160 / 228).mean(axis=0)
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 60
    assert abs(columns.mean() - x) < 25
    assert abs(rows.mean() - y) < 25
    strip = picture(pages, f"/filmstrip/{key}.jpg?count=6&height=32")
    assert strip.shape == (32, 6 * 57, 3)


def test_boxes_are_told_in_pixels_of_the_frame(pages: Pages) -> None:
    clip = pages.clip()
    (x, y, w, h) = clip["labels"]["boxes"][0]
    across, down = 228 / 320, 128 / 240
    wanted = [x * across, y * down, (x + w) * across, (y + h) * down]
    assert clip["label_boxes"][0] == pytest.approx(wanted, abs=0.01)
    assert clip["detections"]["boxes"][0] == pytest.approx(wanted, abs=0.01)
    assert (clip["detections"]["chosen"], clip["detections"]["chosen_by"]) == ([0], "annotation")
    assert np.shape(clip["truth"]) == (1, 24, 4, 2)
    assert clip["video"]["path"].endswith(f"{clip_name(0)}.mp4")
    assert (clip["video"]["width"], clip["video"]["height"]) == (320, 240)


def test_lineage_leads_to_files(pages: Pages) -> None:
    entries = pages.clip()["lineage"]
    assert [entry["stage"] for entry in entries] == ["normalize", "detect", "track", "masks"]
    for entry in entries:
        assert pages.state.root / entry["file"] == Path(entry["path"])
        answer = pages.client.get(entry["download"])
        assert answer.content == Path(entry["path"]).read_bytes()
        assert answer.headers["content-disposition"].startswith("attachment")
        assert len(answer.content) == entry["size"]
    assert entries[3]["parents"] == {"track": entries[2]["key"]}


def test_runs_say_what_they_predicted(pages: Pages) -> None:
    (told,) = pages.clip(3)["runs"]
    table = find_run(pages.workspace, told["run_id"]).predictions()
    mine = table[table["clip_id"] == clip_name(3)].set_index("weights")
    assert told["prediction"] == pytest.approx(mine["predicted"].to_dict(), abs=1e-4)
    assert told["true"] == pytest.approx(float(mine["true"].iloc[0]), abs=1e-4)
    assert pages.clip(0)["runs"][0]["prediction"] is None  # a training clip


def test_the_score_now_is_the_score_of_the_run(pages: Pages) -> None:
    for weights in ("last", "best"):
        told = pages.get("/api/score", dataset=DATASET, clip=clip_name(3), weights=weights)
        assert told["score"] == pytest.approx(told["recorded"]["score"], abs=1e-3)
        assert told["segments"] == pytest.approx(told["recorded"]["segments"], abs=1e-3)
        assert told["difference"] == pytest.approx(0, abs=1e-3)
        assert (told["unit"], told["starts"]) == ("score", [0, 8])
    assert len(pages.get("/api/score", dataset=DATASET, clip=clip_name(0))["segments"]) == 2
    assert pages.get("/api/score", status=409, dataset=DATASET, clip=clip_name(0), run="20200101-000000-aaaa")


def test_attention_is_what_the_network_says(pages: Pages) -> None:
    mask = artifact(pages, "masks", 3).arrays["mask"]
    position = tuple(int(value) for value in np.argwhere(mask)[0])
    asked = dict(zip(("segment", "step", "row", "column"), position, strict=True))
    told = pages.get("/api/attention", dataset=DATASET, clip=clip_name(3), **asked)
    assert told["shape"] == list(mask.shape)
    assert told["inside"]
    shown = unpacked(told["blocks"][0]["map"], "i1", mask.shape) / 127 * told["blocks"][0]["max"]
    wanted = attention_of_the_network(pages, position)
    assert np.abs(shown - wanted).max() <= told["blocks"][0]["max"] / 127
    assert (shown[~mask] == 0).all()
    outside = dict(zip(asked, (int(value) for value in np.argwhere(~mask)[0]), strict=True))
    empty = pages.get("/api/attention", dataset=DATASET, clip=clip_name(3), **outside)
    assert (empty["inside"], empty["blocks"][0]["max"]) == (False, 0.0)
    far = pages.get("/api/attention", status=409, dataset=DATASET, clip=clip_name(3), **asked | {"segment": 99})
    assert "position" in far["error"]


def attention_of_the_network(pages: Pages, position: tuple[int, ...]) -> Any:
    """By the forward pass itself, on the run's own pack."""
    run_id = pages.clip(3)["runs"][0]["run_id"]
    finished = find_run(pages.workspace, run_id)
    config = finished.config
    path = pages.workspace.store.path("pack", finished.artifact(pages.workspace, "pack"))
    with contextlib.closing(PackReader(path)) as reader:
        network = build_network(config.model, config.train.seed)
        scorer = scorer_of(network, reader, config.model.head, (0.0, 1.0), config.train.difficulty)
        load_state(scorer, "last", trained_state(pages.workspace, finished, "last"))
        index = reader.labels.clip_id.index(clip_name(3))
        clip = reader.read(index)
    with torch.no_grad():
        video = scorer.video(torch.from_numpy(clip.frames)[None])
        output = network(video, torch.from_numpy(clip.mask)[None], return_attention=position)
    return output.attention[0][0].numpy()


def test_two_tubes_of_a_clip_are_compared(root: Path) -> None:
    set_labels(pages_workspace(root), DATASET, clip_name(1), ["box=20,20,40,60"])
    run(root, selected=("detect", "track", "masks"))
    with pages_of(root) as pages:
        clip = pages.clip(1)
        new, old = clip["variants"]
        assert (new["current"], old["current"]) == (True, False)
        assert (new["changes"], new["variant"]) == ([], old["variant"])
        assert old["changes"] == ["another first-frame box, or another cut of the video"]
        same = pages.get("/api/iou", a=new["key"], b=new["key"])
        assert (same["mean"], min(same["iou"])) == (1.0, 1.0)
        apart = pages.get("/api/iou", a=new["key"], b=old["key"])
        quads = [pages.workspace.store.read("track", one["key"]).arrays["quads"] for one in (new, old)]
        np.testing.assert_allclose(apart["athletes"], polygon_iou(*quads), atol=1e-4)
        assert apart["worst"] == int(np.argmin(polygon_iou(*quads)[0]))
        told = pages.get("/api/tube", track=old["key"])
        np.testing.assert_allclose(told["quads"], quads[1], atol=0.006)


def pages_workspace(root: Path) -> Any:
    with pages_of(root) as pages:
        return pages.workspace


def test_clips_where_two_variants_disagree_most_come_first(root: Path) -> None:
    run(root, "normalize.jpeg_quality=60", selected=("normalize", "detect", "track", "masks"))
    with pages_of(root) as pages:
        variants = pages.get("/api/variants", dataset=DATASET)
        assert [one["clips"] for one in variants] == [4, 4]
        assert sorted(one["current"] for one in variants) == [False, True]
        assert all("normalize.jpeg_quality" in one["title"] for one in variants)
        asked = {"dataset": DATASET, "a": variants[0]["variant"], "b": variants[1]["variant"]}
        told = until_done(pages, asked)
        assert [row["iou"] for row in told["rows"]] == sorted(row["iou"] for row in told["rows"])
        for row in told["rows"]:
            found = pages.get("/api/iou", a=row["a"], b=row["b"])
            assert (row["iou"], row["worst_frame"]) == (found["mean"], found["worst"])
        assert told["mean"] == pytest.approx(np.mean([row["iou"] for row in told["rows"]]), abs=1e-4)
        assert pages.client.get(told["rows"][0]["thumb_a"]).status_code == 200
        assert pages.get("/api/disagreements", status=409, **asked | {"b": "nothing"})
    table = root / "catalog" / "tube_overlap.parquet"
    assert table.is_file()
    made = table.stat().st_mtime_ns
    with pages_of(root) as pages:  # kept by keys: nothing is computed again
        assert until_done(pages, asked) == told
    assert table.stat().st_mtime_ns == made


def until_done(pages: Pages, asked: dict[str, Any]) -> Any:

    for _ in range(600):
        told = pages.get("/api/disagreements", **asked)
        if told["state"] == "done":
            return told
        time.sleep(0.05)
    raise AssertionError(f"the comparison did not end: {told['done']} of {told['total']}")


def test_an_artifact_that_was_deleted_meanwhile_is_missing(root: Path) -> None:
    with pages_of(root) as pages:
        clip = pages.clip()
        Path(clip["lineage"][2]["path"]).unlink()
        after = pages.clip()
        assert after["tube"] is None
        assert after["row"]["stages"]["track"] == "missing"
        assert after["plan"]["stages"][2]["why"] == "artifact deleted"
        assert pages.get("/api/tube", status=404, track=clip["tube"]["track_key"])


def test_unknown_names_are_told(pages: Pages) -> None:
    assert "no clip 'nobody'" in pages.get("/api/clip", status=404, dataset=DATASET, clip="nobody")["error"]
    assert "no dataset 'none'" in pages.get("/api/clip", status=404, dataset="none", clip=clip_name(0))["error"]
    assert pages.get("/api/tube", status=404, track="0" * 40)["error"]
    assert pages.get("/api/clip", status=422, dataset=DATASET)["error"] == "This can't be used: clip: Field required."


def differences(preset: str, config: PipelineConfig) -> set[str]:
    """`section.field` of what the config has otherwise than the preset."""
    one, other = load_config(preset).model_dump(mode="json"), config.model_dump(mode="json")
    return {f"{part}.{name}" for part in one for name in one[part] if one[part][name] != other[part][name]}


def test_the_command_makes_exactly_this_config() -> None:
    config = tiny_config("track.tracker=mil", "evaluate.splits=[test]", "model.weights=null")
    preset, overrides = nearest_preset(config)
    assert load_config(preset, overrides) == config
    assert len(overrides) == min(len(differences(name, config)) for name in preset_names())
    assert "masks.starts=[0, 8]" in overrides
    words = run_words(config, "tiny", Path("/ws"), clip="a b", until="masks")
    assert words[:5] == ["tubeflow", "run", preset, "--dataset", "tiny"]
    assert words[-6:] == ["--clip", "a b", "--until", "masks", "--workspace", "/ws"]


def test_what_is_left_to_do_and_the_command_for_it(root: Path) -> None:
    with pages_of(root) as pages:
        assert pages.clip(1)["plan"]["commands"] == []
        set_labels(pages.workspace, DATASET, clip_name(1), ["box=60,50,40,60"])
        plan_now = pages.get("/api/plan", dataset=DATASET, clip=clip_name(1))
    assert [(one["stage"], one["state"], one["why"]) for one in plan_now["stages"]] == [
        ("normalize", "hit", None),
        ("detect", "missing", "boxes changed"),
        ("track", "missing", "follows detect"),
        ("masks", "missing", "follows track"),
    ]
    assert [(one["stage"], one["why"]) for one in plan_now["dataset"]] == [
        ("pack", "follows masks"),
        ("train", "follows pack"),
        ("evaluate", "follows pack, train"),
    ]
    clip, everything = plan_now["commands"]
    assert f"--clip {clip_name(1)} --until masks" in clip["command"]
    assert "--clip" not in everything["command"]
