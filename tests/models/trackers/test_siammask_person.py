"""The person's network: its backbone is the classifier's, boxes and outlines lie where the network saw them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from data_catalog.weights.resolve import resolve_weights
from models.trackers import build_tracker
from models.trackers.base import rectangle
from models.trackers.siammask.outline import crop_outline_to_mask
from models.trackers.siammask.person.folded_norms import fold_norms
from models.trackers.siammask.person.person_backbone import PersonBackbone, PersonFeatures, person_backbone_tensors
from models.trackers.siammask.person.person_learning import PersonBatch, overlaps, person_losses
from models.trackers.siammask.person.person_network import (
    SEARCH_PX,
    TEMPLATE_PX,
    PersonResponse,
    PersonSiamMask,
    places,
)
from models.trackers.siammask.person.person_search import (
    PersonSearch,
    PersonSettings,
    choose_box,
    choose_quad,
    cut_crops,
)
from models.trackers.siammask.tracker import SiamMaskTracker
from tasks.pretrain.train_tracker import save_weights
from tests.models.trackers.test_siammask_small import random_classifier

OPEN = PersonSettings(penalty=0.0, window=0.0)


def untrained(seed: int = 0) -> PersonSiamMask:
    torch.manual_seed(seed)
    return PersonSiamMask().eval()


def test_the_backbone_is_the_classifiers() -> None:
    network, ours = random_classifier(), PersonBackbone().eval()
    ours.load_state_dict(person_backbone_tensors(network.state_dict()))
    crop = torch.rand(2, 3, 64, 64) * 255
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (crop.flip(1) / 255 - mean) / deviation
    wanted = []
    with torch.inference_mode():
        for number, part in enumerate(network.features[:14]):
            x = part(x)
            if number in (1, 3, 6, 13):
                wanted.append(x)
        maps = ours(crop)
    assert [tuple(one.shape[1:]) for one in maps] == [(16, 32, 32), (24, 16, 16), (32, 8, 8), (96, 4, 4)]
    for found, true in zip(maps, wanted, strict=True):
        assert torch.allclose(found, true, rtol=1e-4, atol=1e-4 * float(true.abs().max()))


def test_another_file_is_no_classifier() -> None:
    tensors = torchvision.models.mobilenet_v2().state_dict()
    del tensors["features.13.conv.2.weight"]
    with pytest.raises(ValueError, match=r"not torchvision's mobilenet_v2: features\.13\.conv\.2\.weight is missing"):
        person_backbone_tensors(tensors)


def test_an_untrained_box_is_of_one_size_about_its_position() -> None:
    network = untrained()
    with torch.inference_mode():
        template = network.template(torch.rand(1, 3, TEMPLATE_PX, TEMPLATE_PX) * 255)
        response = network.search(torch.rand(1, 3, SEARCH_PX, SEARCH_PX) * 255, template)
        assert network.outline(response).shape == (1, 80, 80)
    assert response.score.shape == (1, 20, 20)
    middle = (response.box[0, ..., :2] + response.box[0, ..., 2:]) / 2
    assert torch.allclose(middle, places(20, torch.device("cpu")), atol=1e-4)
    assert middle[0, 0].tolist() == pytest.approx([-76, -76])   # the first of twenty cells of 8 px
    sides = response.box[..., 2:] - response.box[..., :2]
    assert torch.allclose(sides, torch.full_like(sides, 2 * 10.5 * np.log1p(np.exp(2.0))))


def test_crops_are_cut_where_they_say() -> None:
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.integers(0, 256, (2, 40, 60, 3), np.uint8))
    padding = torch.tensor([[10, 20, 30], [1, 2, 3]], dtype=torch.uint8)
    centre = torch.tensor([[30.0, 20.0], [0.0, 20.0]], dtype=torch.float64)
    which, side = torch.tensor([1, 0]), torch.full((2,), 16.0, dtype=torch.float64)
    inside, beyond = cut_crops(frames, which, centre, side, padding, 16)
    assert torch.allclose(inside, frames[1, 12:28, 22:38].permute(2, 0, 1).flip(0).float(), atol=1e-2)
    assert torch.allclose(beyond[:, :, 8:], frames[0, 12:28, :8].permute(2, 0, 1).flip(0).float(), atol=1e-2)
    assert torch.allclose(beyond[:, :, :7], torch.tensor([3.0, 2.0, 1.0])[:, None, None].expand(3, 16, 7), atol=1e-2)


def response_of(score: Tensor, box: Tensor) -> PersonResponse:
    empty = torch.zeros(len(score), 0)
    return PersonResponse(score, box, torch.zeros_like(score), empty, PersonFeatures(*(empty,) * 4))


def test_the_box_is_what_the_best_positions_say() -> None:
    score, box = torch.full((1, 20, 20), -9.0), torch.zeros(1, 20, 20, 4)
    box[..., 2:] = 1.0
    score[0, 4, 7], box[0, 4, 7] = 3.0, torch.tensor([-40.0, -30, 0, 50])
    score[0, 4, 8], box[0, 4, 8] = 3.0, torch.tensor([-20.0, -30, 20, 50])
    before = torch.tensor([[40.0, 80.0]], dtype=torch.float64)
    found, sure, trust = choose_box(response_of(score, box), before, OPEN, window=0.0)
    assert found[0].tolist() == pytest.approx([-30, -30, 10, 50])   # the mean of the two
    assert (float(sure), float(trust)) == pytest.approx((torch.tensor(3.0).sigmoid().item(), 0.5))


def test_another_shape_ranks_lower_by_the_penalty() -> None:
    score, box = torch.full((1, 20, 20), -9.0), torch.zeros(1, 20, 20, 4)
    box[..., 2:] = 1.0
    score[0, 9, 9], box[0, 9, 9] = 2.0, torch.tensor([-5.0, -5, 5, 5])        # a part of the person, a little surer
    score[0, 9, 10], box[0, 9, 10] = 1.5, torch.tensor([-20.0, -40, 20, 40])  # all of the person
    before = torch.tensor([[40.0, 80.0]], dtype=torch.float64)
    plain, _, _ = choose_box(response_of(score, box), before, dataclasses.replace(OPEN, alike=1.0), window=0.0)
    wary, _, _ = choose_box(
        response_of(score, box), before, dataclasses.replace(OPEN, alike=1.0, penalty=0.2), window=0.0
    )
    assert plain[0].tolist() == pytest.approx([-5, -5, 5, 5])
    assert wary[0].tolist() == pytest.approx([-20, -40, 20, 40])


def test_overlaps_by_hand() -> None:
    found, true = torch.tensor([[0.0, 0, 2, 2], [0.0, 0, 1, 1]]), torch.tensor([[1.0, 0, 3, 2], [2.0, 0, 3, 1]])
    plain, generalised = overlaps(found, true)
    assert plain.tolist() == pytest.approx([2 / 6, 0.0])
    assert generalised.tolist() == pytest.approx([2 / 6, -1 / 3])   # a third of the hull is empty


def test_an_outline_is_painted_where_the_crop_lay() -> None:
    outline = np.zeros((80, 80), np.float32)
    outline[20:40, 30:50] = 1
    mask = crop_outline_to_mask(outline, np.array([100.0, 50.0, 160.0]), (300, 200), 0.5)   # 2 pixels a cell
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == (90, 130, 160, 200)


def test_the_rectangle_is_the_quad_where_it_is_of_the_same_person_and_no_larger() -> None:
    upright, settings = rectangle(np.array([0.0, 0, 60, 60])), PersonSettings()
    across = np.array([[0, 10], [10, 0], [60, 50], [50, 60]], np.float32)       # a third of the box, as wide as it
    half = np.array([[0, 10], [10, 0], [35, 25], [25, 35]], np.float32)         # of another extent
    standing = rectangle(np.array([3.0, 2, 56, 58]))
    larger = (1.2 * (standing - 30) + 30).astype(np.float32)                    # of somebody else too
    assert choose_quad(upright, across, settings) is across
    assert choose_quad(upright, standing, settings) is standing
    assert choose_quad(upright, half, settings) is upright
    assert choose_quad(upright, larger, settings) is upright


def test_folded_norms_change_nothing_but_the_time() -> None:
    network = untrained()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -1, 1)
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
            torch.nn.init.uniform_(part.weight, 0.5, 2)
    torch.nn.init.normal_(network.box[-1].weight, std=0.1)
    folded = fold_norms(network)
    norms = [sum(isinstance(part, torch.nn.BatchNorm2d) for part in one.modules()) for one in (network, folded)]
    assert norms[1] == 3 < norms[0]   # those that follow no convolution
    crops = torch.rand(2, 3, SEARCH_PX, SEARCH_PX) * 255
    with torch.inference_mode():
        found = [one.search(crops, one.template(crops[..., :TEMPLATE_PX, :TEMPLATE_PX])) for one in (network, folded)]
        drawn = [one.outline(response) for one, response in zip((network, folded), found, strict=True)]
    assert float(found[0].box.std()) > 1
    for wanted, seen in ((found[0].box, found[1].box), (found[0].score, found[1].score), drawn):
        assert torch.allclose(seen, wanted, rtol=1e-4, atol=1e-3)


def test_nobody_present_teaches_no_box() -> None:
    network = untrained().train()
    crops = torch.rand(3, 3, SEARCH_PX, SEARCH_PX) * 255
    batch = PersonBatch(
        crops[..., :TEMPLATE_PX, :TEMPLATE_PX], crops, torch.tensor([[-20.0, -30, 20, 30]] * 3),
        torch.zeros(3, SEARCH_PX, SEARCH_PX), torch.zeros(3, dtype=torch.bool),
    )  # fmt: skip
    errors = {name: error.detach() for name, error in person_losses(network, batch).items()}
    assert float(errors["box"]) == float(errors["outline"]) == 0
    assert float(errors["score"]) > 0


def test_saved_weights_track_and_lost_ones_are_searched_more_widely(tmp_path: Path) -> None:
    network = untrained()
    torch.nn.init.constant_(network.score[-1].bias, -6.0)   # it sees nobody anywhere
    save_weights(network, tmp_path / "own.safetensors")
    assert (tmp_path / "own.safetensors").stat().st_size < 8_000_000
    with pytest.raises(ValueError, match="has no preset 'base'; leave `preset` away, or take upright"):
        build_tracker("siammask", weights=tmp_path / "own.safetensors", preset="base")
    tracker = build_tracker("siammask", weights=tmp_path / "own.safetensors")
    frames = np.random.default_rng(0).integers(0, 256, (1, 90, 120, 3), np.uint8).repeat(4, axis=0)   # a still scene
    [tube] = tracker.track(frames, np.array([[30, 20, 70, 60]], np.float32))
    assert tube.quads.shape == (4, 4, 2)
    assert tube.lost[1:].all()
    np.testing.assert_allclose(tube.quads[1:], np.broadcast_to(tube.quads[0], (3, 4, 2)), atol=0.1)


def test_upright_boxes_alone_are_the_same_boxes(tmp_path: Path) -> None:
    network, file = untrained(), tmp_path / "own.safetensors"
    torch.nn.init.constant_(network.score[-1].bias, 3.0)   # it sees somebody everywhere
    save_weights(network, file)
    frames = np.random.default_rng(0).integers(60, 120, (4, 120, 160, 3), np.uint8)
    start = np.array([[50, 30, 80, 90]], np.float32)
    drawn, upright = (build_tracker("siammask", weights=file, preset=preset) for preset in (None, "upright"))
    assert isinstance(drawn, SiamMaskTracker)
    drawn.search = dataclasses.replace(drawn.search, settings=PersonSettings(mask_threshold=0.0))
    [full], [plain] = drawn.track(frames, start), upright.track(frames, start)
    np.testing.assert_array_equal(full.scores, plain.scores)
    assert not plain.lost.any()
    assert full.masks is not None
    assert plain.masks is not None
    assert any(mask is not None for mask in full.masks)
    assert not any(mask is not None for mask in plain.masks)
    assert np.ptp(plain.quads[:, [0, 3], 0], axis=1).max() == 0   # left corners lie over one another
    with pytest.raises(ValueError, match="siammask has no preset 'upright'"):
        build_tracker("siammask", weights=resolve_weights("siammask-s", Path("nowhere")), preset="upright")


def test_lost_and_found_go_through_together() -> None:
    """One of two is lost: it is looked for in a crop of four times the area, and both come back in their places."""
    search = PersonSearch(untrained(), PersonSettings(lost_below=0.0, found_above=1.0))
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 90, 120, 3), np.uint8))
    boxes = torch.tensor([[30.0, 20, 70, 60], [60.0, 20, 80, 70]], dtype=torch.float64)
    targets = search.start(frames, torch.tensor([0, 0]), boxes)
    targets.lost = torch.tensor([True, False])
    found = search.step(targets, frames)
    assert found.lost.tolist() == [True, False]
    assert found.centre[0].tolist() == [50, 40]
    assert found.window[:, 2].tolist() == pytest.approx([4 * 80, 2 * np.sqrt((20 + 35) * (50 + 35))])
    assert (found.outline.amax(dim=(1, 2)) > 0).tolist() == [False, True]   # who is looked for is not drawn
