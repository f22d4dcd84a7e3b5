"""What the tests of training share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_training import CONFIG, MODEL, tiny_pack

from tasks.train import TrainResult, train


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Bit-identical results are promised for one number of threads, not across numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 tiny clips, 14 of them for training."""
    return tiny_pack(tmp_path_factory.mktemp("pack") / "pack.h5")


@pytest.fixture(scope="session")
def trained(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """The training that nobody interrupted."""
    torch.set_num_threads(1)
    return train(pack, MODEL, CONFIG, tmp_path_factory.mktemp("whole"))
