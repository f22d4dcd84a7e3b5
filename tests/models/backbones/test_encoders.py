"""VideoMAE and ViT: transformers' own numbers, cut anywhere; tubes lie on the pixels that their tokens see."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import shapely
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from models.backbones import backbone_form, build_backbone
from models.backbones.encoder_form import EncoderForm
from models.backbones.encoders import EncoderBackbone
from models.tsanet import build_tsanet
from tasks.masks import MasksConfig, build_masks
from tests.support.saved_encoders import MEAN, STD, encoder, save_encoder

KINDS = ["videomae", "vit"]
CUTS = ["embeddings", "layer.1", "layer.2"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks as small as these wait for each other's threads longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("encoders")
    for kind in KINDS:
        save_encoder(encoder(kind, with_task=True), root / kind)
    return root


def video(frames: int = 16, side: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


def own_feature(kind: str, network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Of transformers' whole model: mean over all tokens, or over the class tokens of the frames as single images."""
    with torch.no_grad():
        if kind == "videomae":
            return network(pixel_values=x.transpose(1, 2)).last_hidden_state.mean(dim=1)
        images = torch.cat([x[:, :, t] for t in range(x.shape[2])])
        return torch.stack(network(pixel_values=images).last_hidden_state[:, 0].split(len(x))).mean(dim=0)


@pytest.mark.parametrize("split", CUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_encoder_gives_transformers_own_answer_wherever_it_is_cut(kind, split, folder):
    """The saved one has a classifier, which is left out; `encoder` drew the same weights without it."""
    whole = encoder(kind, with_task=True)
    x = video()
    wanted = own_feature(kind, getattr(whole, kind), x)
    net = build_backbone(kind, split, folder / kind / "model.safetensors").eval()
    with torch.no_grad():
        assert (net(x) - wanted).abs().max() < 1e-5
        assert wanted.std() > 0.1, "a network that says nothing would agree with anything"
        seen = []
        net(x, lambda h: seen.append(h) or h)
    torch.testing.assert_close(seen[0], net.stage1(x))
    if kind == "videomae":
        torch.testing.assert_close(net.stage2(seen[0]), net(x))
        torch.testing.assert_close(net.last_map(seen[0]).mean(dim=(2, 3, 4)), net(x))


def test_the_last_norm_of_a_network_that_has_one_is_behind_the_cut(tmp_path):
    plain = encoder("videomae", use_mean_pooling=False)
    with torch.no_grad():
        plain.layernorm.weight.uniform_(0.5, 2.0)
    x = video()
    file = save_encoder(plain, tmp_path) / "model.safetensors"
    net = build_backbone("videomae", weights=file).eval()
    with torch.no_grad():
        assert (net(x) - own_feature("videomae", plain, x)).abs().max() < 1e-5


@pytest.mark.parametrize(("kind", "steps", "stride"), [("videomae", 8, 2), ("vit", 16, 1)])
def test_sizes_and_colours_are_those_that_were_saved(kind, steps, stride, folder):
    net = build_backbone(kind, weights=folder / kind / "model.safetensors")
    assert (net.split, net.frames, net.steps, net.stride_t, net.grid) == ("layer.1", 16, steps, stride, (4, 4))
    assert (net.input_size, net.channels, net.features) == (32, 16, 16)
    assert (net.mean, net.std) == (MEAN, STD)
    assert net.training


def test_a_clip_of_other_length_and_tubelets_of_other_length(tmp_path):
    file = save_encoder(encoder("videomae", num_frames=12, tubelet_size=4), tmp_path) / "config.json"
    net = build_backbone("videomae", weights=file)
    assert (net.frames, net.steps, net.stride_t) == (12, 3, 4)


def test_what_is_published_is_the_base_size():
    """Base: 12 layers of 768; the paper's 8×14×14 tokens. On the meta device, where nothing is computed."""
    with torch.device("meta"):
        net = build_backbone("vit")
        assert (net.split, net.steps, net.grid, net.channels, net.input_size) == ("layer.7", 16, (14, 14), 768, 224)
        assert sum(p.numel() for p in net.parameters()) == 85_798_656  # of ViT-B/16 without classifier and pooler
        assert (net.mean, net.std) == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_through_the_attention_at_the_cut(kind, folder):
    net = build_tsanet(kind, weights=folder / kind / "model.safetensors", head="regression",
                       attention_options={"zero_init": False})  # fmt: skip
    backbone = net.backbone
    mask = torch.zeros(1, 2, backbone.steps, *backbone.grid, dtype=torch.bool)
    mask[..., 1:3, 2] = True
    clip = video()[None]
    net(clip, mask).sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in without if "head" not in name] == []
    other = mask.clone()
    other[..., 3, 3] = True
    net.eval()
    with torch.no_grad():
        assert not torch.allclose(net(clip, mask), net(clip, other)), "what attention changed has to reach the score"


def test_what_is_in_front_of_the_cut_are_the_embeddings_and_the_layers_up_to_it(folder):
    net = build_tsanet("videomae", "layer.0", folder / "videomae" / "config.json", attention="none")
    net.freeze("stage1")
    frozen = {name for name, p in net.backbone.named_parameters() if not p.requires_grad}
    assert frozen == {
        name for name, _ in net.backbone.named_parameters() if "embeddings" in name or ("layer.0." in name
        or "layers.0." in name)
    }  # fmt: skip


def test_a_vit_has_no_parts(folder):
    net = build_tsanet("vit", "layer.0", folder / "vit" / "config.json", attention="none")
    with pytest.raises(ValueError, match="class tokens"):
        net.freeze("stage1")
    with pytest.raises(NotImplementedError, match="class tokens"):
        net.backbone.stage2(torch.zeros(1))


SIDE, FRAME, CROP = 48, (70, 60), 40
PATCHES = (6, 8, 12, 16, 24, 48)
corners = arrays.arrays(np.float64, (16, 4, 2), elements=st.floats(-10, 80, width=32))


@lru_cache
def with_patches(kind: str, down: int, across: int) -> EncoderBackbone:
    """Cut in front of the first layer, where a token has seen its own patch and nothing else."""
    small = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    fields = {**small, "image_size": SIDE, "patch_size": [down, across]}
    form = EncoderForm(kind, fields, (0, 0, 0), (1, 1, 1)).text()
    net = build_backbone(kind, "embeddings", form=form)
    assert isinstance(net, EncoderBackbone)
    return net


def patch_in_frame(row: int, column: int, down: int, across: int) -> shapely.Polygon:
    """The pixels of the frame that become a patch: its pixels of the input, undone resize, undone centre crop."""
    left, top, scale = (FRAME[0] - CROP) / 2, (FRAME[1] - CROP) / 2, CROP / SIDE
    x, y = column * across * scale, row * down * scale
    return shapely.box(left + x, top + y, left + x + across * scale, top + y + down * scale)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.sampled_from(PATCHES), st.sampled_from(PATCHES), corners, st.floats(0.05, 1))
def test_tubes_lie_on_the_patches_of_any_size(kind: str, down: int, across: int, quads: NDArray, tau: float) -> None:
    """Coverage and tube mask of the masks stage against shapely's area of quad ∩ patch, both in pixels of the frame."""
    net = with_patches(kind, down, across)
    rows, columns = SIDE // down, SIDE // across
    patches = np.array([[patch_in_frame(r, c, down, across) for c in range(columns)] for r in range(rows)])
    hulls = np.array([shapely.convex_hull(shapely.multipoints(quad)) for quad in quads])
    wanted = shapely.area(shapely.intersection(hulls[:, None, None], patches)) / shapely.area(patches)
    config = MasksConfig(
        tau=tau, grid=net.grid, crop=CROP, starts=(0,), segment_length=net.frames, stride=net.stride_t
    )
    built = build_masks(quads[None], FRAME, config)
    np.testing.assert_allclose(built["coverage"], wanted, atol=1e-4)
    assume(np.abs(wanted - tau).min() > 1e-4)
    steps = (wanted >= tau).reshape(net.steps, net.stride_t, rows, columns).any(axis=1)
    np.testing.assert_array_equal(built["mask"][0], steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("down", "across"), [(16, 16), (8, 24), (24, 4)])
def test_a_token_sees_the_pixels_of_its_cell_and_no_others(kind, down, across):
    net = with_patches(kind, down, across).eval()
    x = video(net.frames, SIDE)[:1]
    with torch.no_grad():
        before = net.stage1(x)
        for t, row, column in ((0, 0, 0), (5, 1, SIDE // across - 1), (15, SIDE // down - 1, 1)):
            changed = x.clone()
            changed[:, :, t, row * down : (row + 1) * down, column * across : (column + 1) * across] += 1
            moved = (net.stage1(changed) != before).any(dim=1)[0].nonzero().tolist()
            assert moved == [[t // net.stride_t, row, column]]


def test_a_form_travels_as_a_tensor_and_builds_the_same_network(folder):
    """A trained network is built again without the weights that it began from."""
    file = folder / "videomae" / "model.safetensors"
    first = build_backbone("videomae", "layer.0", file)
    form = backbone_form("videomae", file)
    again = build_backbone("videomae", "layer.0", form=form)
    again.load_state_dict(first.state_dict())
    assert bytes(first.state_dict()["form"].tolist()).decode() == form
    assert (again.mean, again.std, again.grid) == (MEAN, STD, (4, 4))
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(video()), first.eval()(video()), rtol=0, atol=0)
