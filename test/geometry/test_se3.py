import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from vloc_models.errors import VlocError
from vloc_models.geometry import se3

ANGLES = [0, 1e-12, 1e-9, 1e-7, 9.99e-5, 1.01e-4, 1e-3, 0.5, 2, 3, np.pi - 1e-4, np.pi - 1e-7]


def matrix(xi: np.ndarray) -> np.ndarray:
    """The twist as an element of se(3), by the definition."""
    out = np.zeros((4, 4))
    out[:3, :3], out[:3, 3] = se3.hat(xi[3:]), xi[:3]
    return out


@st.composite
def twists(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    axis = rng.normal(size=3)
    angle = draw(st.sampled_from(ANGLES) | st.floats(0, np.pi - 1e-7))
    return np.concatenate([rng.uniform(-10, 10, 3), axis / np.linalg.norm(axis) * angle])


@given(twists())
def test_exp_is_the_matrix_exponential(xi: np.ndarray) -> None:
    np.testing.assert_allclose(se3.exp(xi), scipy.linalg.expm(matrix(xi)), atol=1e-9)


@given(twists())
def test_log_inverts_exp(xi: np.ndarray) -> None:
    np.testing.assert_allclose(se3.log(se3.exp(xi)), xi, atol=1e-9)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize('angle', [1e-3, 0.5, 2, 3, np.pi - 1e-4])  # scipy's logm beyond is worse
def test_log_is_the_matrix_logarithm(angle: float, rng: np.random.Generator) -> None:
    axis = rng.normal(size=3)
    T = se3.exp(np.concatenate([rng.normal(size=3), axis / np.linalg.norm(axis) * angle]))
    logm = np.real(scipy.linalg.logm(T))
    np.testing.assert_allclose(matrix(se3.log(T)), logm, atol=1e-9)


def test_half_turn() -> None:
    for axis in np.eye(3):
        T = se3.exp([1, 2, 3, *(np.pi * axis)])
        xi = se3.log(T)
        assert np.linalg.norm(xi[3:]) == pytest.approx(np.pi)
        np.testing.assert_allclose(se3.exp(xi), T, atol=1e-9)
        assert se3.angle_rad(T[:3, :3]) == pytest.approx(np.pi)


@given(twists(), twists(), twists())
def test_group(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    A, B, C = se3.exp(a), se3.exp(b), se3.exp(c)
    np.testing.assert_allclose(A @ se3.inverse(A), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(se3.inverse(A @ B), se3.inverse(B) @ se3.inverse(A), atol=1e-12)
    np.testing.assert_allclose((A @ B) @ C, A @ (B @ C), atol=1e-12)
    both = se3.inverse(np.stack([A, B]))
    np.testing.assert_allclose(both, [se3.inverse(A), se3.inverse(B)], atol=1e-15)


@given(twists(), twists())
def test_adjoint(a: np.ndarray, xi: np.ndarray) -> None:
    T = se3.exp(a)
    expected = T @ scipy.linalg.expm(matrix(xi)) @ se3.inverse(T)
    got = scipy.linalg.expm(matrix(se3.adjoint(T) @ xi))
    np.testing.assert_allclose(got, expected, atol=1e-9)
    product = se3.adjoint(T) @ se3.adjoint(se3.exp(xi))
    np.testing.assert_allclose(se3.adjoint(T @ se3.exp(xi)), product, atol=1e-9)


@given(twists())
def test_quaternion_and_back(xi: np.ndarray) -> None:
    T = se3.exp(xi)
    q = se3.to_quat_xyzw(T)
    assert np.linalg.norm(q) == pytest.approx(1)
    assert q[3] >= 0
    np.testing.assert_allclose(se3.from_quat_xyzw(T[:3, 3], q), T, atol=1e-12)
    both = se3.to_quat_xyzw(np.stack([T, np.eye(4)]))
    np.testing.assert_allclose(both, np.stack([q, [0, 0, 0, 1]]))


def test_quaternion_is_xyzw() -> None:
    s = np.sqrt(0.5)
    T = se3.from_quat_xyzw([1, 2, 3], [0, 0, s, s])  # a quarter turn about z
    np.testing.assert_allclose(se3.apply(T, np.array([[1.0, 0, 0]])), [[1, 3, 3]], atol=1e-12)


@pytest.mark.parametrize(
    ('t', 'q', 'words'),
    [
        ([np.nan, 0, 0], [0, 0, 0, 1], 'NaN'),
        ([0, 0, 0], [0, 0, np.inf, 1], 'NaN or infinity'),
        ([0, 0, 0], [0, 0, 0, 0], 'unit length'),
        ([0, 0, 0], [0, 0, 1, 1], 'unit length'),
    ],
)
def test_bad_quaternions(t: list[float], q: list[float], words: str) -> None:
    with pytest.raises(VlocError, match=words):
        se3.from_quat_xyzw(t, q)


def test_rounded_quaternion_gives_a_rotation() -> None:
    R = se3.from_quat_xyzw([0, 0, 0], [0.71, 0, 0, 0.707])[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)


@given(st.sampled_from(ANGLES))
def test_angle(angle: float) -> None:
    R = se3.exp([0, 0, 0, 0, angle, 0])[:3, :3]
    assert se3.angle_rad(R) == pytest.approx(angle, abs=1e-15, rel=1e-9)
    assert se3.angle_rad(np.stack([R, np.eye(3)])).shape == (2,)


@given(twists(), twists(), st.floats(0, 1))
def test_interpolate(a: np.ndarray, b: np.ndarray, fraction: float) -> None:
    T0, T1 = se3.exp(a), se3.exp(b)
    T = se3.interpolate(T0, T1, fraction)
    np.testing.assert_allclose(T[:3, 3], T0[:3, 3] + fraction * (T1 - T0)[:3, 3], atol=1e-12)
    whole = se3.angle_rad(T0[:3, :3].T @ T1[:3, :3])
    part = se3.angle_rad(T0[:3, :3].T @ T[:3, :3])
    assert part == pytest.approx(fraction * whole, abs=1e-6)


def test_roll_pitch_and_yaw_turn_about_fixed_axes_one_after_the_other() -> None:
    roll, pitch, yaw = (se3.exp([0, 0, 0, *axis]) for axis in np.diag([0.3, -0.7, 2.0]))
    T = se3.from_xyz_rpy([1, 2, 3], [0.3, -0.7, 2.0])
    np.testing.assert_allclose(T[:3, :3], (yaw @ pitch @ roll)[:3, :3], atol=1e-12)
    np.testing.assert_array_equal(T[:3, 3], [1, 2, 3])
    np.testing.assert_allclose(se3.to_rpy(T), [0.3, -0.7, 2.0], atol=1e-12)
