"""The whole network against the released code's forward pass, defect and all, and with its order put right."""

import numpy as np
import pytest
import torch

from models.tsanet import build_tsanet

STARTS = (0, 16, 32, 48, 64, 80, 87)
SPLITS = {"pos7": ("maxpool_4a", 480), "pos11": ("mixed_4e", 528)}


@pytest.fixture(scope="module")
def numbers(golden):
    return np.load(golden / "e2e_official.npz")


@pytest.fixture(scope="module")
def video(numbers, seeded):
    """(1, 7, 3, 16, 224, 224): the seven segments of the golden video."""
    frames = seeded(5001, (1, 103, 3, 224, 224), numbers["video_crc32"]).transpose(1, 2)
    return torch.stack([frames[:, :, s : s + 16] for s in STARTS], dim=1)


@pytest.fixture(scope="module")
def mask(golden, numbers):
    """(1, 7, 4, 14, 14): the released, uncropped masks of track 0."""
    masks = np.load(golden / "masks_official.npz")
    shape = tuple(masks["official_mask_shape"])
    tube = np.unpackbits(masks["official_mask_packed"])[: np.prod(shape)].reshape(shape)[0].astype(bool)
    assert tube.sum() == numbers["pos7/tube_positions"]
    return torch.from_numpy(tube).view(1, 7, 4, 14, 14)


def build(recipe_weights, split, attention, compat):
    model = build_tsanet("i3d", split, attention=attention, affinity="softmax", head="classification", compat=compat)
    i3d = {k: v for k, v in recipe_weights("keys_i3d").items() if not k.startswith("logits.")}
    model.backbone.load_state_dict(i3d)
    evaluator = recipe_weights("keys_evaluator_out1")
    model.head.mlp.load_state_dict({k.removeprefix("evaluator."): v for k, v in evaluator.items()})
    if attention == "tsa":
        channels = model.backbone.channels
        model.attention[0].load_state_dict(recipe_weights(f"keys_tsa_c{channels}"))
    return model.eval()


def agree(model, video, mask, numbers, case, relative_error):
    with torch.no_grad():
        features = model.segment_features(video, mask)
        score = model.head.decode(model.head(features.mean(dim=1)))
    prefix = f"{case}_" if case.startswith("pos") else f"{case}/"
    assert relative_error(features.numpy(), numbers[f"{prefix}clip_feats"]) < 1e-4
    np.testing.assert_allclose(score.numpy(), numbers[f"{prefix}score"][:, 0], rtol=1e-4)


@pytest.mark.parametrize(
    ("position", "compat", "case"),
    [
        ("pos7", "released", "official"),
        ("pos11", "paper", "fixed_order"),
        pytest.param("pos7", "paper", "fixed_order", marks=pytest.mark.slow),
        pytest.param("pos11", "released", "official", marks=pytest.mark.slow),
    ],
)
def test_with_attention(recipe_weights, video, mask, numbers, relative_error, position, compat, case):
    model = build(recipe_weights, SPLITS[position][0], "tsa", compat)
    assert model.backbone.channels == SPLITS[position][1]
    agree(model, video, mask, numbers, f"{position}/{case}", relative_error)


@pytest.mark.slow
def test_without_attention(recipe_weights, video, mask, numbers, relative_error):
    agree(build(recipe_weights, "maxpool_4a", "none", "paper"), video, mask, numbers, "plain", relative_error)


class PassOn(torch.nn.Module):
    """Attention that changes nothing, so that only the order of the segments remains."""

    def forward(self, x, mask):
        return x


@pytest.mark.slow
def test_segment_order_alone(recipe_weights, video, mask, numbers, relative_error):
    model = build(recipe_weights, "maxpool_4a", "none", "released")
    model.attention.append(PassOn())
    agree(model, video, mask, numbers, "scramble_only_pos7", relative_error)
