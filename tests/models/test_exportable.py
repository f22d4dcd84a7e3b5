"""The exportable form of every kind of attention against the gathered form; empty tubes; what can't be exported."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.attention import NonLocal, TubeSelfAttention
from models.exportable import DenseAttention, ScoreModel, dense_copy
from models.heads import SpreadHead
from models.heads.contrastive import ContrastiveHead
from models.heads.protocol import Exemplars
from models.tsanet import AttentionKind, TSANet, build_tsanet

BLOCKS = {
    "dot": lambda: TubeSelfAttention(12, zero_init=False),
    "dot with norm": lambda: TubeSelfAttention(12, norm=True, zero_init=False),
    "softmax": lambda: TubeSelfAttention(12, affinity="softmax", zero_init=False),
    "softmax without norm": lambda: TubeSelfAttention(12, affinity="softmax", norm=False, zero_init=False),
    "nonlocal dot": lambda: NonLocal(12, zero_init=False),
    "nonlocal dot with norm": lambda: NonLocal(12, norm=True, zero_init=False),
    "nonlocal softmax": lambda: NonLocal(12, affinity="softmax", zero_init=False),
    "nonlocal sub-sampled": lambda: NonLocal(12, affinity="softmax", sub_sample=True, zero_init=False),
}


def settled(block: TubeSelfAttention) -> TubeSelfAttention:
    """In evaluation mode, with running statistics that are not the initial ones."""
    if block.norm is not None:
        with torch.no_grad():
            block.norm.running_mean.uniform_(-1, 1)
            block.norm.running_var.uniform_(0.5, 2)
            block.norm.weight.normal_()
            block.norm.bias.normal_()
    return block.eval()


@pytest.mark.parametrize("name", BLOCKS)
def test_dense_attention_is_the_block(name: str) -> None:
    torch.manual_seed(0)
    block = settled(BLOCKS[name]())
    x = torch.randn(3, 12, 4, 6, 6)
    mask = torch.rand(3, 4, 6, 6) < 0.3
    mask[1] = False  # an empty tube beside others
    with torch.no_grad():
        wanted, found = block(x, mask), DenseAttention(block)(x, mask)
    assert (wanted - x).abs().max() > 0.01  # attention does something here
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    if not isinstance(block, NonLocal):
        torch.testing.assert_close(found[1], x[1], atol=0, rtol=0)


def test_growing_tubes_are_refused() -> None:
    with pytest.raises(ValueError, match="can't be exported"):
        DenseAttention(TubeSelfAttention(8, min_positions=30))
    for form in ("mask", "pointwise", "channel", "constant", "pool"):
        network = build_tsanet("i3d_small", attention=form, attention_options={"min_positions": 30})
        with pytest.raises(ValueError, match="can't be exported"):
            dense_copy(network)


def of_form(name: AttentionKind) -> tuple[TSANet, torch.Tensor]:
    """A small network in evaluation mode whose form is not the identity, and a video for it."""
    torch.manual_seed(3)
    options: dict[str, object] = {} if name in ("mask", "pool") else {"zero_init": False}
    if name == "tsa":
        options["norm"] = True
    network = build_tsanet("i3d_small", attention=name, attention_options=options).eval()
    net = network.backbone
    return network, torch.randn(1, 2, 3, net.frames, net.input_size, net.input_size)


@pytest.mark.parametrize("name", ["mask", "pointwise", "channel", "constant", "pool", "tsa"])
def test_forms_leave_the_program(name: AttentionKind) -> None:
    """What torch.export makes of the dense copy, on other tubes than those it was traced with, an empty one too."""
    network, video = of_form(name)
    net = network.backbone
    masks = [torch.rand(1, 2, net.steps, *net.grid) < share for share in (0.5, 0.2, 0.0)]
    exported = torch.export.export(dense_copy(network), (video, masks[0])).module()
    with torch.no_grad():
        wanted = [network.segment_features(video, mask) for mask in masks]
        for mask in masks:
            torch.testing.assert_close(exported(video, mask), network(video, mask), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(wanted[0], wanted[1])  # the tube counts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mask", "pointwise", "channel", "constant", "pool", "tsa"])
def test_forms_run_as_onnx(name: AttentionKind, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network, video = of_form(name)
    net = network.backbone
    mask = torch.rand(1, 2, net.steps, *net.grid) < 0.3
    program = torch.onnx.export(dense_copy(network), (video, mask), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [one.name for one in session.get_inputs()]
    found = session.run(None, dict(zip(names, (video.numpy(), mask.numpy()), strict=True)))[0]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), network(video, mask), rtol=1e-4, atol=1e-4)


def small(head: str, **options: object) -> TSANet:
    torch.manual_seed(1)
    network = build_tsanet("i3d_small", head=head, attention_options={"zero_init": False}, head_options=dict(options))
    return network.eval()


def inputs(network: TSANet) -> tuple[Tensor, Tensor, Tensor]:
    net = network.backbone
    frames = torch.randint(0, 256, (1, 24, net.input_size, net.input_size, 3), dtype=torch.uint8)
    return frames, torch.rand(1, 2, net.steps, *net.grid) < 0.3, torch.tensor([2.5])


def test_points_by_hand() -> None:
    """Colours, segments, scale and difficulty, each written out here for one segment."""
    network = small("regression", score_scale=100.0)
    frames, mask, difficulty = inputs(network)
    with torch.no_grad():
        score, segments, raw = ScoreModel(network, (0, 8), (10.0, 30.0), True)(frames, mask, difficulty)
        *same, pooled = ScoreModel(network, (0, 8), (10.0, 30.0), True, pooled=True)(frames, mask, difficulty)
        colours = frames[:, [*range(16), *range(8, 24)]].view(1, 2, 16, *frames.shape[2:]).float() / 255
        normal = (colours - torch.tensor(network.backbone.mean)) / torch.tensor(network.backbone.std)
        video = normal.permute(0, 1, 5, 2, 3, 4)
        wanted = network(video, mask, return_segments=True)
        features = network.segment_features(video, mask)
    torch.testing.assert_close(pooled, (features[:, 0] + features[:, 1]) / 2)
    torch.testing.assert_close(same, [score, segments, raw])
    torch.testing.assert_close(raw, wanted.output)
    torch.testing.assert_close(score, (10 + wanted.output * 20) * 2.5)
    torch.testing.assert_close(segments, (10 + wanted.segments * 20) * 2.5)


@pytest.mark.parametrize(("head", "share"), [("gaussian", None), ("usdl", None), ("regression", 1.0)])
def test_how_far_a_score_may_be_off_leaves_in_points(head: str, share: float | None) -> None:
    """Of a range of 20 points times the difficulty: the head's own share of it, or all of it where it says none."""
    network = small(head, **{"score_max" if head == "usdl" else "score_scale": 100.0})
    frames, mask, difficulty = inputs(network)
    model = ScoreModel(network, (0, 8), (10.0, 30.0), True, spread=True)
    program = torch.export.export(model, (frames, mask, difficulty)).module()
    with torch.no_grad():
        _, _, raw, spread = program(frames, mask, difficulty)
        own = network.head
        wanted = own.spread(raw) / 100 if isinstance(own, SpreadHead) else torch.tensor([share])
    torch.testing.assert_close(spread, wanted * 20 * 2.5)


def test_a_head_with_its_own_unit_is_not_scaled() -> None:
    network = small("classification")
    frames, mask, difficulty = inputs(network)
    with torch.no_grad():
        score, _, raw = ScoreModel(network, (0, 8), None)(frames, mask, difficulty)
    torch.testing.assert_close(score, raw.sigmoid())


def test_the_network_itself_is_left_alone() -> None:
    network = small("regression")
    ScoreModel(network, (0, 8), None)
    assert type(network.attention[0]) is TubeSelfAttention


def test_what_a_contrastive_head_remembers_leaves_with_it() -> None:
    """The exported program asks the exemplars of its action, and of the difficulty that it is told."""
    torch.manual_seed(0)
    options: dict[str, object] = {"exemplars": 2, "depth": 3, "hidden": 8, "score_scale": 100.0}
    network = build_tsanet("i3d_small", attention="none", head="contrastive", head_options=options).eval()
    head, net = network.head, network.backbone
    assert isinstance(head, ContrastiveHead)
    head.prepare(
        Exemplars(
            actions=("", "dive"), cell_action=(0, 1, 1), cell_difficulty=(None, None, 3.2),
            members=((0, 1), (0,), (1,)), scores=(10.0, 90.0), relative=torch.linspace(-5, 5, 30),
        )
    )  # fmt: skip
    head.remember(torch.randn(2, net.features))
    frames = torch.randint(0, 255, (1, net.frames, net.input_size, net.input_size, 3), dtype=torch.uint8)
    mask = torch.ones(1, 1, net.steps, *net.grid, dtype=torch.bool)
    model = ScoreModel(network, (0,), (0.0, 50.0), action="dive").eval()
    program = torch.export.export(model, (frames, mask, torch.tensor([1.0]))).module()
    with torch.no_grad():
        raw = model.outputs(frames, mask).output
        for difficulty, near in ((1.0, 5.0), (3.2, 45.0)):  # within 5 % of half the exemplar's score
            wanted = head.decode(raw, torch.tensor([difficulty]), torch.tensor([1])) / 2
            score, segments, _ = program(frames, mask, torch.tensor([difficulty]))
            torch.testing.assert_close(score, wanted)
            torch.testing.assert_close(segments, wanted[:, None])
            assert abs(score.item() - near) <= 2.5
