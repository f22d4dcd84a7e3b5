"""TSANet: segments folded and parted in the right order, baselines, released order, what else it returns."""

import pytest
import torch
from torch import nn

from models.attention import NonLocal, TubeSelfAttention
from models.backbones.split import SplitBackbone
from models.heads import build_head
from models.tsanet import (
    TSANet,
    TSANetOutput,
    build_tsanet,
    merge_segments,
    released_time_order,
    split_segments,
)


class TinyNet(SplitBackbone):
    """Two convolutions around the cut: 8 frames of 8 pixels to a 4×4 grid with 2 time steps."""

    frames = 8
    input_size = 8

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(3, 5, (4, 2, 2), (4, 2, 2))
        self.second = nn.Conv3d(5, 7, 2)
        self.settle("first")

    def stage1(self, x):
        return self.first(x).relu()

    def stage2(self, h):
        return self.second(h).relu().mean(dim=(2, 3, 4))


class TubeMean(nn.Module):
    """Adds the mean of the tube's features to the tube: mixes all segments of a video, none of another."""

    def forward(self, x, mask):
        m = mask[:, None].to(x.dtype)
        mean = (x * m).sum(dim=(2, 3, 4), keepdim=True) / m.sum(dim=(2, 3, 4), keepdim=True).clamp(min=1)
        return x + mean * m

    def attention_from(self, x, mask, position):
        return mask / mask.sum(dim=(1, 2, 3), keepdim=True)


B, N = 2, 3


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return torch.randn(B, N, 3, 8, 8, 8), torch.rand(B, N, 2, 4, 4) < 0.4


def make(blocks=(), compat="paper", head="regression"):
    torch.manual_seed(1)
    backbone = TinyNet()
    return TSANet(backbone, blocks, build_head(head, backbone.features), compat).eval()


def loop_form(model, video, mask):
    """TSANet written as the method reads: a loop over segments before and after the attention."""
    net = model.backbone
    maps = torch.cat([net.stage1(video[:, n]) for n in range(N)], dim=2)
    for block in model.attention:
        maps = block(maps, mask.flatten(1, 2))
    features = torch.stack([net.stage2(part) for part in maps.chunk(N, dim=2)], dim=1)
    return features, model.head(features.mean(dim=1))


@pytest.mark.parametrize("blocks", [(), (TubeMean(),), (TubeMean(), TubeMean())], ids=["plain", "x1", "x2"])
def test_folding_equals_the_loop_over_segments(inputs, blocks):
    video, mask = inputs
    model = make(blocks)
    features, output = loop_form(model, video, mask)
    torch.testing.assert_close(model.segment_features(video, mask), features)
    torch.testing.assert_close(model(video, mask), output)


def test_folding_has_the_loops_gradients(inputs):
    video, mask = inputs
    model = make((TubeMean(),))
    grads = []
    for output in (model(video, mask), loop_form(model, video, mask)[1]):
        model.zero_grad()
        output.sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    torch.testing.assert_close(grads[0], grads[1])


def test_videos_of_a_batch_do_not_touch_each_other(inputs):
    video, mask = inputs
    model = make((TubeMean(),))
    both = model(video, mask)
    alone = torch.cat([model(video[b : b + 1], mask[b : b + 1]) for b in range(B)])
    torch.testing.assert_close(both, alone)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_joining_is_undone_by_parting(layout):
    h = torch.randn(6, 5, 4, 3, 2).contiguous(memory_format=layout)
    joined = merge_segments(h, videos=2)
    assert joined.shape == (2, 5, 12, 3, 2)
    torch.testing.assert_close(joined[1, :, 4:8], h[4], rtol=0, atol=0)
    torch.testing.assert_close(split_segments(joined, segments=3), h, rtol=0, atol=0)
    if layout is torch.channels_last_3d:
        assert joined.data_ptr() == h.data_ptr(), "channels-last segments join without a copy"


def test_released_order_matches_the_independent_table(shared):
    import numpy as np

    table = np.load(shared / "golden" / "e2e_official.npz")["scramble_time_index_per_clip"]
    assert released_time_order(segments=7, steps=4).tolist() == table.tolist()


def test_released_order_changes_the_answer_and_only_the_order(inputs):
    video, mask = inputs
    paper, released = make((TubeMean(),)), make((TubeMean(),), "released")
    assert not torch.allclose(paper(video, mask), released(video, mask))
    one = slice(0, 1)  # a single segment has nothing to scramble
    torch.testing.assert_close(paper(video[:, one], mask[:, one]), released(video[:, one], mask[:, one]))


def test_segments_and_attention_on_request(inputs):
    video, mask = inputs
    model = make((TubeMean(), TubeMean()))
    found = model(video, mask, return_segments=True, return_attention=(2, 1, 3, 0))
    assert isinstance(found, TSANetOutput)
    torch.testing.assert_close(found.output, model(video, mask))
    torch.testing.assert_close(found.segments, model.head(model.segment_features(video, mask)))
    assert found.segments.shape == (B, N)
    assert [m.shape for m in found.attention] == [(B, N, 2, 4, 4)] * 2
    assert (found.attention[0] > 0).equal(mask)
    assert model(video, mask, return_segments=True).attention is None


def test_attention_of_a_position_is_its_row_of_the_affinity(inputs):
    """The map of (segment, step, row, column) is that position's θ·φ/P of the joined video; NonLocal's has no tube."""
    video, mask = inputs
    mask[0, 1, 0, 2, 3], mask[1, 1, 0, 2, 3] = True, False
    for kind in (TubeSelfAttention, NonLocal):
        model = make((kind(5, reduced=3),))
        found = model(video, mask, return_attention=(1, 0, 2, 3)).attention[0]
        block = model.attention[0]
        x = merge_segments(model.backbone.stage1(video.flatten(0, 1)), B)[0].permute(1, 2, 3, 0)
        scores = block.phi(x) @ block.theta(x[2, 2, 3])
        tube = mask[0].flatten(0, 1) if kind is TubeSelfAttention else torch.ones_like(mask[0].flatten(0, 1))
        torch.testing.assert_close(found[0].flatten(0, 1), torch.where(tube, scores / tube.sum(), 0.0))
        assert bool(found[1].any()) == (kind is NonLocal)


def test_bad_input_is_told(inputs):
    video, mask = inputs
    model = make((TubeMean(),))
    with pytest.raises(ValueError, match=r"takes videos \(B, N, 3, 8, 8, 8\), got \(2, 3, 3, 8, 8\)"):
        model(video[..., 0], mask)
    with pytest.raises(ValueError, match=r"takes tube masks \(2, 3, 2, 4, 4\), got \(2, 3, 2, 2, 4\); make the masks"):
        model(video, mask[..., :2, :])
    with pytest.raises(ValueError, match=r"a tube mask is bool, got torch\.uint8"):
        model(video, mask.to(torch.uint8))
    with pytest.raises(ValueError, match="needs its mask"):
        model(video)
    with pytest.raises(ValueError, match=r"position \(3, 0, 0, 0\) is not \(segment, .* within \(3, 2, 4, 4\)"):
        model(video, mask, return_attention=(3, 0, 0, 0))
    with pytest.raises(ValueError, match="attends to nothing"):
        make()(video, return_attention=(0, 0, 0, 0))
    with pytest.raises(ValueError, match="'paper' or 'released', not 'official'"):
        TSANet(TinyNet(), [], nn.Identity(), "official")


def test_plain_net_needs_no_mask(inputs):
    assert make()(inputs[0]).shape == (B,)


def test_builder_defaults_follow_the_definition():
    paper = build_tsanet(attention="none")
    released = build_tsanet(attention="none", compat="released")
    assert (paper.backbone.split, released.backbone.split) == ("mixed_4e", "maxpool_4a")
    assert build_tsanet("i3d", "mixed_4c", attention="none", compat="released").backbone.split == "mixed_4c"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"attention": "cbam"}, "there is no attention 'cbam'; choose one of none, tsa"),
     ({"stacks": 0}, "at least one block"), ({"attention": "mask", "stacks": 2}, "do no more than one"),
     ({"attention": "mask", "attention_options": {"reduced": 3}}, "attention 'mask' can't be built from these options"),
     ({"compat": "official"}, "'paper' or 'released'"), ({"head": "rank", "attention": "none"}, "no head 'rank'")],
)  # fmt: skip
def test_builder_tells_wrong_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        build_tsanet("i3d_small", **arguments)


@pytest.mark.parametrize(("attention", "stacks"), [("tsa", 1), ("tsa", 3), ("nonlocal", 1), ("none", 1)])
def test_small_network_learns_a_batch(attention, stacks):
    """A few steps on two videos take the loss down by a clear factor, through every part."""
    torch.manual_seed(0)
    model = build_tsanet("i3d_small", attention=attention, stacks=stacks)
    video, mask = torch.randn(2, 2, 3, 16, 112, 112), torch.zeros(2, 2, 4, 14, 14, dtype=torch.bool)
    mask[..., 4:9, 5:8] = True
    target = torch.tensor([0.2, 0.9])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = model.head.loss(model(video, mask), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in model.parameters())
    assert losses[-1] < losses[0] / 3
