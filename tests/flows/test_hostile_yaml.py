"""YAML that is no config (dates, endless numbers, depth, merges that multiply, types): one sentence, and quickly."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml

from flows.config import PRESETS, ConfigError, apply_overrides, load_config
from flows.experiments.matrix import MATRICES, expand, load_matrix
from flows.plain_yaml import read_yaml

LAUGHS = "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 200))
HOSTILE = {
    "bad date": ("train: {lr: 2024-13-45}", "train.lr: Input should be a valid number"),
    "integer of 20,000 digits": (f"train: {{epochs: {'9' * 20_000}}}", "this number is too large, or none"),
    "integer of 20 digits": ("train: {epochs: 99999999999999999999}", "this number is too large, or none"),
    "hexadecimal": (f"train: {{epochs: 0x{'f' * 9_000}}}", "this number is too large, or none"),
    "no digits": ("train: {epochs: 0x_}", "this number is too large, or none"),
    "deep lists": ("train: " + "[" * 20_000, "nested more than 20 levels deep"),
    "deep mappings": ("train: " + "{a: " * 20_000, "nested more than 20 levels deep"),
    "deep blocks": ("\n".join(" " * n + "a:" for n in range(400)), "nested more than 20 levels deep"),
    "infinity": ("train: {lr: .inf}", "this number isn't finite"),
    "not a number": ("train: {lr: .nan}", "this number isn't finite"),
    "too large a number": ("train: {lr: 1.0e+999}", "this number isn't finite"),
    "infinity in words": ("train: {lr: 'inf'}", "train.lr: Input should be a finite number"),
    "laughs": (LAUGHS, "more than 10000 values"),
    "merges": (MERGES, "more than 10000 values"),
    "an alias inside itself": ("train: &a {b: *a}", "there is no '&a' that ended before this"),
    "many values": ("train: [" + "1," * 20_000 + "]", "more than 10000 values"),
    "a large file": ("#" * 2**20, "characters are more than any config has"),
    "bytes": ("train: {lr: !!binary aGVsbG8=}", "no values of the type tag:yaml.org,2002:binary"),
    "a set": ("train: !!set {a, b}", "no values of the type tag:yaml.org,2002:set"),
    "an object": ("train: !!python/object/apply:os.system [ls]", "no values of the type tag:yaml.org,2002:python"),
    "a tag of one's own": ("train: !mine 3", "no values of the type !mine"),
}


def refused(read: object, *args: object) -> str:
    """The sentence of a refusal that came within two seconds and is short."""
    assert callable(read)
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read(*args)
    assert time.process_time() - start < 2
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("how", HOSTILE)
def test_a_config_file_is_refused_in_a_sentence(tmp_path: Path, how: str) -> None:
    text, why = HOSTILE[how]
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert why in refused(load_config, str(path))
    if "train." not in why:
        assert why in refused(load_matrix, str(path))


@pytest.mark.parametrize("how", [how for how, (text, _) in HOSTILE.items() if text.startswith("train: ")])
def test_an_override_is_refused_in_a_sentence(how: str) -> None:
    text, why = HOSTILE[how]
    value = text.removeprefix("train: ")
    if value.startswith("{") and ": " in value and how != "deep mappings":
        leaf, _, value = value[1:-1].partition(": ")
    else:
        leaf = "lr"
    assert why in refused(apply_overrides, {}, [f"train.{leaf}={value}"])


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**30, -(10**30)])
def test_a_config_of_any_other_origin_has_finite_numbers_too(value: float) -> None:
    field = "lr" if isinstance(value, float) else "seed"
    assert f"train.{field}: " in refused(apply_overrides, {"train": {field: value}}, [])


def test_a_matrix_of_endless_runs_is_refused(tmp_path: Path) -> None:
    axes = {f"train.{name}": list(range(1, 101)) for name in ("epochs", "seed", "lr")}
    path = tmp_path / "m.yaml"
    path.write_text(json.dumps({"preset": "demo", "matrix": axes}))
    assert refused(expand, load_matrix(str(path)), [], []) == (
        "The matrix has 1000000 combinations, and at most 1000 are run; split it."
    )


@pytest.mark.parametrize("path", [*PRESETS.rglob("*.yaml"), *MATRICES.glob("*.yaml")], ids=lambda path: path.stem)
def test_what_a_person_writes_reads_as_ever(path: Path) -> None:
    text = path.read_text()
    assert read_yaml(text) == yaml.safe_load(text)


def test_aliases_and_merges_of_a_usual_size_are_read() -> None:
    text = "a: &a {lr: 1.0e-3, name: 'x'}\nb: {<<: *a, name: y}\nc: [*a, *a]\nd: 2024-01-31\ne: !!str 5"
    same = {"lr": 0.001, "name": "x"}
    other = {"lr": 0.001, "name": "y"}
    assert read_yaml(text) == {"a": same, "b": other, "c": [same, same], "d": "2024-01-31", "e": "5"}
