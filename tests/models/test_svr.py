"""Support vector regression: a case done by hand, scikit-learn's own predictions, weights that are loaded again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.heads import FittedHead, build_head
from models.heads.svr import SvrHead

svm = pytest.importorskip("sklearn.svm")


def drawn(clips: int = 40, features: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    x = torch.randn(clips, features)
    return x, 50 + 10 * x[:, 0] - 5 * x[:, 1].abs() + torch.randn(clips)


def test_the_flattest_line_through_two_points() -> None:
    """Of all lines that pass both scores, 0 at x = 0 and 1 at x = 1, within 0.1, the flattest has slope 0.8."""
    head = SvrHead(1, c=1000.0, epsilon=0.1)
    head.fit(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 1.0]))
    found = head(torch.tensor([[0.0], [1.0], [5.0]]))
    torch.testing.assert_close(found, torch.tensor([0.1, 0.9, 4.1]), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("kernel", "gamma"), [("linear", 0.0), ("rbf", 0.0), ("rbf", 0.3)])
def test_it_predicts_what_scikit_learn_predicts(kernel: str, gamma: float) -> None:
    x, y = drawn()
    head = build_head("svr", 6, kernel=kernel, c=3.0, epsilon=0.5, gamma=gamma)
    assert isinstance(head, FittedHead)
    head.fit(x, y)
    theirs = svm.SVR(kernel=kernel, C=3.0, epsilon=0.5, gamma=gamma or "scale").fit(x.double(), y.double())
    new = torch.randn(2, 5, 6)
    wanted = torch.tensor(theirs.predict(new.double().reshape(-1, 6))).view(2, 5).float()
    torch.testing.assert_close(head(new), wanted, rtol=1e-4, atol=1e-3)


def test_execution_is_fitted_where_the_difficulty_is_known() -> None:
    x, y = drawn()
    difficulty = torch.linspace(1.5, 3.5, len(y))
    plain, by_difficulty = SvrHead(6), SvrHead(6, with_difficulty=True)
    plain.fit(x, y)
    by_difficulty.fit(x, y * difficulty, difficulty)
    decoded = by_difficulty.decode(by_difficulty(x), difficulty)
    torch.testing.assert_close(decoded, plain(x) * difficulty, rtol=1e-3, atol=1e-2)


def test_weights_are_loaded_whatever_their_number() -> None:
    x, y = drawn()
    fitted, empty = SvrHead(6, kernel="rbf"), SvrHead(6, kernel="rbf")
    fitted.fit(x, y)
    assert float(empty(x).abs().max()) == 0
    empty.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(empty(x), fitted(x), rtol=0, atol=0)
    assert not list(fitted.parameters())


def test_wrong_options_are_told() -> None:
    with pytest.raises(ValueError, match="the kernel of head svr is 'linear' or 'rbf', not 'poly'"):
        build_head("svr", 6, kernel="poly")
    with pytest.raises(ValueError, match="c above 0"):
        build_head("svr", 6, c=0.0)
