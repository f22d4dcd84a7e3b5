"""Evaluation agrees with training, names what is undefined, and refuses weights that do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from models.metrics.scores import fisher_z_mean
from tasks.engine.progress import Progress, listening, report
from tasks.evaluate import EvaluateConfig, evaluate, nothing_evaluated
from tasks.train import TrainResult, train
from tasks.training.score_table import score_table
from tests.support.tiny_training import CONFIG, MODEL, tiny_pack

pytestmark = pytest.mark.usefixtures("one_thread")


def test_it_repeats_what_training_saw(pack: Path, trained: TrainResult) -> None:
    seen: list[Progress] = []
    with listening(seen.append):
        result = evaluate(pack, {"last": trained.last, "best": trained.best}, MODEL, CONFIG, EvaluateConfig())
    for weights, epoch in (("last", -1), ("best", trained.best_epoch)):
        for name, metric in result.metrics[weights]["test"]["all"].items():
            assert metric.value == pytest.approx(trained.history[epoch][f"test/{name}"], rel=1e-6)
    table = result.predictions
    assert list(table.columns) == [
        "weights", "clip_id", "split", "action", "true", "predicted", "segment_0", "segment_1",
    ]  # fmt: skip
    assert table["clip_id"].tolist() == [f"c{n}" for n in range(14, 20)] * 2
    last = table[table["weights"] == "last"]
    rho = stats.spearmanr(last["true"], last["predicted"]).statistic
    assert result.as_json()["last"]["test"]["diving"]["spearman"] == pytest.approx(rho)
    assert not np.allclose(last["segment_0"], last["segment_1"])
    assert (seen[-1].stage, seen[-1].done, seen[-1].total) == ("evaluate", 4, 4)


def test_predictions_do_not_depend_on_the_batch(pack: Path, trained: TrainResult) -> None:
    both = [
        evaluate(pack, {"last": trained.last}, MODEL, CONFIG, EvaluateConfig(batch=batch)).predictions["predicted"]
        for batch in (1, 6)
    ]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5)


def test_training_clips_on_request(pack: Path, trained: TrainResult) -> None:
    config = EvaluateConfig(splits=("train", "test"))
    result = evaluate(pack, {"last": trained.last}, MODEL, CONFIG, config)
    assert result.predictions.groupby("split").size().to_dict() == {"train": 14, "test": 6}
    assert set(result.metrics["last"]) == {"train", "test"}


@pytest.mark.parametrize("head", ["regression", "gaussian", "usdl", "musdl", "classification"])
def test_every_head_gives_points_or_probabilities(pack: Path, tmp_path: Path, head: str) -> None:
    model = MODEL.model_copy(update={"head": head})
    config = CONFIG.model_copy(update={"epochs": 1})
    result = train(pack, model, config, tmp_path)
    evaluation = evaluate(pack, {"last": result.last}, model, config, EvaluateConfig())
    values = evaluation.predictions[["predicted", "segment_0", "segment_1"]].to_numpy()
    assert np.isfinite(values).all()
    assert values.shape == (6, 3)
    names = set(evaluation.metrics["last"]["test"]["all"])
    if head == "classification":
        assert names == {"accuracy", "f1", "auc"}
        assert ((values > 0) & (values < 1)).all()
    else:
        assert names == {"spearman", "kendall", "r_l2", "mse"}


def test_undefined_metrics_say_why_and_are_never_nan(tmp_path: Path) -> None:
    def split(number: int) -> str:
        return "test" if number == 19 else "train"

    pack = tiny_pack(tmp_path / "p.h5", split=split)
    config = CONFIG.model_copy(update={"epochs": 1})
    result = train(pack, MODEL, config, tmp_path)
    assert result.history[0]["test/spearman"] is None
    evaluation = evaluate(pack, {"last": result.last}, MODEL, config, EvaluateConfig())
    found = evaluation.as_json()["last"]["test"]["all"]
    assert found["spearman"].startswith("undefined: ")
    assert isinstance(found["mse"], float)
    json.dumps(evaluation.as_json(), allow_nan=False)


def test_actions_are_averaged_as_published() -> None:
    rng = np.random.default_rng(0)
    true, predicted = rng.random(30), rng.random(30)
    predicted[:10] += true[:10]
    actions = ["a"] * 10 + ["b"] * 20
    table = score_table(true, predicted, actions, classification=False)
    rhos = [stats.spearmanr(true[part], predicted[part]).statistic for part in (slice(10), slice(10, 30))]
    assert table["a"]["spearman"].value == pytest.approx(rhos[0])
    assert table["all"]["spearman"].value == pytest.approx(fisher_z_mean(dict(zip("ab", rhos, strict=True))).value)
    mean = (table["a"]["r_l2"].value + table["b"]["r_l2"].value) / 2  # type: ignore[operator]
    assert table["all"]["r_l2"].value == pytest.approx(mean)
    true[3] = np.nan
    assert score_table(true, predicted, actions, classification=False)["b"] == table["b"]


def test_one_undefined_action_makes_the_mean_undefined_with_its_reason() -> None:
    table = score_table(np.array([1.0, 2, 3, 5]), np.array([1.0, 2, 3, 4]), ["a", "a", "a", "b"], classification=False)
    assert table["a"]["spearman"].value == pytest.approx(1.0)
    assert table["all"]["spearman"].value is None
    assert "b" in (table["all"]["spearman"].undefined or "")


def test_weights_of_another_network_are_named(pack: Path, trained: TrainResult) -> None:
    state = {name: value for name, value in trained.last.items() if name != "backbone.linear.bias"}
    with pytest.raises(ValueError, match=r"the weights 'last' do not fit .*\n?.*backbone\.linear\.bias"):
        evaluate(pack, {"last": state}, MODEL, CONFIG, EvaluateConfig())


def test_a_split_without_clips_says_so(pack: Path, trained: TrainResult) -> None:
    with pytest.raises(ValueError, match=r"no clip of split exam; label some, or set evaluate\.splits"):
        evaluate(pack, {"last": trained.last}, MODEL, CONFIG, EvaluateConfig(splits=("exam",)))


def test_a_broken_listener_is_dropped_and_stops_nothing() -> None:
    calls: list[int] = []

    def broken(progress: Progress) -> None:
        calls.append(progress.done)
        raise RuntimeError("terminal is gone")

    seen: list[Progress] = []
    with listening(broken), listening(seen.append):
        report("train", 1, 2)
        report("train", 2, 2, "epoch 1/1")
    report("train", 3, 3)
    assert calls == [1]
    assert [progress.done for progress in seen] == [1, 2]


def test_nothing_held_out_is_an_evaluation_without_figures() -> None:
    """Every metric says why it has no value, and the page that is made of it has no nan."""
    result = nothing_evaluated("test", classification=False)
    assert len(result.predictions) == 0
    said = result.as_json()
    assert set(said) == {"last", "best"}
    assert all(str(value).startswith("undefined: ") for value in said["last"]["test"]["all"].values())
