import numpy as np
import pytest
import torch

from vloc_models.errors import VlocError
from vloc_models.geometry import se3, tensors
from vloc_models.geometry.camera import Camera


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def T(rng: np.random.Generator) -> np.ndarray:
    return np.stack([se3.exp(xi) for xi in rng.normal(size=(5, 6))])


def test_inverse(T: np.ndarray) -> None:
    np.testing.assert_allclose(tensors.inverse(torch.tensor(T)), se3.inverse(T), atol=1e-14)
    with pytest.raises(VlocError, match='shape'):
        tensors.inverse(torch.zeros(3, 4))


def test_apply(T: np.ndarray, rng: np.random.Generator) -> None:
    points = rng.normal(size=(5, 7, 3))
    expected = np.stack([se3.apply(T[k], points[k]) for k in range(5)])
    got = tensors.apply(torch.tensor(T), torch.tensor(points))
    np.testing.assert_allclose(got, expected, atol=1e-14)


def test_project_and_unproject(rng: np.random.Generator) -> None:
    camera = Camera(640, 480, 500, 510, 320, 235)
    points = rng.uniform(-1, 1, size=(2, 9, 3)) + np.array([0, 0, 3])
    K = torch.tensor(camera.K).expand(2, 3, 3)
    pixels = tensors.project(K, torch.tensor(points))
    np.testing.assert_allclose(pixels, camera.project(points), atol=1e-10)
    rays = tensors.unproject(K, pixels)
    np.testing.assert_allclose(rays, camera.unproject(pixels.numpy()), atol=1e-12)


def test_points_behind_keep_a_gradient() -> None:
    points = torch.tensor([[0.3, 0.2, -1.0]], requires_grad=True)
    pixels = tensors.project(torch.eye(3), points, min_depth=0.5)
    torch.testing.assert_close(pixels, torch.tensor([[0.6, 0.4]]))
    pixels.sum().backward()
    assert points.grad is not None
    assert points.grad[0, :2].abs().min() > 0


def test_rigid_is_the_rotation_vectors_transform(rng: np.random.Generator) -> None:
    turn, shift = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    found = tensors.rigid(torch.from_numpy(turn), torch.from_numpy(shift)).numpy()
    for T, r, t in zip(found, turn, shift, strict=True):
        R = se3.exp(np.concatenate([np.zeros(3), r]))[:3, :3]
        assert np.allclose(T, se3.transform(R, t), atol=1e-12)


def test_rigid_has_a_gradient_where_nothing_turns() -> None:
    turn = torch.zeros(1, 3, requires_grad=True)
    tensors.rigid(turn, torch.zeros(1, 3))[:, 1, 0].sum().backward()
    assert torch.allclose(turn.grad, torch.tensor([[0.0, 0, 1]]))  # pyright: ignore
