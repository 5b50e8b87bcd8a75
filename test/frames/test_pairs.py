"""That correspondences are true: by pictures that show where they were taken, and by geometry."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames import pairs
from vloc_models.frames.augment import Photometric
from vloc_models.frames.pairs import Pair, PairConfig, frame_pair, photo_pair, read_photos
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.records import Frame, View

Array = NDArray[np.float64]
NO_LIGHT = Photometric(gamma=1, contrast=0, brightness=0, shading=0, share=0)
SMALL = PairConfig(96, 72, points=24, light=NO_LIGHT)
CAMERA = Camera(160, 120, 130, 128, 81.0, 58.0)
T_BASE_CAM = se3.exp([0.2, -0.1, 0.3, 0.1, -0.2, 0.05])
WALL_M, POSTER_M = 4.0, 2.0


def at(image: NDArray[np.uint8], pixels: Array) -> Array:
    """Grey values [N] between pixels."""
    u, v = pixels.T
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    x, y = u - i, v - j
    g = image.astype(float)
    above = (1 - x) * g[j, i] + x * g[j, i + 1]
    below = (1 - x) * g[j + 1, i] + x * g[j + 1, i + 1]
    return (1 - y) * above + y * below


def check_sane(pair: Pair, config: PairConfig) -> None:
    for image, pixels in ((pair.first, pair.pixels_first), (pair.second, pair.pixels_second)):
        assert image.shape == (config.height, config.width)
        assert image.dtype == np.uint8
        assert pixels.shape == (config.points, 2)
        assert (pixels >= 0).all()
        assert (pixels <= [config.width - 1, config.height - 1]).all()
    assert ((pair.pixels_first - 3.5) % 8 == 0).all()


def same(a: Pair, b: Pair) -> bool:
    names = ('first', 'second', 'pixels_first', 'pixels_second')
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in names)


def test_both_pictures_show_the_same_point_of_the_photo() -> None:
    """The photo's grey value is twice its column or row; rounding makes up to two levels."""
    v, u = np.mgrid[:100, :128].astype(np.uint8) * 2
    gaps, moved = [], 0.0
    for seed in range(12):
        for photo in (u, v):
            pair = photo_pair(photo, SMALL, np.random.default_rng(seed))
            assert pair is not None
            check_sane(pair, SMALL)
            here, there = at(pair.first, pair.pixels_first), at(pair.second, pair.pixels_second)
            clear = (here > 8) & (here < photo.max() - 8)  # beyond the edge it is mirrored
            gaps.extend(np.abs(here - there)[clear] / 2)
            moved = max(moved, np.abs(pair.pixels_first - pair.pixels_second).max())
    assert len(gaps) > 400
    assert max(gaps) < 1
    assert np.mean(gaps) < 0.25
    assert moved > 10


def test_photo_pairs_repeat_with_the_seed() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (100, 130), np.uint8)
    config = PairConfig(64, 48, points=24)
    found = [photo_pair(photo, config, np.random.default_rng(s)) for s in (0, 0, 1)]
    first, again, other = (pair for pair in found if pair is not None)
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize('size', [(40, 50), (30, 300), (400, 60)])
def test_photos_smaller_than_the_cut_will_do(size: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    found = [photo_pair(photo, SMALL, np.random.default_rng(s)) for s in range(5)]
    assert sum(pair is not None for pair in found) >= 4
    for pair in found:
        if pair is not None:
            check_sane(pair, SMALL)


def test_too_little_shared_is_no_pair() -> None:
    photo = np.zeros((150, 200), np.uint8)
    impossible = PairConfig(96, 72, points=1000)  # of 108 cells
    assert photo_pair(photo, impossible, np.random.default_rng(0)) is None
    assert frame_pair(frame(0), frame(0), impossible, np.random.default_rng(0)) is None


def frame(*twist: float) -> Frame:
    """A view of a wall with a poster standing before it, from the camera pose exp(twist)."""
    T_map_cam = se3.exp(np.resize([*twist, 0, 0, 0, 0, 0, 0], 6))
    depth, points, poster = traced(T_map_cam, CAMERA.pixel_grid().reshape(-1, 2))
    level = np.where(poster, 230 - 20 * points[:, 0], 100 + 30 * points[:, 0])
    image = np.repeat(level.clip(0, 255).astype(np.uint8).reshape(120, 160, 1), 3, axis=2)
    view = View(image, CAMERA, T_BASE_CAM, depth.reshape(120, 160).astype(np.float32))
    return Frame(0, (view,), None, T_map_cam @ se3.inverse(T_BASE_CAM))


def traced(T_map_cam: Array, pixels: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Depth [N], map points [N, 3] and whether they are the poster's, of the exact scene."""
    rays_cam = np.column_stack([(pixels - [81.0, 58.0]) / [130, 128], np.ones(len(pixels))])
    rays = rays_cam @ T_map_cam[:3, :3].T
    depths = [(z - T_map_cam[2, 3]) / rays[:, 2] for z in (POSTER_M, WALL_M)]
    near, far = (T_map_cam[:3, 3] + d[:, None] * rays for d in depths)
    poster = (np.abs(near[:, :2]) < [0.4, 0.5]).all(1)
    depth, points = np.where(poster, *depths), np.where(poster[:, None], near, far)
    return np.where(depth > 0, depth, np.nan), points, poster


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> list[Array]:
    """The homographies that pairs are cut by, in order."""
    seen: list[Array] = []
    cut: Callable[..., Array] = pairs._view

    def spy(*args: object) -> Array:
        seen.append(cut(*args))
        return seen[-1]

    monkeypatch.setattr(pairs, '_view', spy)
    return seen


def through(H: Array, pixels: Array) -> Array:
    return np.asarray(cv2.perspectiveTransform(pixels[:, None], H)[:, 0], np.float64)


MOTIONS = [(0.3, 0.05, 0.1, 0.02, 0.1, 0.05), (-0.5, 0, 0, 0, -0.15, 0), (0, 0.2, 0.8, 0, 0, 0.3)]


@pytest.mark.parametrize('motion', MOTIONS)
def test_points_of_two_views_are_the_same_in_space(
    motion: tuple[float, ...], views: list[Array]
) -> None:
    a, b = frame(0.1, -0.05), frame(*motion)
    T_map_a, T_map_b = (T_map_cam(f) for f in (a, b))
    hidden = 0
    for seed in range(10):
        pair = frame_pair(a, b, SMALL, np.random.default_rng(seed))
        assert pair is not None
        check_sane(pair, SMALL)
        H_a, H_b = views[-2:]
        in_a, in_b = through(H_a, pair.pixels_first), through(H_b, pair.pixels_second)
        depth_a, _, poster_a = traced(T_map_a, in_a.round())  # the depth image's pixel
        rays = np.column_stack([(in_a - [81.0, 58.0]) / [130, 128], np.ones(len(in_a))])
        z = depth_a.astype(np.float32).astype(np.float64)
        points_b = se3.apply(se3.inverse(T_map_b) @ T_map_a, rays * z[:, None])
        expected = points_b[:, :2] / points_b[:, 2:] * [130, 128] + [81.0, 58.0]
        np.testing.assert_allclose(in_b, expected, atol=1e-6)
        depth_b, _, poster_b = traced(T_map_b, in_b.round())
        np.testing.assert_array_equal(poster_a, poster_b)  # nothing is joined to what hides it
        assert (np.abs(depth_b - points_b[:, 2]) < 0.03 * depth_b).all()
        hidden += count_hidden(T_map_a, T_map_b, H_a, H_b)
    assert hidden > 10 or motion[0] == 0  # else nothing was put to the test


def T_map_cam(f: Frame) -> Array:
    assert f.T_map_base is not None
    return f.T_map_base @ f.views[0].T_base_cam


def count_hidden(T_map_a: Array, T_map_b: Array, H_a: Array, H_b: Array) -> int:
    """How many cells of the first view show wall that lies behind the poster in the second."""
    v, u = np.mgrid[:72:8, :96:8]
    _, points, poster = traced(T_map_a, through(H_a, np.stack([u, v], -1).reshape(-1, 2) + 3.5))
    in_b = CAMERA.project(se3.apply(se3.inverse(T_map_b), points))
    there = through(np.asarray(np.linalg.inv(H_b), np.float64), in_b)
    inside = ((there > 0) & (there < [95, 71])).all(1)
    return int((traced(T_map_b, in_b)[2] & ~poster & inside).sum())


def test_a_view_with_itself(views: list[Array]) -> None:
    for seed in range(5):
        pair = frame_pair(frame(0.1), frame(0.1), SMALL, np.random.default_rng(seed))
        assert pair is not None
        H_a, H_b = views[-2:]
        gap = through(H_a, pair.pixels_first) - through(H_b, pair.pixels_second)
        assert np.abs(gap).max() < 1e-6


def test_pictures_of_two_views_agree() -> None:
    """The wall's grey value is its place: 30 levels a metre, 32 px a metre."""
    gaps = []
    for seed in range(5):
        pair = frame_pair(frame(), frame(*MOTIONS[0]), SMALL, np.random.default_rng(seed))
        assert pair is not None
        gaps.append(at(pair.first, pair.pixels_first) - at(pair.second, pair.pixels_second))
    assert np.median(np.abs(gaps)) < 1.5


def test_frame_pairs_repeat_with_the_seed() -> None:
    config = PairConfig(96, 72, points=24)
    found = [
        frame_pair(frame(), frame(0.2), config, np.random.default_rng(seed)) for seed in (0, 0, 1)
    ]
    first, again, other = (pair for pair in found if pair is not None)
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize('motion', [(9.0,), (0, 0, 0, 0, 2.0)])
def test_views_that_share_nothing_are_no_pair(motion: tuple[float, ...]) -> None:
    assert frame_pair(frame(), frame(*motion), SMALL, np.random.default_rng(0)) is None


def test_photos_are_read_in_order_and_others_left_out(tmp_path: Path) -> None:
    for name, level in (('b.png', 20), ('a.JPG', 10), ('c.jpeg', 30)):
        assert cv2.imwrite(str(tmp_path / name), np.full((9, 7, 3), level, np.uint8))
    (tmp_path / 'd.png').write_bytes(b'no picture')
    (tmp_path / 'notes.txt').write_text('nothing')
    photos = read_photos(tmp_path)
    assert [p.shape for p in photos] == [(9, 7)] * 3
    assert [round(float(p.mean())) for p in photos] == [10, 20, 30]


@pytest.mark.parametrize('name', ['', 'missing'])
def test_a_folder_without_photos_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(VlocError, match='no readable'):
        read_photos(tmp_path / name)
