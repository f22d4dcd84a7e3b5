"""Names that users import keep working after a move or a renaming, and say what they are called now."""

from importlib import import_module

import pytest

# What could be imported before the files of `models` got folders, by module.
UNCHANGED = {
    "models.attention": ("AFFINITIES", "NonLocal", "TubeSelfAttention"),
    "models.geometry": (
        "SEGMENT_STARTS", "box_to_quad", "coverage", "crop_origin", "flip_coverage", "flip_quads", "grid_iou",
        "order_clockwise", "polygon_iou", "quad_area", "quad_to_box", "quads_to_crop", "scale_quads", "tube_mask",
    ),
    "models.tsanet": (
        "Affinity", "AttentionKind", "Compat", "Position", "TSANet", "TSANetOutput", "build_attention", "build_tsanet",
        "released_time_order",
    ),
    "models.metrics": (
        "FISHER_LIMIT", "Metric", "accuracy", "auc", "f1", "fisher_z_mean", "kendall", "mse", "relative_l2", "spearman",
    ),
}  # fmt: skip
RENAMED = {
    "models.attention": {
        "Projections": "models.attention.dot_forms.Projections",
        "add_to_tubes": "models.attention.gather.add_to_tubes",
        "attend_tubes": "models.attention.softmax.attend_tubes",
        "gather_tubes": "models.attention.gather.gather_tubes",
        "grow_tubes": "models.attention.growth.grow_tubes",
        "rename_released": "models.attention.released_keys.rename_released",
        "tube_dot": "models.attention.dot.tube_dot",
        "tube_indices": "models.attention.gather.tube_indices",
    },
    "models.geometry": {"unite": "models.geometry.union_coverage"},
    "models.tsanet": {
        "join_segments": "models.tsanet.merge_segments",
        "part_segments": "models.tsanet.split_segments",
    },
    "models.metrics": {"average_ranks": "models.metrics.batched.ranks"},
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in UNCHANGED.items() for name in names])
def test_public_names_are_where_they_were(module: str, name: str, recwarn: pytest.WarningsRecorder) -> None:
    assert getattr(import_module(module), name) is not None
    assert not [one for one in recwarn if issubclass(one.category, DeprecationWarning)]


@pytest.mark.parametrize(
    ("module", "old", "new"), [(module, *pair) for module, names in RENAMED.items() for pair in names.items()]
)
def test_old_names_work_and_say_the_new_one(module: str, old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"^{module}\.{old} is now {new}$"):
        found = getattr(import_module(module), old)
    place, _, name = new.rpartition(".")
    assert found is getattr(import_module(place), name)


@pytest.mark.parametrize("module", RENAMED)
def test_a_name_that_never_was_is_an_attribute_error(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nothing'"):
        import_module(module).nothing  # noqa: B018
