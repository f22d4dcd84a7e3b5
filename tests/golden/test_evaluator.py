"""The head's perceptron against the public evaluator, outputs and gradients."""

import numpy as np
import pytest
import torch

from models.heads import ClassificationHead, ScoreMlp


@pytest.fixture(scope="module")
def numbers(golden):
    return np.load(golden / "evaluator.npz")


def mlp_weights(weights):
    return {name.removeprefix("evaluator."): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize("outputs", [1, 101])
def test_outputs(numbers, recipe_weights, seeded, relative_error, outputs):
    mlp = ScoreMlp(1024, outputs).eval()
    mlp.load_state_dict(mlp_weights(recipe_weights(f"keys_evaluator_out{outputs}")))
    x = seeded(int(numbers["x_seed"]), (16, 1024), numbers["x_crc32"])
    with torch.no_grad():
        found = mlp(x).sigmoid().numpy()
    assert relative_error(found, numbers[f"out{outputs}"]) < 1e-5


def test_cross_entropy_and_its_gradients(numbers, recipe_weights, seeded, relative_error):
    head = ClassificationHead(1024).eval()
    head.mlp.load_state_dict(mlp_weights(recipe_weights("keys_evaluator_out1")))
    x = seeded(int(numbers["x_seed"]), (16, 1024), numbers["x_crc32"]).requires_grad_()
    loss = head.loss(head(x), torch.from_numpy(numbers["bce_targets"][:, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(float(numbers["bce_loss"]), rel=1e-5)
    for name, parameter in head.mlp.named_parameters():
        wanted = float(numbers[f"bce_grad_norm/evaluator.{name}"])
        assert parameter.grad.norm().item() == pytest.approx(wanted, rel=1e-4), name
    rows, columns = numbers["bce_grad_x_slice"].shape
    step = x.shape[1] // columns
    assert relative_error(x.grad[:rows, ::step].numpy(), numbers["bce_grad_x_slice"]) < 1e-4
