"""What users have as weights of VideoMAE and ViT: read as data, and one sentence where it can't be."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.backbones import backbone_form, build_backbone
from tests.support.saved_encoders import MEAN, STD, TINY, encoder, save_encoder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks as small as these wait for each other's threads longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_encoder(encoder("videomae"), tmp_path / "saved")


def build(weights: Path, kind: str = "videomae") -> Any:
    return build_backbone(kind, weights=weights)


def change(folder: Path, file: str = "config.json", **values: Any) -> Path:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return path


def test_a_config_alone_stands_for_random_weights_of_its_size(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.manual_seed(1)
    one, other = build(folder / "config.json"), build(folder / "config.json")
    weights = [net.network.encoder.layer[0].output.dense.weight for net in (one, other)]
    assert weights[0].shape == (16, 32)
    assert not torch.equal(*weights)


@pytest.mark.parametrize("kind", ["videomae", "vit"])
def test_a_pickled_state_dict_is_read_as_tensors(kind: str, tmp_path: Path) -> None:
    """`pytorch_model.bin`, as models were saved before safetensors; in half precision here."""
    network = encoder(kind, with_task=True)
    folder = save_encoder(network, tmp_path / kind)
    tensors = load_file(folder / "model.safetensors")
    torch.save({name: tensor.half() for name, tensor in tensors.items()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    net = build(folder / "pytorch_model.bin", kind)
    for name, wanted in getattr(network, kind).state_dict().items():
        if not name.startswith("pooler"):
            torch.testing.assert_close(net.network.state_dict()[name], wanted.half().float(), rtol=0, atol=0)


def test_a_pickle_that_would_run_code_is_refused(folder: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return sys.exit, ("code of the file ran",)

    torch.save({"encoder": Harm()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is not a file of plain tensors"):
        build(folder / "pytorch_model.bin")


def test_weights_that_are_not_all_there_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.startswith("encoder.layer.2"))
    save_file({**{n: t for n, t in tensors.items() if n != name}, "more": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"1 missing \(encoder\.layer\.2.*; 1 unexpected \(more\)"):
        build(file)


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    change(folder, intermediate_size=24)
    with pytest.raises(ValueError, match=r"model\.safetensors does not hold .* of another shape \(encoder\.layer\.0"):
        build(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "vit"}, "model.backbone is videomae, and .* is of model_type 'vit'"),
        ({"image_size": [32, 48]}, "32×48 px; only square"),
        ({"patch_size": 7}, "7×7 px don't fill"),
        ({"patch_size": 0}, "0×0 px|makes no network"),
        ({"hidden_size": 10**9}, "hidden_size .* sizes are 0 to"),
        ({"hidden_size": -16}, "hidden_size .* sizes are 0 to"),
        ({"hidden_size": "wide"}, "makes no network: .*hidden_size"),
        ({"hidden_size": {"a": 1}}, "which is no size"),
        ({"hidden_act": "nothing"}, "makes no network"),
        ({"num_attention_heads": 3}, "makes no network: .*heads"),
    ],
)
def test_a_config_that_makes_no_network_is_one_sentence(folder: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        build(change(folder, **values))
    assert "\n" not in str(caught.value)


def test_nothing_in_a_config_but_sizes_is_taken(folder: Path) -> None:
    """Code of the hub, kernels, adapters and quantisation are named there, and are none of a network's sizes."""
    change(folder, auto_map={"AutoModel": "evil.py"}, _attn_implementation="org/kernel", quantization_config={"x": 1})
    form = json.loads(backbone_form("videomae", folder / "model.safetensors") or "")
    assert form["fields"].keys() <= {*TINY, "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob",
                                     "layer_norm_eps", "num_channels", "num_frames", "tubelet_size", "qv_bias",
                                     "use_mean_pooling"}  # fmt: skip
    assert form["fields"].items() >= TINY.items()
    assert build(folder / "model.safetensors").network.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("values", "found"),
    [({}, (MEAN, STD)), ({"do_normalize": False}, ((0.0,) * 3, (1.0,) * 3)), ({"do_rescale": False}, "divide pixels"),
     ({"rescale_factor": 1 / 127.5}, "divide pixels"), ({"image_mean": [0.5]}, "image_mean and image_std"),
     ({"image_std": [0, 1, 1]}, "can't be divided by"), ({"image_std": None}, "image_mean and image_std")],
)  # fmt: skip
def test_colours_come_from_the_preprocessor(folder: Path, values: dict[str, Any], found: Any) -> None:
    change(folder, "preprocessor_config.json", **values)
    if isinstance(found, str):
        with pytest.raises(ValueError, match=found):
            backbone_form("videomae", folder / "model.safetensors")
        return
    form = json.loads(backbone_form("videomae", folder / "model.safetensors") or "")
    assert (tuple(form["mean"]), tuple(form["std"])) == found


def test_without_a_config_the_size_is_not_guessed(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no .*config\.json, which says how large the encoder is"):
        build(folder / "model.safetensors")


@pytest.mark.parametrize("content", [b"{", b"[1]", b"[" * 100_000, b" " * (1 << 20) + b"{}", b"\xff"])
def test_a_file_that_is_no_config_is_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json (is|holds)"):
        build(folder / "model.safetensors")
