"""What the pose prior learns from."""

import math
from dataclasses import replace

import pytest
import torch

from vloc_models.errors import VlocError
from vloc_models.geometry.tensors import quat_exp, quat_log
from vloc_models.networks.color_apr import ColorAprOutput
from vloc_models.networks.color_apr_losses import (
    ColorAprLoss,
    PoseCriterion,
    Poses,
    class_loss_of,
    colour_loss,
    distances,
    sigma_loss,
)
from vloc_models.networks.lab import lab

TRUE = Poses(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.1, 0.2, -0.3]]))
RIGHT = ColorAprOutput(TRUE.position, TRUE.log_quat, torch.zeros(1, 2), None)


def test_lengths_weighted_by_what_is_learned() -> None:
    off = replace(
        RIGHT,
        position=TRUE.position + torch.tensor([[3.0, 4.0, 0.0]]),
        log_quat=TRUE.log_quat + torch.tensor([[0.0, 0.6, 0.8]]),
    )
    loss = PoseCriterion(ColorAprLoss(first_beta=0.5, first_gamma=-3.0))(off, TRUE)
    assert float(loss.detach()) == pytest.approx(
        5 * math.exp(-0.5) + 0.5 + math.exp(3) - 3, rel=1e-5
    )


def test_the_best_weights_are_the_errors() -> None:
    """Of ``e exp(-b) + b`` the least is at b = log e; the optimiser gets there soon."""
    criterion = PoseCriterion(ColorAprLoss())
    off = replace(RIGHT, position=TRUE.position + 2, log_quat=TRUE.log_quat + 0.05)
    optimizer = torch.optim.Adam(criterion.parameters(), 1e-3)
    for _ in range(400):
        optimizer.zero_grad()
        criterion(off, TRUE).backward()
        optimizer.step()
    wanted = torch.tensor([2 * 3**0.5, 0.05 * 3**0.5])
    assert criterion(off, TRUE).item() == pytest.approx((1 + wanted.log()).sum().item(), abs=0.01)


def test_both_names_of_a_rotation_are_right() -> None:
    """Just beyond half a turn the logarithm jumps to the other side; the loss does not."""
    near, beyond = torch.tensor([[1.56, 0, 0]]), torch.tensor([[1.58, 0, 0]])
    true = Poses(torch.zeros(1, 3), quat_log(quat_exp(beyond)))
    assert true.log_quat[0, 0] < -1.5
    output = ColorAprOutput(torch.zeros(1, 3), near, torch.zeros(1, 2), None)
    assert distances(output, true)[1].item() == pytest.approx(0.02, abs=1e-4)
    none = Poses(torch.zeros(1, 3), torch.zeros(1, 3))
    assert distances(replace(output, log_quat=torch.zeros(1, 3)), none)[1].item() == 0


def test_the_best_sigmas_are_those_of_each_axis() -> None:
    """Of an error e in three axes sigma^2 = e^2 / 3; that of a rotation is its angle."""
    log_sigma = torch.zeros(1, 2, requires_grad=True)
    position = (TRUE.position + torch.tensor([[0.0, 0.3, 0.4]])).requires_grad_()
    off = ColorAprOutput(position, TRUE.log_quat + torch.tensor([[0.05, 0, 0]]), log_sigma, None)
    optimizer = torch.optim.Adam([log_sigma], 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        sigma_loss(off, TRUE).backward()
        optimizer.step()
    assert position.grad is None
    wanted = torch.tensor([[0.5, 0.1]]) / 3**0.5
    torch.testing.assert_close(log_sigma.detach().exp(), wanted, rtol=0.02, atol=0)


def test_colours_at_half_the_size() -> None:
    image = torch.rand(1, 3, 4, 6)
    blocks = lab(image)[:, 1:].unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)) / 110
    assert colour_loss(blocks, image).item() == pytest.approx(0, abs=1e-6)
    assert colour_loss(blocks + 0.25, image).item() == pytest.approx(0.25, abs=1e-5)


def test_classes_at_half_the_size_and_unknown_ones() -> None:
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [255] * 4, [255] * 4]], dtype=torch.uint8)
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 0, 0, 0] = logits[0, 1, 0, 1] = 20
    logits[0, 0, 1] = 99  # where nothing is known
    assert class_loss_of(logits, labels).item() == pytest.approx(0, abs=1e-6)
    assert class_loss_of(-logits, labels).item() == pytest.approx(20, abs=1e-3)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(VlocError, match='less than nothing'):
        ColorAprLoss(auxiliary=-1)
