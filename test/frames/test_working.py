import cv2
import numpy as np
import pytest

from vloc_models.frames.working import working_view
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.records import Array, View

T_base_cam = se3.exp([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
LENS = (-0.25, 0.08, 1e-3, -5e-4, 0.01)


def view(width: int, height: int, depth: bool = True) -> View:
    camera = Camera(
        width, height, width, 1.1 * width, width / 2.1, height / 1.9, 'plumb_bob', LENS
    )
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    z = rng.uniform(1, 5, (height, width)).astype(np.float32)
    z[: height // 3] = np.nan
    labels = rng.integers(0, 15, (height, width), np.uint8)
    return View(image, camera, T_base_cam, z if depth else None, labels)


@pytest.mark.parametrize(
    ('size', 'short_side_px', 'expected'),
    [
        ((640, 480), 360, (480, 360)),
        ((640, 480), 480, (640, 480)),
        ((1280, 720), 480, (853, 480)),
        ((1920, 1080), 360, (640, 360)),
        ((848, 480), 360, (636, 360)),
        ((320, 240), 480, (640, 480)),
        ((480, 640), 480, (480, 640)),
        ((540, 1080), 120, (120, 240)),
        ((31, 29), 480, (513, 480)),
        ((500, 500), 360, (360, 360)),
    ],
)
def test_sizes(size: tuple[int, int], short_side_px: int, expected: tuple[int, int]) -> None:
    found = working_view(view(*size), short_side_px)
    assert (found.camera.width, found.camera.height) == expected
    assert found.image.shape == (*expected[::-1], 3)  # and View checks depth
    assert found.image.dtype == np.uint8
    assert found.depth is not None
    assert found.depth.dtype == np.float32
    assert found.labels is not None  # and View checks their size
    assert found.T_base_cam is T_base_cam


def test_the_right_size_stays_as_it_is() -> None:
    given = view(640, 480)
    found = working_view(given, 480)
    assert found.image is given.image
    assert found.depth is given.depth
    assert found.camera == given.camera
    assert found.labels is given.labels


def test_no_depth_stays_none() -> None:
    assert working_view(view(320, 240, depth=False), 480).depth is None


def dot(width: int, height: int, at: Array) -> View:
    """A bright spot around the pixel ``at`` [2], through a bent lens."""
    camera = Camera(
        width, height, width, 1.1 * width, width / 2.1, height / 1.9, 'plumb_bob', LENS
    )
    offset = np.linalg.norm(camera.pixel_grid() - at, axis=-1)
    spot = (250 * np.exp(-((offset / width * 60) ** 2))).astype(np.uint8)
    return View(np.repeat(spot[..., None], 3, 2), camera, np.eye(4))


@pytest.mark.parametrize(
    ('size', 'short_side_px'),
    [((1280, 720), 360), ((1111, 777), 480), ((320, 240), 480), ((480, 848), 360)],
)
def test_the_camera_is_that_of_the_picture(size: tuple[int, int], short_side_px: int) -> None:
    """A point is where OpenCV projects it through the new camera."""
    point = np.array([0.12, -0.09, 1.0])
    given = dot(*size, np.zeros(2))
    found = working_view(dot(*size, given.camera.project(point)), short_side_px)
    image = found.image[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    seen = np.array([(image * columns).sum(), (image * rows).sum()]) / image.sum()
    expected = cv2.projectPoints(
        point, np.zeros(3), np.zeros(3), found.camera.K, np.array(found.camera.distortion)
    )[0].ravel()
    np.testing.assert_allclose(seen, expected, atol=0.05)


@pytest.mark.parametrize(
    ('size', 'short_side_px'),
    [((1280, 720), 480), ((1920, 1080), 120), ((1111, 777), 360), ((320, 240), 480),
     ((360, 640), 200)],
)  # fmt: skip
def test_depth_is_that_of_the_nearest_pixel(size: tuple[int, int], short_side_px: int) -> None:
    given = view(*size)
    found = working_view(given, short_side_px)
    assert given.depth is not None
    assert found.depth is not None
    scale = np.array(size) / [found.camera.width, found.camera.height]
    source = (found.camera.pixel_grid() + 0.5) * scale - 0.5  # in pixels of the picture given
    ties = (np.abs(source - np.floor(source) - 0.5) < 1e-6).any(-1)
    column, row = np.rint(source).astype(int).reshape(-1, 2).T
    expected = given.depth[row, column].reshape(found.depth.shape)
    np.testing.assert_array_equal(found.depth[~ties], expected[~ties])
    assert np.isin(found.depth[np.isfinite(found.depth)], given.depth).all()


def test_nan_depth_does_not_spread() -> None:
    found = working_view(view(1280, 720), 480)
    assert found.depth is not None
    assert np.isnan(found.depth).mean() == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize('short_side_px', [20, 47, 48, 60, 79])
def test_every_pixel_is_seen(short_side_px: int) -> None:
    """A bright column of the picture never falls between those of a smaller one."""
    camera = Camera(100, 80, 90.0, 90.0, 49.5, 39.5)
    least = 250 * min(0.15, (short_side_px / 80) / 2)
    for column in range(100):
        image = np.zeros((80, 100, 3), np.uint8)
        image[:, column] = 250
        found = working_view(View(image, camera, np.eye(4)), short_side_px)
        assert found.image.max() > least
