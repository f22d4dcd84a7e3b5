"""The count of positions that a softmax row has."""

from __future__ import annotations

import pytest
import torch

from benchmarks.softmax_affinity import TUBE, rows, smooth_noise


def test_rows_of_known_affinities() -> None:
    everywhere = TUBE[0] * TUBE[1] * TUBE[2]
    count, own = rows(torch.zeros(1, 8, *TUBE))
    assert count == pytest.approx(everywhere)
    assert own == pytest.approx(1 / everywhere)
    count, own = rows(100 * torch.eye(everywhere).view(1, everywhere, *TUBE))
    assert count == pytest.approx(1)
    assert own == pytest.approx(1)
    pairs = torch.zeros(1, everywhere // 2, everywhere)
    for position in range(everywhere):
        pairs[0, position // 2, position] = 100
    count, own = rows(pairs.view(1, -1, *TUBE))
    assert count == pytest.approx(2)
    assert own == pytest.approx(0.5)


def test_the_noise_is_smooth() -> None:
    torch.manual_seed(0)
    video = smooth_noise(64, 16)
    assert video.shape == (1, 3, 16, 64, 64)
    assert float(video.std()) == pytest.approx(1)
    assert float((video[..., 1:] - video[..., :-1]).std()) < 0.4
