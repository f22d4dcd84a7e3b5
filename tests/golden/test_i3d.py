"""I3D against every endpoint of the public implementation, in one forward pass."""

import numpy as np
import pytest
import torch

from models.backbones.checkpoint import load_i3d
from models.backbones.i3d import I3D


@pytest.fixture(scope="module")
def numbers(golden):
    return np.load(golden / "i3d_eval.npz")


@pytest.fixture(scope="module")
def loaded(recipe_weights, tmp_path_factory):
    """I3D with the recipe's weights, through a file and the loader, and what the loader dropped."""
    file = tmp_path_factory.mktemp("weights") / "rgb_i3d_pretrained.pt"
    torch.save(recipe_weights("keys_i3d"), file)
    network = I3D("mixed_4e").eval()
    return network, load_i3d(network, file)


@pytest.fixture(scope="module")
def maps(loaded, numbers, seeded):
    """Every endpoint's map and the pooled feature, on the golden input."""
    network, _ = loaded
    seen: dict[str, np.ndarray] = {}
    hooks = [
        getattr(network, name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out[0].numpy()}))
        for name in network.endpoints
    ]
    x = seeded(1001, (1, 3, 16, 224, 224), numbers["input_crc32"])
    with torch.no_grad():
        h = network.stage1(x)
        seen["pooled"] = network.stage2(h).numpy()
    for hook in hooks:
        hook.remove()
    return seen


def test_the_classifier_of_the_public_file_is_dropped_and_named(loaded):
    assert loaded[1] == ["logits.conv3d.weight", "logits.conv3d.bias"]


def test_endpoints_have_the_public_order(loaded, numbers):
    assert loaded[0].endpoints == tuple(numbers["endpoint_names"])


def test_every_endpoint_agrees_to_1e_4(maps, numbers, relative_error):
    for i, name in enumerate(numbers["endpoint_names"]):
        sc, st, sh, sw = numbers[f"stride_{name}"]
        assert maps[name].shape == tuple(numbers[f"shape_{name}"]), name
        # In-place ReLU cannot touch an endpoint after the hook saw it: each is read by convolutions or pools only.
        error = relative_error(maps[name][::sc, ::st, ::sh, ::sw], numbers[f"slice_{name}"])
        assert error < 1e-4, f"{name}: {error:.1e}"
        mean, _, l2, low, high = numbers["stats_mean_std_l2_min_max"][i]
        whole = maps[name].astype(np.float64)
        np.testing.assert_allclose(
            [whole.mean(), np.sqrt((whole**2).sum()), whole.min(), whole.max()],
            [mean, l2, low, high],
            rtol=1e-4,
            err_msg=name,
        )


def test_pooled_feature_agrees_to_1e_4(maps, numbers, relative_error):
    assert relative_error(maps["pooled"], numbers["extract_features"][:, :, 0, 0, 0]) < 1e-4
    assert relative_error(maps["pooled"], numbers["forward_stage1_then_stage2_pos7"][:, :, 0]) < 1e-4
