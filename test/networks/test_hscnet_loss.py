"""HSCNet's loss, by hand."""

import math

import pytest
import torch

from vloc_models.networks.hscnet import HscnetLoss, hscnet_loss

LOSS = HscnetLoss()


def test_loss_by_hand() -> None:
    logits = [
        torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]),
        torch.tensor([[0.0, 0.0, 0.0], [0.0, math.log(2), 0.0]]),
    ]
    points = torch.tensor([[3.0, 4.0, 0.0], [1.0, 1.0, 2.0]])
    truth = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    labels = torch.tensor([[1, 2], [0, 0]])
    coarse = (math.log(2) + math.log(4 / 3)) / 2
    fine = (math.log(3) + math.log(4)) / 2
    found = hscnet_loss(logits, points, labels, truth, LOSS)
    assert found.item() == pytest.approx(10 * (5 + 1) / 2 + coarse + fine)  # norms, not squares
    weighed = hscnet_loss(logits, points, labels, truth, HscnetLoss(2, 3, 5))
    assert weighed.item() == pytest.approx(2 * 3 + 3 * coarse + 5 * fine)
    classes = hscnet_loss(logits, None, labels, truth, LOSS)
    assert classes.item() == pytest.approx(coarse + fine)
    three = hscnet_loss([*logits, logits[1]], None, labels[:, [0, 1, 1]], truth, LOSS)
    assert three.item() == pytest.approx(coarse + 2 * fine)
    regression = hscnet_loss([], points, labels[:, :0], truth, LOSS)
    assert regression.item() == pytest.approx(30)


def test_unknown_labels_neither_cost_nor_count() -> None:
    logits = [torch.zeros(3, 2), torch.zeros(3, 4)]
    labels = torch.tensor([[0, 1], [1, -1], [-1, -1]])
    points = torch.tensor([[0.0, 3, 4], [9, 9, 9], [9, 9, 9]], requires_grad=True)
    found = hscnet_loss(logits, points, labels, torch.zeros(3, 3), LOSS)
    assert found.item() == pytest.approx(10 * 5 + math.log(2) + math.log(4))
    found.backward()
    assert points.grad is not None
    assert (points.grad[1:] == 0).all()


@pytest.mark.parametrize('cells', [0, 2])
def test_no_cell_is_no_loss(cells: int) -> None:
    logits = [torch.zeros(cells, 2, requires_grad=True), torch.zeros(cells, 3)]
    points = torch.zeros(cells, 3, requires_grad=True)
    labels = torch.full((cells, 2), -1)
    loss = hscnet_loss(logits, points, labels, torch.zeros(cells, 3), LOSS)
    loss.backward()
    assert loss == 0
    assert points.grad is not None
    assert (points.grad == 0).all()


def test_a_point_where_it_is_has_a_gradient() -> None:
    points = torch.zeros(2, 3, requires_grad=True)
    hscnet_loss([], points, torch.zeros(2, 0).long(), torch.zeros(2, 3), LOSS).backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
