"""Configs: every error at once, each with the nearest valid key, and presets that hold."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.config import (
    ConfigError,
    PipelineConfig,
    apply_overrides,
    config_text,
    load_config,
    preset_names,
    validate_config,
)


def errors(values: object, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        apply_overrides(values, overrides)  # type: ignore[arg-type]
    return str(caught.value).splitlines()


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_valid_and_survives_json(preset: str) -> None:
    config = load_config(preset)
    assert validate_config(config.model_dump(mode="json")) == config


def test_the_presets_that_are_promised_are_there() -> None:
    assert {"demo", "aqa7", "mtl_aqa", "fr_fs", "folder"} <= set(preset_names())


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("track.traker=nano", "Unknown key 'track.traker'; did you mean 'track.tracker'?"),
        ("trak.tracker=nano", "Unknown key 'trak'; did you mean 'track'?"),
        ("masks.tua=0.4", "Unknown key 'masks.tua'; did you mean 'masks.tau'?"),
        ("train.epoch=3", "Unknown key 'train.epoch'; did you mean 'train.epochs'?"),
        ("track.qqqqqq=1", "Unknown key 'track.qqqqqq'."),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(override: str, sentence: str) -> None:
    assert errors({}, override) == [sentence]


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("train.epochs=many", ["train.epochs", "integer", "'many'"]),
        ("train.epochs=0", ["train.epochs", "greater than or equal to 1", "0"]),
        ("track.tracker=3", ["track.tracker", "string", "3"]),
        ("normalize.window=middle", ["normalize.window", "'uniform' or 'tail'", "'middle'"]),
        ("engine.device=tpu", ["engine.device", "'tpu'"]),
        ("masks.stride=5", ["masks", "stride 5 must divide segment_length 16"]),
        ("track=nano", ["'track=nano' is not an override", "section.field=value"]),
        ("track.tracker", ["is not an override", "section.field=value"]),
        ("track..tracker=nano", ["is not an override"]),
        ("=x", ["is not an override"]),
        ("track.tracker=[", ["is not YAML", "quotes"]),
        ("train.epochs.x=1", ["train.epochs is a single value"]),
    ],
)
def test_a_wrong_value_is_one_sentence(override: str, parts: list[str]) -> None:
    sentences = errors({"train": {"epochs": 2}}, override)
    assert len(sentences) == 1
    assert all(part in sentences[0] for part in parts), sentences


def test_all_errors_come_at_once() -> None:
    found = errors({"detect": {"min_scor": 0.2}}, "train.epochs=x", "track.traker=nano", "nonsense", "masks.tau=7")
    assert len(found) == 5
    for word in ("detect.min_scor", "train.epochs", "track.traker", "nonsense", "masks.tau"):
        assert sum(word in sentence for sentence in found) == 1


def test_overrides_lie_over_the_file_and_later_ones_over_earlier_ones() -> None:
    values = {"train": {"epochs": 5, "lr": 0.1}, "track": None}
    config = apply_overrides(values, ["train.epochs=7", "train.epochs=8", "track.tracker=mil", "masks.grid=[7, 7]"])
    assert (config.train.epochs, config.train.lr, config.masks.grid) == (8, 0.1, (7, 7))
    assert values == {"train": {"epochs": 5, "lr": 0.1}, "track": None}


def test_an_override_may_hold_an_equals_sign_a_number_as_people_write_it_or_nothing() -> None:
    config = load_config("demo", ["track.weights=a=b", "train.lr=1e-3", "model.weights=", "train.flip=1"])
    assert (config.track.weights, config.train.lr, config.model.weights, config.train.flip) == ("a=b", 1e-3, None, 1.0)


def test_options_of_heads_are_reached_by_a_second_dot() -> None:
    values = {"model": {"head_options": {"a": 1}}}
    assert apply_overrides(values, ["model.head_options.b=2"]).model.head_options == {"a": 1, "b": 2}
    assert values == {"model": {"head_options": {"a": 1}}}


def test_a_yaml_file_is_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("masks:\n  tau: 0.3\n")
    assert load_config(str(path)).masks.tau == 0.3
    path.write_text("")
    assert load_config(str(path)) == PipelineConfig()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: [", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"- a\n- b\n", "must be a mapping of sections"),
        (b"track: mil\n", "track: Input should be a valid dictionary"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_config(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_preset_names_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError, match=r"no preset or file 'deom'; did you mean 'demo'\?; presets: .*folder"):
        load_config("deom")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.dictionaries(st.sampled_from(["track", "tracker", "x"]), inner, max_size=3)))
def test_no_plain_value_makes_anything_but_a_config_or_a_config_error(values: object) -> None:
    text = yaml.safe_dump({"track": values})
    with contextlib.suppress(ConfigError):
        config = apply_overrides(yaml.safe_load(text), ["track.tracker=mil", "track.weights=x"])
        assert (config.track.tracker, config.track.weights) == ("mil", "x")


@pytest.mark.parametrize("preset", preset_names())
def test_a_config_is_read_back_from_its_text(preset: str, tmp_path: Path) -> None:
    config = load_config(preset)
    (tmp_path / "run.yaml").write_text(config_text(config))
    assert load_config(str(tmp_path / "run.yaml")) == config
