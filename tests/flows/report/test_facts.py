"""What the report says of a run's artifacts is what they are planned with."""

from pathlib import Path

import pytest

from flows.report.facts import ReportFacts
from flows.stages import planned_config
from tasks.masks import MasksConfig
from tasks.track import TrackConfig
from tests.support.tiny_workspace import plan, tiny_config


def test_a_plan_knows_what_its_artifacts_are_made_with(finished_workspace: Path) -> None:
    made = plan(finished_workspace, "masks.tau=0.25")
    config = tiny_config("masks.tau=0.25")
    assert planned_config(made, "masks", MasksConfig) == config.masks
    with pytest.raises(TypeError, match="stage 'masks' is planned with MasksConfig, not TrackConfig"):
        planned_config(made, "masks", TrackConfig)


def test_facts_follow_the_config(finished_workspace: Path) -> None:
    config = tiny_config()
    facts = ReportFacts.of(plan(finished_workspace))
    assert (facts.model, facts.tracker, facts.actions) == (config.model, config.track.tracker, None)
    assert (facts.chosen_by, facts.multiplied) == (config.train.selecting, config.train.difficulty)
    assert facts.title("tiny") == f"{config.model.backbone} + {config.model.attention} on tiny"
    assert facts.starts == config.masks.starts  # nothing is shifted, and no segment begins too late
    other = ReportFacts.of(plan(finished_workspace, "train.actions=[dive, twist]", "train.eval_shift=1"))
    assert other.title("tiny").endswith(" on tiny: dive, twist")
    last = config.normalize.length - config.masks.segment_length
    assert other.starts == tuple(min(start + 1, last) for start in config.masks.starts)
