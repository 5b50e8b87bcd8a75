"""Our camera models against OpenCV's, which ROS calibrates with."""

import cv2
import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.geometry.camera import MODELS, Camera, camera_from_ros

BASE = Camera(640, 480, 520.5, 515.25, 321.3, 242.7)
PLUMB = Camera(640, 480, 520, 515, 321, 243, 'plumb_bob', (0.12, -0.23, 1e-3, -2e-3, 0.05))
BARREL = Camera(640, 480, 350, 352, 321, 243, 'plumb_bob', (-0.28, 0.07, 2e-4, 1e-5, 0.0))
RATIONAL = Camera(
    640, 480, 400, 402, 318, 240, 'rational_polynomial',
    (5.6, 3.1, 1e-4, -2e-4, 0.15, 5.9, 5.0, 0.9),
)  # fmt: skip
FISHEYE = Camera(640, 480, 285, 286, 320, 240, 'fisheye', (-0.01, 0.04, -0.03, 0.007))
CAMERAS = [BASE, PLUMB, BARREL, RATIONAL, FISHEYE]
cameras = pytest.mark.parametrize('camera', CAMERAS, ids=lambda c: f'{c.model}-{c.fx:g}')


def inside(camera: Camera, n: int = 300) -> np.ndarray:
    """Points in front of the camera that it sees, away from where any model folds."""
    rng = np.random.default_rng(0)
    reach = 0.95 if camera.model == 'fisheye' else 0.6
    z = rng.uniform(0.3, 20, size=(n, 1))
    return np.hstack([rng.uniform(-reach, reach, size=(n, 2)) * z, z])


def opencv_project(camera: Camera, points: np.ndarray) -> np.ndarray:
    zero, d = np.zeros(3), np.array(camera.distortion)
    if camera.model == 'fisheye':
        return cv2.fisheye.projectPoints(points[:, None], zero, zero, camera.K, d)[0][:, 0]
    return cv2.projectPoints(points, zero, zero, camera.K, d if d.size else None)[0][:, 0]


def opencv_undistort(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 1000, 1e-15)
    d = np.array(camera.distortion)
    if camera.model == 'fisheye':
        return cv2.fisheye.undistortPoints(pixels[:, None], camera.K, d, criteria=stop)[:, 0]
    d = d if d.size else np.zeros(5)
    return cv2.undistortPoints(pixels[:, None], camera.K, d, criteria=stop)[:, 0]


def test_every_model_is_compared() -> None:
    assert {c.model for c in CAMERAS} == set(MODELS)


@cameras
def test_project_is_opencvs(camera: Camera) -> None:
    points = inside(camera)
    np.testing.assert_allclose(camera.project(points), opencv_project(camera, points), atol=1e-9)


@cameras
def test_unproject_is_opencvs(camera: Camera) -> None:
    pixels = opencv_project(camera, inside(camera))
    rays = camera.unproject(pixels)
    np.testing.assert_allclose(rays[:, :2], opencv_undistort(camera, pixels), atol=1e-9)
    assert (rays[:, 2] == 1).all()


@cameras
def test_unproject_inverts_project(camera: Camera) -> None:
    points = inside(camera).reshape(3, -1, 3)
    rays = camera.unproject(camera.project(points))
    np.testing.assert_allclose(rays * points[..., 2:], points, atol=1e-9)


@cameras
def test_every_pixel_has_a_ray_that_lands_on_it(camera: Camera) -> None:
    grid = camera.pixel_grid()[::16, ::16]
    np.testing.assert_allclose(camera.project(camera.unproject(grid)), grid, atol=1e-6)


@cameras
def test_behind_is_nan(camera: Camera) -> None:
    pixels = camera.project([[0, 0, -1], [0.1, 0.1, 0], [np.nan, 0, 1], [0, 0, 1]])
    assert np.isnan(pixels[:2]).all()
    assert np.isnan(pixels[2]).any()
    np.testing.assert_allclose(pixels[3], [camera.cx, camera.cy])


def test_folding_distortion() -> None:
    """r (1 - 0.3 r^2) turns back at r = 1.054: further points would land inside the image."""
    camera = Camera(640, 480, 300, 300, 320, 240, 'plumb_bob', (-0.3, 0, 0, 0, 0))
    turn = np.sqrt(1 / 0.9)
    for r, seen in [(0.5, True), (turn - 0.01, True), (turn + 0.01, False), (1.7, False)]:
        assert np.isfinite(camera.project([r, 0, 1])).all() == seen, r
        assert np.isfinite(camera.project([0, -r, 1])).all() == seen, r
    reach = 300 * turn * (1 - 0.3 * turn**2)
    rays = camera.unproject([[320 + reach - 1, 240], [320 + reach + 1, 240], [320 + 3e4, 240]])
    assert np.isfinite(rays[0]).all()
    assert rays[0, 0] < turn
    assert np.isnan(rays[1:, 0]).all()


def test_fisheye_beyond_its_field() -> None:
    """Angles from the axis up to 90 degrees have a ray; a pixel further out has none."""
    camera = Camera(1000, 1000, 300, 300, 500, 500, 'fisheye', (0, 0, 0, 0))
    for deg, seen in [(60, True), (85, True), (95, False)]:
        ray = camera.unproject([500 + 300 * np.radians(deg), 500])
        assert np.isfinite(ray).all() == seen, deg
        if seen:
            assert ray[0] == pytest.approx(np.tan(np.radians(deg)), rel=1e-6)


@cameras
def test_resized_is_the_definition(camera: Camera) -> None:
    small = camera.resized(320, 120)
    points = inside(camera)
    expected = (camera.project(points) + 0.5) * [0.5, 0.25] - 0.5
    np.testing.assert_allclose(small.project(points), expected, atol=1e-9)
    assert (small.width, small.height) == (320, 120)
    again = small.resized(640, 480)
    assert again.cx == pytest.approx(camera.cx)
    assert again.fx == pytest.approx(camera.fx)


@cameras
def test_cropped_is_a_shift(camera: Camera) -> None:
    part = camera.cropped(10, 20, 100, 50)
    points = inside(camera)
    np.testing.assert_allclose(part.project(points), camera.project(points) - [10, 20], atol=1e-9)
    assert (part.width, part.height) == (100, 50)


@cameras
def test_undistorted_is_the_pinhole(camera: Camera) -> None:
    points = inside(camera)
    expected = points @ camera.K.T
    got = camera.undistorted().project(points)
    np.testing.assert_allclose(got, expected[:, :2] / expected[:, 2:], atol=1e-9)


def test_pixel_grid_is_column_row() -> None:
    grid = BASE.pixel_grid()
    assert grid.shape == (480, 640, 2)
    assert grid[3, 5].tolist() == [5, 3]


K = (500.0, 0, 320, 0, 500, 240, 0, 0, 1)


@pytest.mark.parametrize(
    ('name', 'd', 'expected'),
    [
        ('plumb_bob', (0.1, 0, 0, 0, 0), ('plumb_bob', (0.1, 0, 0, 0, 0))),
        ('plumb_bob', (0.1, 0.2, 0, 0), ('plumb_bob', (0.1, 0.2, 0, 0, 0))),  # 4 of 5
        ('plumb_bob', (0.1, 0, 0, 0, 0, 0, 0, 0), ('plumb_bob', (0.1, 0, 0, 0, 0))),
        ('plumb_bob', (0, 0, 0, 0, 0), ('pinhole', ())),
        ('plumb_bob', (), ('pinhole', ())),
        ('', (), ('pinhole', ())),
        ('none', (), ('pinhole', ())),
        ('equidistant', (0.1, 0, 0, 0), ('fisheye', (0.1, 0, 0, 0))),
        ('rational_polynomial', (*range(8), 0, 0), ('rational_polynomial', (*range(8),))),
    ],
)  # fmt: skip
def test_from_ros(name: str, d: tuple[float, ...], expected: tuple[object, ...]) -> None:
    camera = camera_from_ros((640, 480), name, K, d)
    assert (camera.model, camera.distortion) == expected
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 500, 320, 240)


@pytest.mark.parametrize(
    ('size', 'name', 'k', 'd', 'words'),
    [
        ((640, 480), 'plumb_bob', [0.0] * 9, (), 'fx 0, fy 0'),  # an uncalibrated driver
        ((640, 480), 'plumb_bob', [np.nan, *K[1:]], (), 'not usable'),
        ((640, 480), 'plumb_bob', [-500.0, *K[1:]], (), 'fx -500'),
        ((640, 480), 'plumb_bob', K, (np.nan, 0, 0, 0, 0), 'not usable'),
        ((640, 480), 'plumb_bob', K, (0, 0, 0, 0, 0, 0, 0, 9), '5 coefficients, got 8'),
        ((640, 480), 'double_sphere', K, (), "'double_sphere' is not supported; rectify"),
        ((640, 480), 'plumb_bob', K[:8], (), 'K has 8 numbers'),
        ((0, 480), 'plumb_bob', K, (), 'size is not positive'),
    ],
)
def test_from_ros_errors(
    size: tuple[int, int], name: str, k: list[float], d: tuple[float, ...], words: str
) -> None:
    with pytest.raises(VlocError, match=words):
        camera_from_ros(size, name, k, d)
