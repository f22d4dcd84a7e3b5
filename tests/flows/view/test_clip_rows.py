"""The gallery's rows by themselves: filters, order, counts."""

import json

import pytest

from flows.view.clip_rows import ClipRow, Problem, RowQuery, choose, count_facets, row_json

HIT = dict.fromkeys(("normalize", "detect", "track", "masks"), "hit")
ROWS = [
    ClipRow("b", "dive_10", "train", "diving", 50.0, stages=HIT, suspicion=0.2),
    ClipRow("b", "dive_9", "test", "diving", None, 1, stages=HIT, suspicion=0.9, reasons=("The tube leaps.",)),
    ClipRow("a", "dive_9", "train", "", 10.0, stages=HIT),
    ClipRow("b", "jump_1", "val", "jump", float("nan"), stages=HIT | {"track": "quarantined", "masks": "waiting"},
            problem=Problem("track", "An athlete cannot be followed.", "Correct the box.")),
    ClipRow("b", "jump_2", "train", "jump", 70.0, stages=HIT | {"masks": "missing"}, missing=("masks", "new")),
    ClipRow("b", "jump_3", "train", "jump", 60.0, bad=True, stages=HIT, suspicion=0.5),
]  # fmt: skip


def names(**query: object) -> list[str]:
    return [f"{row.dataset}/{row.clip}" for row in choose(ROWS, RowQuery(**query))]  # type: ignore[arg-type]


def test_the_most_suspicious_first_then_what_went_wrong_then_the_rest() -> None:
    assert names() == ["b/dive_9", "b/jump_3", "b/dive_10", "b/jump_1", "b/jump_2", "a/dive_9"]
    assert names(descending=False)[:3] == ["b/dive_10", "b/jump_3", "b/dive_9"]
    assert names(descending=False)[-1] == "a/dive_9"  # the unknown stay behind either way


def test_numbers_in_names_count_as_numbers() -> None:
    assert names(sort="name") == ["a/dive_9", "b/dive_9", "b/dive_10", "b/jump_1", "b/jump_2", "b/jump_3"]
    assert names(sort="name", descending=True) == names(sort="name")[::-1]


def test_scores_that_are_none_or_no_number_come_last() -> None:
    assert names(sort="score") == ["b/jump_2", "b/jump_3", "b/dive_10", "a/dive_9", "b/dive_9", "b/jump_1"]
    assert names(sort="score", descending=False)[0] == "b/dive_9"  # its label, 1
    assert names(sort="score", descending=False)[-1] == "b/jump_1"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"dataset": "a"}, ["a/dive_9"]),
        ({"split": "val"}, ["b/jump_1"]),
        ({"state": "done", "sort": "name"}, ["a/dive_9", "b/dive_9", "b/dive_10"]),
        ({"state": "quarantined"}, ["b/jump_1"]),
        ({"state": "missing"}, ["b/jump_2"]),
        ({"state": "bad"}, ["b/jump_3"]),
        ({"state": "unmeasured"}, ["a/dive_9"]),
        ({"stage": "track", "state": "quarantined"}, ["b/jump_1"]),
        ({"stage": "masks"}, ["b/jump_2"]),
        ({"bad": False, "split": "train", "sort": "name"}, ["a/dive_9", "b/dive_10", "b/jump_2"]),
        ({"q": "DIVE diving", "sort": "name"}, ["b/dive_9", "b/dive_10"]),
        ({"q": "leaps"}, ["b/dive_9"]),
        ({"q": "cannot followed"}, ["b/jump_1"]),
        ({"q": "nothing like it"}, []),
    ],
)
def test_filters(query: dict[str, object], wanted: list[str]) -> None:
    assert names(**query) == wanted


def test_a_facet_counts_what_its_other_values_would_leave() -> None:
    counted = count_facets(ROWS, RowQuery(split="train"))
    assert counted["split"] == {"test": 1, "train": 4, "val": 1}
    assert counted["dataset"] == {"a": 1, "b": 3}
    assert counted["state"] == {"bad": 1, "done": 2, "missing": 1}
    both = count_facets(ROWS, RowQuery(split="train", state="done", q="dive"))
    assert both == {"dataset": {"a": 1, "b": 1}, "split": {"test": 1, "train": 2}, "state": {"done": 2}}
    for value, count in counted["split"].items():
        assert len(choose(ROWS, RowQuery(split=value))) == count


def test_a_row_as_json() -> None:
    told = row_json(ROWS[3], None, "/clip?x")
    assert told["problem"] == {
        "stage": "track", "reason": "An athlete cannot be followed.", "remedy": "Correct the box.",
    }  # fmt: skip
    assert (told["state"], told["missing"], told["page"]) == ("quarantined", None, "/clip?x")
    assert json.loads(json.dumps(told, allow_nan=False)) == told
