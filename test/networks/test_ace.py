"""The published sizes, schedule values and toy losses (algorithms of the paper, in figures)."""

import math

import pytest
import torch
from torch import Tensor, nn

from vloc_models.networks.ace import (
    Head,
    HeadConfig,
    LossConfig,
    PublishedEncoder,
    homogeneous_scale,
    measured_loss,
    reprojection_loss,
    tolerance_px,
)

LOSS = LossConfig()


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def camera(n: int) -> tuple[Tensor, Tensor]:
    """K [n, 3, 3] and T_cam_map [n, 4, 4] of a camera at the origin."""
    K = torch.tensor([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]).repeat(n, 1, 1)
    return K, torch.eye(4).repeat(n, 1, 1)


def loss(points: Tensor, pixels: Tensor, progress: float = 0.0) -> Tensor:
    K, T_cam_map = camera(len(points))
    return reprojection_loss(points, pixels, T_cam_map, K, progress, LOSS)


def test_published_sizes() -> None:
    assert parameters(PublishedEncoder()) == 5_568_000
    assert parameters(Head(HeadConfig(), torch.zeros(3))) == 2_103_300


@pytest.mark.parametrize(('blocks', 'megabytes'), [(0, 2.63), (1, 4.21), (2, 5.78), (3, 7.36)])
def test_head_files_in_half_precision(blocks: int, megabytes: float) -> None:
    head = Head(HeadConfig(extra_blocks=blocks), torch.zeros(3))
    assert parameters(head) * 2 / 1e6 == pytest.approx(megabytes, abs=0.006)


def test_encoder_sees_81_pixels_and_a_cell_for_each_8() -> None:
    torch.manual_seed(0)
    picture = torch.rand(1, 1, 240, 320, requires_grad=True)
    features = PublishedEncoder()(picture)
    assert features.shape == (1, 512, 30, 40)
    features[0, :, 15, 20].sum().backward()
    assert picture.grad is not None
    rows, columns = torch.nonzero(picture.grad[0, 0], as_tuple=True)
    assert int(rows.max() - rows.min()) + 1 <= 81
    assert int(columns.max() - columns.min()) + 1 == 81


@pytest.mark.parametrize(('height', 'width'), [(121, 97), (8, 8), (120, 160)])
def test_any_size_gives_its_eighth_rounded_up(height: int, width: int) -> None:
    features = PublishedEncoder()(torch.zeros(1, 1, height, width))
    assert features.shape[2:] == (math.ceil(height / 8), math.ceil(width / 8))


def test_head_is_per_cell_and_starts_at_the_centre() -> None:
    torch.manual_seed(0)
    head = Head(HeadConfig(64, 32), torch.tensor([1.0, 2.0, 3.0]))
    features = torch.randn(24, 64)
    points = head(features)
    assert points.shape == (24, 3)
    torch.testing.assert_close(points[5:6], head(features[5:6]))
    assert (points.mean(0) - head.centre).abs().max() < 0.5
    points.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_homogeneous_scale() -> None:
    h = homogeneous_scale(torch.tensor([0.0, -1e4, 1e4]), HeadConfig())
    torch.testing.assert_close(h, torch.tensor([1.0, 0.25, 100.0]))


@pytest.mark.parametrize(
    ('progress', 'tau'), [(0, 51), (0.25, 49.4), (0.5, 44.30), (0.75, 34.1), (0.99, 8.1), (1, 1)]
)
def test_curriculum(progress: float, tau: float) -> None:
    assert tolerance_px(progress, LOSS) == pytest.approx(tau, abs=0.06)


def test_a_right_point_costs_nothing() -> None:
    assert loss(torch.tensor([[0.1, 0.2, 2.0]]), torch.tensor([[345.0, 290.0]])) == 0


def test_a_valid_error_is_squashed() -> None:
    off = loss(torch.tensor([[0.1, 0.2, 2.0]]), torch.tensor([[340.0, 292.0]]))  # 5 + 2 px
    assert off.item() == pytest.approx(51 * math.tanh(7 / 51), rel=1e-5)
    late = loss(torch.tensor([[0.1, 0.2, 2.0]]), torch.tensor([[340.0, 292.0]]), 1.0)
    assert late.item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize('point', [[0.0, 0, -2], [0, 0, 0.05], [0, 0, 2000], [9, 0, 0.2]])
def test_an_invalid_point_is_drawn_to_ten_metres(point: list[float]) -> None:
    points = torch.tensor([point], dtype=torch.float32, requires_grad=True)
    value = loss(points, torch.tensor([[320.0, 240.0]]))
    expected = abs(point[0]) + abs(point[1]) + abs(10 - point[2])
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert points.grad is not None
    assert torch.sign(points.grad[0, 2]) == math.copysign(1, point[2] - 10)


def test_training_on_the_loss_finds_the_points() -> None:
    """Free points under the curriculum, seen from three places, end where they are."""
    torch.manual_seed(0)
    true = torch.rand(50, 3) * torch.tensor([2.0, 2.0, 2.0]) + torch.tensor([-1.0, -1.0, 3.0])
    K, T_cam_map = camera(150)
    T_cam_map[:, 0, 3] = torch.tensor([0.0, 0.5, -0.5]).repeat_interleave(50)
    seen = true.repeat(3, 1) + T_cam_map[:, :3, 3]
    pixels = (seen @ K[0].T)[:, :2] / seen[:, 2:]
    points = (torch.randn(50, 3) * 0.1 + torch.tensor([0.0, 0, 4.0])).requires_grad_()
    optimiser = torch.optim.Adam([points], 0.03)
    for step in range(600):
        optimiser.zero_grad()
        progress = step / 600
        value = reprojection_loss(points.repeat(3, 1), pixels, T_cam_map, K, progress, LOSS)
        value.backward()
        optimiser.step()
    assert (points.detach() - true).norm(dim=1).median() < 0.03


def to_measured(points: Tensor, measured: Tensor, progress: float = 0.0) -> Tensor:
    K, T_cam_map = camera(len(points))
    pixels = torch.zeros(len(points), 2)
    return measured_loss(points, measured, pixels, T_cam_map, K, progress, LOSS)


def test_a_point_where_it_was_measured_costs_nothing() -> None:
    points = torch.tensor([[0.1, 0.2, 2.0], [-1, 0, 5]])
    assert to_measured(points, points) == 0


@pytest.mark.parametrize('progress', [0.0, 0.5, 1.0])
def test_a_distance_is_told_in_pixels(progress: float) -> None:
    """0.02 m and 0.01 m at 2 m, with a focal length of 500, are 7.5 px."""
    measured = torch.tensor([[0.1, 0.2, 2.0]])
    value = to_measured(measured + torch.tensor([[0.02, 0, -0.01]]), measured, progress)
    tau = tolerance_px(progress, LOSS)
    assert value.item() == pytest.approx(tau * math.log1p(7.5 / tau), rel=1e-4)


def test_the_same_distance_further_away_is_fewer_pixels() -> None:
    off = torch.tensor([[0.001, 0.0, 0.0]])
    near, far = (torch.tensor([[0.0, 0.0, z]]) for z in (1.0, 4.0))
    assert to_measured(near + off, near).item() == pytest.approx(
        4 * to_measured(far + off, far).item(), rel=2e-2
    )


@pytest.mark.parametrize('metres', [0.1, 3.0, 100.0, -3.0])
def test_a_point_is_never_let_go(metres: float) -> None:
    """However far off it is, or measured behind the camera."""
    points = torch.tensor([[0.0, 0.0, 4.0]], requires_grad=True)
    to_measured(points, torch.tensor([[0.0, 0.0, metres]])).backward()
    assert points.grad is not None
    assert points.grad[0, 2] * (4 - metres) > 1e-2
    assert (points.grad[0, :2] == 0).all()


@pytest.mark.parametrize('unknown', [[math.nan] * 3, [0, math.nan, 1], [math.inf, 0, 1]])
def test_what_was_not_measured_neither_costs_nor_pulls(unknown: list[float]) -> None:
    points = torch.tensor([[0.0, 0, 3], [0.3, 0, 3]], requires_grad=True)
    measured = torch.tensor([[0.01, 0, 3], unknown])
    value = to_measured(points, measured)
    alone = to_measured(points[:1], measured[:1])
    assert value.item() == pytest.approx(alone.item() / 2)  # a mean over all cells
    value.backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
    assert points.grad[0, 0] < 0
    assert (points.grad[1] == 0).all()


def test_nothing_measured_at_all_is_no_loss() -> None:
    points = torch.randn(5, 3, requires_grad=True)
    value = to_measured(points, torch.full((5, 3), math.nan))
    value.backward()
    assert value == 0
    assert points.grad is not None
    assert (points.grad == 0).all()
