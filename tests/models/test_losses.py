"""Losses against literal formulas."""

import math

import pytest
import torch

from models.losses import (
    binary_cross_entropy,
    distribution_kl,
    gaussian_soft_labels,
    squared_error,
    step_cross_entropy,
)


def test_soft_labels_are_the_written_gaussian():
    labels = gaussian_soft_labels(torch.tensor([37.3], dtype=torch.float64), 101, sigma=5.0)[0]
    weights = [math.exp(-((c - 37.3) ** 2) / 50.0) for c in range(101)]
    assert labels.tolist() == pytest.approx([w / sum(weights) for w in weights])


def test_soft_labels_keep_leading_axes_and_stay_finite_outside_the_bins():
    labels = gaussian_soft_labels(torch.tensor([[0.0, 20.0], [-500.0, 900.0]]), 21, sigma=1.0)
    assert labels.shape == (2, 2, 21)
    torch.testing.assert_close(labels.sum(-1), torch.ones(2, 2))
    assert labels.argmax(-1).tolist() == [[0, 20], [0, 20]]
    with pytest.raises(ValueError, match="sigma must be positive"):
        gaussian_soft_labels(torch.zeros(1), 3, sigma=0.0)


def test_kl_in_both_scales():
    torch.manual_seed(0)
    logits, target = (
        torch.randn(3, 11, dtype=torch.float64),
        torch.rand(3, 11, dtype=torch.float64).softmax(-1),
    )
    rows = [
        sum(
            t * (math.log(t) - q)
            for t, q in zip(target[b].tolist(), logits[b].log_softmax(-1).tolist(), strict=True)
        )
        for b in range(3)
    ]
    assert distribution_kl(logits, target, "batch").item() == pytest.approx(sum(rows) / 3)
    assert distribution_kl(logits, target).item() == pytest.approx(sum(rows) / 33)


def test_kl_of_the_target_itself_is_zero():
    target = gaussian_soft_labels(torch.tensor([4.0]), 21)
    assert distribution_kl(target.log(), target).item() == pytest.approx(0.0, abs=1e-7)


def test_cross_entropy_is_finite_where_a_sigmoid_saturates():
    assert binary_cross_entropy(torch.tensor([200.0]), torch.tensor([0.0])).item() == pytest.approx(200.0)
    assert binary_cross_entropy(torch.tensor([0.0]), torch.tensor([1.0])).item() == pytest.approx(math.log(2))


def test_each_frame_of_a_segment_counts_once_and_a_clip_without_steps_not_at_all():
    shares = torch.tensor([[[0.75, 0.25], [0.5, 0.5]], [[0.9, 0.1], [0.2, 0.8]], [[0.3, 0.7], [0.6, 0.4]]])
    counts = torch.tensor([[[2.0, 1.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]])
    first = -(2 * math.log(0.75) + math.log(0.25) + 4 * math.log(0.5)) / 7
    last = -math.log(0.6)
    logits = (shares.log() + 3.0).requires_grad_()  # a softmax takes no notice of what all kinds have in common
    loss = step_cross_entropy(logits, counts)
    assert loss.item() == pytest.approx((first + last) / 2)
    loss.backward()
    assert logits.grad[1].abs().max() == 0
    assert logits.grad[2, 0].abs().max() == 0
    assert logits.grad[0].abs().min() > 0
    without = step_cross_entropy(logits[[0, 2]], counts[[0, 2]])
    assert without.item() == pytest.approx(loss.item())
    assert step_cross_entropy(logits[1:2], counts[1:2]).item() == 0


@pytest.mark.parametrize("loss", [squared_error, binary_cross_entropy, distribution_kl, step_cross_entropy])
def test_shapes_must_agree_and_batches_not_be_empty(loss):
    with pytest.raises(ValueError, match=r"\(4, 1\), target \(4,\)"):
        loss(torch.zeros(4, 1), torch.zeros(4))
    with pytest.raises(ValueError, match="empty batch"):
        loss(torch.zeros(0, 3), torch.zeros(0, 3))
