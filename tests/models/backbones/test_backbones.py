"""Backbones: the seam's sizes, the cut changes nothing, torchvision's networks stay torchvision's."""

from types import SimpleNamespace

import pytest
import torch
import torchvision.models.video as zoo
from torch import nn
from torchvision.models.video.mvit import MSBlockConfig, MViT

from models.backbones import BACKBONES, Backbone, build_backbone
from models.backbones.i3d import I3D, SamePool3d, Unit3d, endpoint_alias, same_padding
from models.backbones.split import derive_layout
from models.backbones.torchvision import MViTBackbone

CUTS = [
    ("i3d", None, 528, 4, (14, 14), 1024),
    ("i3d", "maxpool_4a", 480, 4, (14, 14), 1024),
    ("i3d", "Mixed_5c", 1024, 2, (7, 7), 1024),
    ("i3d_small", None, 112, 4, (14, 14), 256),
    ("r3d_18", None, 256, 4, (14, 14), 512),
    ("r3d_18", "layer2", 128, 8, (28, 28), 512),
    ("s3d", None, 528, 4, (14, 14), 1024),
]


@pytest.mark.parametrize(("name", "split", "channels", "steps", "grid", "features"), CUTS)
def test_sizes_come_from_the_dry_run(name, split, channels, steps, grid, features):
    net = build_backbone(name, split)
    assert isinstance(net, Backbone)
    assert (net.channels, net.steps, net.grid, net.features) == (channels, steps, grid, features)
    assert net.stride_t * net.steps == net.frames
    assert net.training, "the dry run must leave a fresh network in training mode"


def test_dry_run_matches_a_real_run():
    net = build_backbone("i3d_small").eval()
    with torch.no_grad():
        h = net.stage1(torch.zeros(2, 3, 16, 112, 112))
        assert h.shape == (2, net.channels, net.steps, *net.grid)
        assert net.stage2(h).shape == (2, net.features)


def test_dry_run_touches_neither_weights_nor_statistics():
    net = build_backbone("i3d_small")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    derive_layout(net, 16, 112)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_the_cut_does_not_change_the_network():
    torch.manual_seed(0)
    whole = I3D("mixed_5c").eval()
    x = torch.randn(1, 3, 8, 64, 64)
    with torch.no_grad():
        wanted = whole(x)
        for split in ("maxpool_4a", "mixed_4e"):
            cut = I3D(split).eval()
            cut.load_state_dict(whole.state_dict())
            torch.testing.assert_close(cut(x), wanted, rtol=0, atol=0)
            torch.testing.assert_close(cut.stage2(cut.stage1(x)), wanted, rtol=0, atol=0)


def test_between_works_on_the_map_at_the_cut():
    net = build_backbone("i3d_small").eval()
    x = torch.randn(1, 3, 16, 112, 112)
    with torch.no_grad():
        h = net.stage1(x)
        torch.testing.assert_close(net(x, lambda m: 2 * m), net.stage2(2 * h))


@pytest.mark.parametrize(("name", "alias"), [("MaxPool3d_4a_3x3", "maxpool_4a"), ("Conv3d_1a_7x7", "conv_1a"),
                                             ("Mixed_4e", "mixed_4e"), ("mixed_4e", "mixed_4e")])  # fmt: skip
def test_endpoint_names(name, alias):
    assert endpoint_alias(name) == alias


@pytest.mark.parametrize(
    ("name", "split", "words"),
    [("i3d", "mixed_9z", "I3D has no endpoint 'mixed_9z' .* mixed_4e"), ("r3d_18", "layer9", "no layer 'layer9'"),
     ("swin3d_t", "norm", "no layer 'norm'"), ("resnet", None, "no backbone 'resnet'; choose one of i3d")],
)  # fmt: skip
def test_unknown_names_are_told(name, split, words):
    with pytest.raises(ValueError, match=words):
        build_backbone(name, split)


@pytest.mark.parametrize("n", range(1, 12))
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (2, 2), (3, 1), (3, 2), (7, 2)])
def test_same_padding_keeps_ceil_of_length_over_stride(n, kernel, stride):
    (before, *_), (after, *_) = same_padding((n, 1, 1), (kernel, 1, 1), (stride, 1, 1))
    assert (n + before + after - kernel) // stride + 1 == -(-n // stride)
    assert 0 <= after - before <= 1


@pytest.mark.parametrize("n", [5, 6, 7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("signed", [False, True])
def test_pooling_equals_pooling_of_a_zero_padded_map(n, kernel, stride, signed):
    x = torch.rand(1, 2, n, n, n) - (0.9 if signed else 0.0)
    (b, *_), (a, *_) = same_padding((n,) * 3, (kernel,) * 3, (stride,) * 3)
    slow = nn.functional.max_pool3d(nn.functional.pad(x, [b, a] * 3), kernel, stride)
    pool = SamePool3d((kernel,) * 3, (stride,) * 3)
    pool.signed = signed
    torch.testing.assert_close(pool(x), slow, rtol=0, atol=0)


@pytest.mark.parametrize("split", ["mixed_3c", "maxpool_4a", "mixed_4e"])
def test_the_pool_behind_the_cut_expects_what_attention_makes_of_the_map(split):
    """Attention makes negative values; padding by zero and by minus infinity differ there, and the former is public."""
    net = I3D(split).eval()
    pools = [(name, m) for name, m in net.named_modules() if isinstance(m, SamePool3d)]
    behind = {"mixed_3c": "MaxPool3d_4a_3x3", "maxpool_4a": "Mixed_4b", "mixed_4e": "Mixed_4f"}[split]
    assert [name.split(".")[0] for name, m in pools if m.signed] == [behind]


@pytest.mark.parametrize("n", [7, 8])
def test_convolution_equals_convolution_of_a_zero_padded_map(n):
    unit = Unit3d(2, 3, (3, 3, 3), (2, 2, 2)).eval()
    x = torch.randn(1, 2, n, n, n)
    (b, *_), (a, *_) = same_padding((n,) * 3, (3,) * 3, (2,) * 3)
    conv = nn.functional.conv3d(nn.functional.pad(x, [b, a] * 3), unit.conv3d.weight, stride=2)
    torch.testing.assert_close(unit(x), unit.bn(conv).relu())


@pytest.mark.parametrize(
    ("name", "factory", "classifier", "shape"),
    [("r3d_18", zoo.r3d_18, "fc", (1, 3, 8, 32, 32)), ("r2plus1d_18", zoo.r2plus1d_18, "fc", (1, 3, 8, 32, 32)),
     ("swin3d_t", zoo.swin3d_t, "head", (1, 3, 8, 64, 64))],
)  # fmt: skip
def test_a_torchvision_file_gives_torchvisions_own_answer(tmp_path, name, factory, classifier, shape):
    """The pooled feature through torchvision's classifier is torchvision's output; the file route drops that."""
    torch.manual_seed(0)
    original = factory(weights=None).eval()
    file = tmp_path / f"{name}.pth"
    torch.save(original.state_dict(), file)
    net = build_backbone(name, weights=file).eval()
    x = torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(getattr(original, classifier)(net(x)), original(x))
        torch.testing.assert_close(net.stage2(net.stage1(x)), net(x))
    assert not any(key.startswith(f"network.{classifier}.") for key in net.state_dict())


def test_mvit_carries_its_class_token_over_the_cut():
    settings = [
        MSBlockConfig(1, 8, 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
        MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
        MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 1, 1]),
    ]
    torch.manual_seed(0)
    original = MViT((32, 32), 16, settings, residual_pool=True, residual_with_cls_embed=False, rel_pos_embed=True,
                    proj_after_attn=True).eval()  # fmt: skip
    x = torch.randn(2, 3, 16, 32, 32)
    with torch.no_grad():
        wanted = original(x)
        classify, original.head = original.head, nn.Identity()
        small = SimpleNamespace(crop_size=[32], mean=(0.45,) * 3, std=(0.2,) * 3)
        net = MViTBackbone(original, "blocks.1", small).eval()
        torch.testing.assert_close(classify(net(x)), wanted)
        assert not torch.allclose(net(x, torch.zeros_like), net(x))
        assert net.stage1(x).shape == (2, net.channels, net.steps, *net.grid)
    with pytest.raises(NotImplementedError, match="class token"):
        net.stage2(torch.zeros(1))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "classifier"), [("s3d", "classifier"), ("mvit_v2_s", "head")])
def test_full_size_torchvision_networks(name, classifier):
    torch.manual_seed(0)
    original = getattr(zoo, name)(weights=None).eval()
    net = build_backbone(name).eval()
    net.network.load_state_dict({k: v for k, v in original.state_dict().items() if not k.startswith(classifier)})
    x = torch.randn(1, 3, 16, 224, 224)
    with torch.no_grad():
        feature = net(x)[..., None, None, None] if name == "s3d" else net(x)
        torch.testing.assert_close(getattr(original, classifier)(feature).flatten(1), original(x))


def test_kinetics_weights_without_network_are_one_sentence(monkeypatch):
    def offline(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ValueError, match=r"not be fetched from https://.*r3d_18.* \(no route to host\); down"):
        build_backbone("r3d_18", weights="kinetics")
    with pytest.raises(ValueError, match="neither a file nor one of kinetics, KINETICS400_V1"):
        build_backbone("r3d_18", weights="imagenet")


def test_every_registered_name_resolves():
    for entry in BACKBONES.values():
        assert callable(entry.load())


def test_the_narrow_i3d_stays_within_its_budget():
    from torch.utils.flop_counter import FlopCounterMode

    net = build_backbone("i3d_small").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 16, 112, 112))
    assert counter.get_total_flops() / 2 <= 0.15e9
