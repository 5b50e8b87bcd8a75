import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

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


def quats(rng: np.random.Generator) -> np.ndarray:
    """Unit quaternions with w > 0; the first ones turn by hardly anything, and by nearly pi."""
    q = rng.normal(size=(40, 4))
    q[0], q[1] = [1e-9, 0, 0, 1], [0.6, -0.8, 0, 1e-9]
    return q * np.sign(q[:, 3:]) / np.linalg.norm(q, axis=1, keepdims=True)


def test_logarithms_of_quaternions(rng: np.random.Generator) -> None:
    q = quats(rng)
    half = tensors.quat_log(torch.tensor(q))
    np.testing.assert_allclose(half, Rotation.from_quat(q).as_rotvec() / 2, atol=1e-12)
    np.testing.assert_allclose(tensors.quat_exp(half), q, atol=1e-12)
    np.testing.assert_allclose(tensors.quat_log(torch.tensor(-q)), half, atol=1e-12)
    single = tensors.quat_log(torch.tensor(q, dtype=torch.float32))
    np.testing.assert_allclose(tensors.quat_exp(single), q, atol=1e-6)


def test_no_turn_and_half_a_turn() -> None:
    assert torch.equal(tensors.quat_log(torch.tensor([0.0, 0, 0, 1])), torch.zeros(3))
    half = tensors.quat_log(torch.tensor([[0.0, 1, 0, 0], [0.0, 0, 1, 0]], dtype=torch.float64))
    np.testing.assert_allclose(half.norm(dim=1), np.pi / 2, rtol=1e-12)


def test_gradients_of_logarithms_are_finite() -> None:
    for numbers in ([0.0, 0, 0], [np.pi / 2, 0, 0], [0.3, 0.1, -0.2]):
        half = torch.tensor(numbers, requires_grad=True)
        tensors.quat_log(tensors.quat_exp(half)).sum().backward()
        assert half.grad is not None
        assert half.grad.isfinite().all()


def test_one_turn_after_another(rng: np.random.Generator) -> None:
    a, b = (quats(rng) for _ in 'ab')
    found = tensors.quat_multiply(torch.tensor(a), torch.tensor(b)).numpy()
    wanted = (Rotation.from_quat(a) * Rotation.from_quat(b)).as_matrix()
    np.testing.assert_allclose(Rotation.from_quat(found).as_matrix(), wanted, atol=1e-12)
