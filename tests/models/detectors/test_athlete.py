"""athlete-n: the weights that ship, what they find, and files that must not be trusted."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from data_catalog.synthetic.sport.render_clip import render
from data_catalog.synthetic.sport.storyboard import plan_clip
from data_catalog.synthetic.sport.write import first_box
from models.detectors import build_detector, detector_weights
from models.detectors.athlete_network import build_network, load_weights, save_weights, start_from_imagenet

MAX_BYTES = 6_000_000


def test_the_shipped_weights_are_small_and_numbers_only() -> None:
    file = detector_weights("athlete-n", None)
    assert file is not None
    assert file.stat().st_size <= MAX_BYTES
    content = torch.load(file, weights_only=True)  # refuses whatever is not tensors and plain values
    kinds = {value.dtype for value in content["state"].values()}
    assert kinds == {torch.float16}


def test_the_shipped_weights_find_a_diver_on_the_platform() -> None:
    """Of an arena and a dive that they were not trained on."""
    detector = build_detector("athlete-n", min_score=0.05)
    right = 0
    for index in range(3):
        shot = next(iter(render(plan_clip("diving", index, 20_000 + index, "640x360"))))
        x, y, w, h = first_box(shot.masks[0])
        found = detector.detect([shot.frame])[0]
        if len(found.scores):
            low = np.maximum(found.boxes[0, :2], [x, y])
            high = np.minimum(found.boxes[0, 2:], [x + w, y + h])
            common = np.clip(high - low, 0, None).prod()
            right += common > 0.5 * (w * h + (found.boxes[0, 2:] - found.boxes[0, :2]).prod() - common)
    assert right >= 2


def test_nobody_is_found_in_a_blank_frame_and_batches_change_nothing() -> None:
    detector = build_detector("athlete-n", min_score=0.25)
    blank = np.full((256, 455, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (256, 455, 3), np.uint8)
    together, alone = detector.detect([blank, noise]), [detector.detect([one])[0] for one in (blank, noise)]
    assert len(together[0].scores) == 0
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.05)


def test_weights_survive_being_written(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = build_network().eval()
    save_weights(network, tmp_path / "a.pth")
    again = load_weights(tmp_path / "a.pth")
    pixels = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(again(pixels)[0], network(pixels)[0], rtol=0.02, atol=0.5)  # 16 bits a number
    assert not again.training


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no weights at all", "are damaged or hold more than numbers"),
        (pickle.dumps(Evil()), "are damaged or hold more than numbers"),
        ({"state": {}}, "are not athlete-n 1"),
        ({"format": "athlete-n 1", "state": {"model.1.weight": torch.zeros(1)}}, "do not fit athlete-n"),
        (torch.zeros(2), "hold no named tensors"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, content: object, says: str) -> None:
    file = tmp_path / "x.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=says):
        build_detector("athlete-n", weights=file)


def test_tensors_of_another_shape_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    save_weights(build_network(), file)
    content = torch.load(file, weights_only=True)
    name = next(iter(content["state"]))
    content["state"][name] = torch.zeros(3)
    torch.save(content, file)
    with pytest.raises(ValueError, match="other shapes"):
        load_weights(file)


def test_the_backbone_takes_torchvisions_weights_and_nothing_else(tmp_path: Path) -> None:
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    given = mobilenet_v2(weights=None)
    torch.save(given.state_dict(), tmp_path / "m.pth")
    network = build_network()
    start_from_imagenet(network, tmp_path / "m.pth")
    torch.testing.assert_close(network.model[0].m[3].conv[0][0].weight, given.features[3].conv[0][0].weight)
    torch.save({"features.0.0.weight": torch.zeros(1)}, tmp_path / "m.pth")
    with pytest.raises(ValueError, match="not torchvision's mobilenet_v2"):
        start_from_imagenet(network, tmp_path / "m.pth")
