"""Poses to a vector: SciPy's cosine transform, and graph convolution with every matrix and sum written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.fft import dct

from models.poses.pose_modules import COCO_BONES, COCO_CENTRE, DctPool, StGcnLayer, StGcnPool, partitioned
from models.temporal import build_temporal


def poses(clips: int, frames: int, joints: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(clips, frames, 3 * joints) * 50 + 100


@pytest.mark.parametrize("absolute", [True, False])
def test_cosines_are_scipys_of_the_way_relative_to_the_root(absolute: bool) -> None:
    steps = poses(2, 20, 4)
    found = DctPool(12, frequencies=6, root=1, absolute=absolute)(steps)
    for clip, vector in zip(steps.double().numpy(), found, strict=True):
        way = clip.reshape(20, 4, 3)[..., :2]
        waves = dct(way - way[:, 1:2], type=2, norm="ortho", axis=0)[:6]  # (K, J, 2)
        wanted = np.moveaxis(np.abs(waves) if absolute else waves, 0, -1).ravel()
        np.testing.assert_allclose(vector.numpy(), wanted, atol=1e-3)


def test_cosines_of_a_clip_are_those_of_its_own_frames() -> None:
    steps = poses(1, 9, 2)
    mask = torch.arange(9)[None] < 5
    pool = DctPool(6, frequencies=7)
    torch.testing.assert_close(pool(steps, mask), pool(steps[:, :5]))
    waves = pool(steps, mask).view(2, 2, 7)
    assert float(waves[1].abs().min(dim=0).values[:5].min()) > 0
    assert float(waves[..., 5:].abs().max()) == 0  # five frames have no more than five frequencies


def test_confidence_and_where_the_athlete_is_are_of_no_account() -> None:
    steps = poses(1, 8, 3)
    moved = steps.view(1, 8, 3, 3) + torch.tensor([30.0, -7.0, 0.4])
    pool = DctPool(9, frequencies=4)
    torch.testing.assert_close(pool(moved.flatten(2)), pool(steps), rtol=1e-4, atol=1e-3)


def test_neighbours_of_a_leg_by_hand() -> None:
    """Hip 0 (the centre), knee 1, foot 2: the hip has none nearer, the foot none farther."""
    same, nearer, farther = partitioned(3, [(0, 1), (1, 2)], [0])
    one, a = 1 / 1.001, 0.001
    torch.testing.assert_close(same, torch.eye(3) * one)
    wanted = torch.zeros(3, 3)
    wanted[1, 0] = wanted[2, 1] = 1
    rows = torch.tensor([a, 1 + a, 1 + a]).rsqrt()
    torch.testing.assert_close(nearer, rows[:, None] * wanted * rows)
    rows = torch.tensor([1 + a, 1 + a, a]).rsqrt()
    torch.testing.assert_close(farther, rows[:, None] * wanted.T * rows)


def test_a_layers_graph_convolution_equals_the_dense_sum() -> None:
    torch.manual_seed(2)
    adjacency = partitioned(4, [(0, 1), (1, 2), (1, 3)], [1])
    layer = StGcnLayer(2, 3, adjacency, stride=1, dropout=0.0)
    with torch.no_grad():
        layer.importance.uniform_(0.5, 1.5)
    x = torch.randn(1, 2, 5, 4)
    found = layer.convolve(x)
    weight, bias = layer.graph.weight.view(3, 3, 2), layer.graph.bias
    assert bias is not None
    wanted = torch.zeros(1, 3, 5, 4)
    for kind in range(3):
        for joint in range(4):
            for other in range(4):
                share = adjacency[kind, joint, other] * layer.importance[kind, joint, other]
                for frame in range(5):
                    moved = weight[kind] @ x[0, :, frame, other] + bias[3 * kind : 3 * kind + 3]
                    wanted[0, :, frame, joint] += share * moved
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_papers_nine_layers_on_coco() -> None:
    pool = build_temporal("stgcn", 51)
    assert isinstance(pool, StGcnPool)
    sizes = [(layer.graph.in_channels, layer.time.out_channels, layer.stride) for layer in pool.layers]  # type: ignore[union-attr]
    assert sizes == [(3, 64, 1), (64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 128, 1), (128, 256, 2),
                     (256, 256, 1), (256, 256, 1)]  # fmt: skip
    assert [layer.time.kernel_size for layer in pool.layers] == [(9, 1)] * 9  # type: ignore[union-attr]
    assert pool.outputs == 256
    with torch.no_grad():
        assert pool.eval()(poses(2, 7, 17)).shape == (2, 256)


def test_every_joint_of_coco_hangs_on_the_body() -> None:
    """Each but shoulders and hips has just one neighbour that is nearer; arms and legs are alike on both sides."""
    bones = [tuple(map(int, bone.split("-"))) for bone in COCO_BONES.split()]
    _, nearer, _ = partitioned(17, bones, [int(joint) for joint in COCO_CENTRE.split()])  # type: ignore[arg-type]
    count = (nearer > 0).sum(dim=1).tolist()
    assert [count[joint] for joint in (5, 6, 11, 12)] == [0] * 4
    assert count[0] == 2  # the nose, on both shoulders
    assert [count[joint] for joint in (1, 2, 3, 4, 7, 8, 9, 10, 13, 14, 15, 16)] == [1] * 12


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match="steps of 8 numbers can't be those"):
        build_temporal("dct", 8)
    with pytest.raises(ValueError, match="a root of 0 to 1; got 50, 2"):
        build_temporal("dct", 6, root=2)
    with pytest.raises(ValueError, match="poses of 5 joints don't fit the skeleton's 17"):
        build_temporal("stgcn", 15)
    with pytest.raises(ValueError, match="no bone leads from the centre to joint 2"):
        build_temporal("stgcn", 9, bones="0-1", centre="0")
    assert math.isfinite(float(DctPool(6, frequencies=1)(poses(1, 1, 2)).sum()))
