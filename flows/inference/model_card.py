"""The rest of an exported model's folder: card, config, metrics, and a program that scores a video by itself.

`README.md` is a model card in the form that Hugging Face's hub reads: YAML between two lines of dashes, with the
metrics under `model-index`, then text. What Tubeflow doesn't know (whose videos these are, and what their licence
allows) the card says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from data_catalog.atomic import replacing
from data_catalog.catalog import Workspace
from data_catalog.json_file import write_json
from data_catalog.plain_file import read_plain
from data_catalog.weights.registry import load_registry
from flows.config import config_text
from flows.inference.exported_kind import kind_text
from flows.runs.finished import FinishedRun
from flows.runs.intervals import metric_intervals
from flows.runs.results import METRICS_FILE
from tasks.engine.run import library_versions
from tasks.evaluate import held

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = ("test", "validation")
PACKAGES = {"onnx": "onnxruntime", "torch-export": "torch"}
"""Format → the one package besides NumPy and OpenCV that `predict.py` needs."""
PROGRAM = "predict.py"


def write_card(
    workspace: Workspace,
    run: FinishedRun,
    folder: Path,
    form: str,
    weights: str,
    action: str,
    meaning: Mapping[str, Any],
) -> None:
    """Write `README.md`, `config.yaml`, `metrics.json`, `predict.py` and `requirements.txt` beside an exported model.

    Args:
        workspace: the run's.
        run: whose model it is.
        folder: where the model lies.
        form: the model's format.
        weights: `last` or `best`.
        action: the action whose scores the model's are.
        meaning: what `model.json` says.

    Raises:
        OSError: the folder can't be written.
    """
    metrics = held_out_metrics(run, weights)
    versions = library_versions()
    source = resources.files("flows.inference").joinpath("standalone_predict.py").read_text(encoding="utf-8")
    packages = {PACKAGES[form]: "", "numpy": ">=2", "opencv-python": ">=4.10.0.84"}
    if form == "torch-export":  # a program of one version is read by that and later ones
        packages["torch"] = f">={versions['torch'].partition('+')[0]}"
    files = {
        "config.yaml": config_text(run.config),
        PROGRAM: source,
        "requirements.txt": "".join(f"{name}{bound}\n" for name, bound in packages.items()),
        "README.md": card_text(workspace, run, form, weights, action, meaning, metrics),
    }
    write_json(folder / "metrics.json", metrics)
    for name, text in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def held_out_metrics(run: FinishedRun, weights: str) -> dict[str, Any]:
    """The run's metrics on clips that it didn't learn from: `split`, `clips`, and of each metric value and interval.

    A metric without a value has the reason in its place, as in `metrics.json` of the run.
    """
    found = json.loads(read_plain(run.folder / METRICS_FILE)).get(weights, {})
    split = next((name for name in HELD_OUT if name in found), None)
    if split is None:
        return {"split": None, "clips": 0, "metrics": {}}
    predictions = run.predictions()
    values = found[split]["all"]
    intervals = metric_intervals(predictions, split, values, weights)
    clips = int(((predictions["weights"] == weights) & (predictions["split"] == split)).sum())
    metrics = {name: {"value": value, "interval_95": intervals.get(name)} for name, value in values.items()}
    rows = held_intervals(predictions, split, weights)
    return {"split": split, "clips": clips, "metrics": metrics, **({"intervals": rows} if rows else {})}


def held_intervals(predictions: pd.DataFrame, split: str, weights: str) -> list[dict[str, Any]]:
    """How often the intervals of clips hold that had no say in them; empty where there are none such."""
    shown = predictions[(predictions["weights"] == weights) & (predictions["split"] == split)]
    if split == "validation" or "spread" not in shown:
        return []
    return [{**asdict(one), "share": one.share, "share_95": list(one.bounds)} for one in held(shown)]


def card_text(
    workspace: Workspace,
    run: FinishedRun,
    form: str,
    weights: str,
    action: str,
    meaning: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> str:
    """The model card: YAML front matter, then sections in Markdown."""
    front = yaml.safe_dump(front_matter(run, form, metrics), sort_keys=False, allow_unicode=True)
    needs = "" if not meaning["inputs"]["difficulty"]["used"] else " --difficulty 3.2"
    sections = [
        f"# {model_name(run, weights)}",
        f"Scores a clip of {action or 'one action'} from its frames and the tube of the athlete. Made by Tubeflow's "
        f"run `{run.run_id}`, epoch `{weights}`; `config.yaml` is its whole configuration.",
        "## Use",
        "```\npip install -r requirements.txt\n"
        f"python {PROGRAM} dive.mp4 --tube dive.txt{needs}\n"
        f"python {PROGRAM} dive.mp4 --box 210,40,60,150{needs}      # the athlete stays inside of one box\n```",
        "Who is judged has to be said, and the score depends on it. `--tube` is a text file with a line for each frame "
        "of the video, four corners `x1,y1,…,x4,y4` or a box `x,y,w,h` in pixels of the video, as trackers write it "
        f"and `tubeflow tracks export --shape polygon` does; `python {PROGRAM} --help` has the others.",
        "## How a video becomes the model's input",
        preprocessing_text(meaning),
        "## Metrics",
        "\n\n".join(part for part in (metrics_text(metrics), intervals_text(metrics)) if part),
        "## Like or unlike",
        kind_text(meaning["unlike"]),
        "## Data",
        data_text(workspace, run),
        "## Licence",
        licence_text(run),
        "## Limits",
        "Scores are in the points of the data above and of that action alone; a video of another sport, camera or "
        "level gets a score all the same. The file was compared with the run's own network on "
        f"{meaning['compared_clips']} clips: largest relative difference "
        f"{meaning['largest_relative_difference']:.1e}. {PROGRAM} reads constant frame rates; it "
        "neither deinterlaces nor maps HDR.",
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def model_name(run: FinishedRun, weights: str) -> str:
    """What the card is headed with."""
    return f"{run.dataset}-{run.config.model.backbone}-{run.config.model.attention}-{weights}"


def front_matter(run: FinishedRun, form: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The card's metadata, of keys that the hub knows; the interval of a metric stands in its `args`."""
    rows = [
        {
            "type": name,
            "value": one["value"],
            "name": f"{name}, {metrics['split']} clips",
            **({"args": {"interval_95": list(one["interval_95"])}} if one["interval_95"] else {}),
        }
        for name, one in metrics["metrics"].items()
        if not isinstance(one["value"], str)
    ]
    task = {"type": "video-classification", "name": "Action quality assessment"}
    result = {
        "task": task,
        "dataset": {"type": run.dataset, "name": run.dataset, "split": metrics["split"] or "none"},
        "metrics": rows,
    }
    return {
        "license": "other",
        "license_name": "see-readme",
        "license_link": "README.md#licence",
        "library_name": "onnx" if form == "onnx" else "pytorch",
        "pipeline_tag": "video-classification",
        "tags": ["action-quality-assessment", "tube-self-attention", "tubeflow"],
        "metrics": [row["type"] for row in rows],
        # The hub takes no entry without a metric.
        **({"model-index": [{"name": run.run_id, "results": [result]}]} if rows else {}),
    }


def preprocessing_text(meaning: Mapping[str, Any]) -> str:
    """In words what `predict.py` does with a video and a tube."""
    p = meaning["preprocessing"]
    spread = "the frames shown at the middle of as many equal slices of it"
    which = "the last frames" if p["window"] == "tail" else spread
    rows, columns = p["grid"]
    return "\n".join(
        [
            f"1. {p['frames']} frames of the video are taken: {which}.",
            f"2. Each is stretched to {p['width']} x {p['height']} px, stored as a JPEG of quality {p['jpeg_quality']} "
            f"(4:4:4) and read again, for so were those that the network learnt from.",
            f"3. The square of {p['crop']} px in its centre is cut out and resized to {p['input_size']} px. Colours "
            "are RGB bytes; the model normalises them itself.",
            f"4. The tube's corners move with the pixels. A cell of the {rows} x {columns} grid over that square "
            f"belongs to the tube where it covers {p['tau']:g} of the cell in any of {p['stride']} frames that follow "
            "each other.",
            f"5. {len(p['starts'])} segments of {p['segment_length']} frames, from the frames "
            f"{', '.join(map(str, p['starts']))} on, are scored together.",
        ]
    )


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """A table of the metrics with their intervals."""
    if not metrics["metrics"]:
        return "The run held no clips out, so nothing is known of clips that it didn't learn from."
    lines = [
        f"On {metrics['clips']} clips of the split `{metrics['split']}`; intervals: 95 %, bootstrap over clips.",
        "",
        "| metric | value | interval |",
        "|---|---|---|",
    ]
    for name, one in metrics["metrics"].items():
        value, ends = one["value"], one["interval_95"]
        shown = value if isinstance(value, str) else f"{value:.4f}"
        lines.append(f"| {name} | {shown} | {'–' if ends is None else f'{ends[0]:.4f} to {ends[1]:.4f}'} |")
    return "\n".join(lines)


def intervals_text(metrics: Mapping[str, Any]) -> str:
    """A table of how often intervals held; empty where the run made none."""
    rows = metrics.get("intervals")
    if not rows:
        return ""
    lines = [
        "Intervals of scores, made from the errors of validation clips; `predict.py` prints them.",
        "",
        f"| made for | held on `{metrics['split']}` | 95 % interval of that | mean width |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['level']} % | {row['share']:.1%} of {row['clips']} | {row['share_95'][0]:.1%} to "
        f"{row['share_95'][1]:.1%} | {row['width']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def data_text(workspace: Workspace, run: FinishedRun) -> str:
    """What the model learnt from, as far as the catalog knows."""
    info = workspace.datasets.info(run.dataset)
    splits: dict[str, int] = {}
    for clip in workspace.datasets.clips(run.dataset):
        splits[clip.split] = splits.get(clip.split, 0) + 1
    counted = ", ".join(f"{count} {split}" for split, count in sorted(splits.items()))
    drawn = "Its clips are drawn by a program: these are no real athletes. " if info.procedural else ""
    return f"Dataset `{run.dataset}`, read by the adapter `{info.adapter}`: {counted}. {drawn}".rstrip()


def licence_text(run: FinishedRun) -> str:
    """Under what terms the parts of the folder stand, and what isn't known."""
    lines = [f"- `{PROGRAM}`: AGPL-3.0-or-later, as Tubeflow, which it is a part of."]
    first = run.config.model.weights
    entry = load_registry().get(first) if first else None
    if entry is not None:
        lines.append(f"- The backbone began with `{first}` ({entry.licence}; {entry.citation}).")
    elif first:
        lines.append(f"- The backbone began with `{first}`, of which Tubeflow knows no licence.")
    else:
        lines.append("- The backbone began with random weights.")
    lines.append(
        f"- The data: Tubeflow doesn't know the licence of `{run.dataset}`. Ask those whose videos and scores these "
        "are before you pass the model on; their terms may bind it."
    )
    return "\n".join(lines)
