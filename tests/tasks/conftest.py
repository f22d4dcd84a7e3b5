"""What the tests of training share; torch is imported only where a test needs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tasks.train import TrainResult


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Bit-identical results are promised for one number of threads, not across numbers."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 tiny clips, 14 of them for training."""
    from tests.support.tiny_training import tiny_pack

    return tiny_pack(tmp_path_factory.mktemp("pack") / "pack.h5")


@pytest.fixture(scope="module")
def trained(pack: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """The training that nobody interrupted."""
    from tasks.train import train
    from tests.support.tiny_training import CONFIG, MODEL

    return train(pack, MODEL, CONFIG, tmp_path_factory.mktemp("whole"))
