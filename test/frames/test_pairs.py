"""That correspondences are true: by pictures that show where they were taken, and by geometry."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.frames import pairs
from vloc_models.frames.augment import Photometric
from vloc_models.frames.pairs import Pair, PairConfig, photo_pair, scene_pair
from vloc_models.frames.scenes import Scene
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]
NO_LIGHT = Photometric(gamma=1, contrast=0, brightness=0, shading=0, share=0)
SMALL = PairConfig(96, 72, points=24, covered=0, light=NO_LIGHT)
HARD = replace(PairConfig.hard(), width=96, height=72, points=24)
CAMERA = Camera(160, 120, 130, 128, 81.0, 58.0)
WALL_M, POSTER_M = 4.0, 2.0


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(height: int, width: int, seed: int = 0) -> Grey:
    return rng(seed).integers(0, 256, (height, width), np.uint8)


def at(image: Grey, pixels: Array) -> Array:
    """Grey values [N] between pixels."""
    u, v = pixels.T
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    x, y = u - i, v - j
    g = image.astype(float)
    above = (1 - x) * g[j, i] + x * g[j, i + 1]
    below = (1 - x) * g[j + 1, i] + x * g[j + 1, i + 1]
    return (1 - y) * above + y * below


def check_sane(pair: Pair | None, config: PairConfig) -> Pair:
    assert pair is not None
    for image, pixels in ((pair.first, pair.pixels_first), (pair.second, pair.pixels_second)):
        assert image.shape == (config.height, config.width)
        assert image.dtype == np.uint8
        assert pixels.shape == (config.points, 2)
        assert (pixels > 0).all()
        assert (pixels < [config.width - 1, config.height - 1]).all()
    assert ((pair.pixels_first - 3.5) % 8 == 0).all()
    for hidden in (pair.hidden_first, pair.hidden_second):
        assert hidden.dtype == bool
        assert config.covered or not hidden.any()
        if config.height % 8 == config.width % 8 == 0:
            assert hidden.shape == (config.height // 8, config.width // 8)
    return pair


def same(a: Pair, b: Pair) -> bool:
    return all(np.array_equal(x, vars(b)[name]) for name, x in vars(a).items())


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Grey, Array]]:
    """The pictures that pairs are cut from and by which homographies; the last two are used."""
    seen: list[tuple[Grey, Array]] = []
    cut: Callable[..., Grey] = pairs.warp

    def spy(image: Grey, H: Array, *size: int) -> Grey:
        seen.append((image, H))
        return cut(image, H, *size)

    monkeypatch.setattr(pairs, 'warp', spy)
    return seen


def through(H: Any, pixels: Array) -> Array:
    return np.asarray(cv2.perspectiveTransform(pixels[:, None], np.asarray(H))[:, 0], np.float64)


def grid() -> Array:
    """The centres of the cells of 96 x 72 pixels [108, 2]."""
    v, u = np.mgrid[:72:8, :96:8]
    return np.stack([u, v], -1).reshape(-1, 2) + 3.5


def smooth(move: Callable[[Array], Array], pixels: Array) -> NDArray[np.bool_]:
    """[N]: whether ``move`` neither stretches nor squeezes much within 3 px."""
    found = np.zeros(len(pixels), bool)
    for n, p in enumerate(pixels):
        here, right, down = move(p + np.array([[0, 0], [3, 0], [0, 3]]))
        by_u, by_v = (right - here) / 3, (down - here) / 3
        area = abs(by_u[0] * by_v[1] - by_u[1] * by_v[0])  # NaN if one of them is not seen
        found[n] = area > 1 / 16 and max(*np.abs(by_u), *np.abs(by_v)) < 4
    return found


def affine(pair: Pair) -> Array:
    """[2, 2]: how the second points go with the first ones, by least squares."""
    sides = (x - x.mean(0) for x in (pair.pixels_first, pair.pixels_second))
    return np.linalg.lstsq(*sides, rcond=None)[0].T


# --- photos ---


def test_both_pictures_show_the_same_point_of_the_photo() -> None:
    """The photo's grey value is twice its column or row; rounding makes up to two levels."""
    v, u = np.mgrid[:100, :128].astype(np.uint8) * 2
    gaps, moved = [], 0.0
    for seed in range(12):
        for photo in (u, v):
            pair = check_sane(photo_pair(photo, SMALL, rng(seed)), SMALL)
            here, there = at(pair.first, pair.pixels_first), at(pair.second, pair.pixels_second)
            clear = (here > 8) & (here < photo.max() - 8)  # beyond the edge it is mirrored
            gaps.extend(np.abs(here - there)[clear] / 2)
            moved = max(moved, np.abs(pair.pixels_first - pair.pixels_second).max())
    assert len(gaps) > 400
    assert max(gaps) < 1
    assert np.mean(gaps) < 0.25
    assert moved > 10


@pytest.mark.parametrize('config', [SMALL, HARD])
def test_points_are_those_of_the_homographies(
    config: PairConfig, cuts: list[tuple[Grey, Array]]
) -> None:
    photo, turned = noise(130, 170), 0.0
    for seed in range(10):
        pair = check_sane(photo_pair(photo, config, rng(seed)), config)
        (_, first), (_, second) = cuts[-2:]
        H = np.linalg.inv(second) @ first
        np.testing.assert_allclose(through(H, pair.pixels_first), pair.pixels_second, atol=1e-6)
        in_photo = through(first, pair.pixels_first)
        assert (in_photo >= 0).all()
        assert (in_photo <= [169, 129]).all()
        assert smooth(partial(through, H), pair.pixels_first).all()
        turned = max(turned, np.abs(affine(pair) - np.eye(2)).max())
    assert turned > 0.3  # it was put to the test


def test_hard_pairs_are_harder() -> None:
    """Further apart in scale and turn; other light, blocks and lost resolution besides."""
    easy, hard = (
        [photo_pair(noise(130, 170), c, rng(seed)) for seed in range(25)] for c in (SMALL, HARD)
    )
    scales, turns = [], []
    for found in (easy, hard):
        jacobians = [affine(p) for p in found if p is not None]
        assert len(jacobians) > 18
        scales.append(np.ptp([np.log(np.linalg.det(J)) / 2 for J in jacobians]))
        turns.append(np.std([np.arctan2(J[1, 0], J[0, 0]) for J in jacobians]))
    assert scales[1] > 1.4 * scales[0]
    assert turns[1] > 1.4 * turns[0]
    easy, hard = PairConfig(), PairConfig.hard()
    assert hard.shared < easy.shared
    assert hard.covered > easy.covered > 0
    assert (hard.width, hard.height, hard.points) == (easy.width, easy.height, easy.points)
    for name in ('gamma', 'contrast', 'brightness', 'shading', 'blur_px', 'motion_px', 'noise'):
        assert getattr(hard.light, name) > getattr(easy.light, name)
    assert hard.light.patches > easy.light.patches == 0
    assert hard.light.shrink > easy.light.shrink == 1


def test_what_is_stretched_too_much_is_left_out(cuts: list[tuple[Grey, Array]]) -> None:
    scales, left_out = [], 0
    for seed in range(20):
        pair = photo_pair(noise(150, 200), replace(SMALL, relative_zoom=20), rng(seed))
        move = partial(through, np.linalg.inv(cuts[-1][1]) @ cuts[-2][1])
        there = move(grid())
        inside = ((there > 0) & (there < [95, 71])).all(1)
        left_out += (inside & ~smooth(move, grid())).sum()
        if pair is not None:
            assert smooth(move, check_sane(pair, SMALL).pixels_first).all()
            scales.append(np.linalg.det(affine(pair)) ** 0.5)
    assert left_out > 20
    assert np.min(scales) < 0.5
    assert np.max(scales) > 2


@pytest.mark.parametrize('kind', ['photo', 'scene'])
def test_covered_points_are_left_out(kind: str, cuts: list[tuple[Grey, Array]]) -> None:
    """Every point shows in both pictures what it shows there without blocks."""
    config, hidden = replace(SMALL, covered=1.0), []
    for seed in range(12):
        if kind == 'photo':
            pair = photo_pair(noise(130, 170), config, rng(seed))
        else:
            pair = scene_pair(scene(*MOTIONS[:1]), config, rng(seed))
        pair = check_sane(pair, config)
        sides = (pair.first, pair.pixels_first), (pair.second, pair.pixels_second)
        for (shown, pixels), (image, H) in zip(sides, cuts[-2:], strict=True):
            size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            bare = cv2.warpPerspective(
                image, H, (96, 72), flags=size, borderMode=cv2.BORDER_REFLECT_101
            )
            changed = np.abs(shown.astype(int) - np.asarray(bare, int)) > 1
            u, v = pixels.round().astype(int).T
            assert not changed[v, u].any()
            hidden.append(changed.mean())
    assert np.min(hidden) > 0
    assert np.mean(hidden) > 0.1


@pytest.mark.parametrize('kind', ['photo', 'scene'])
def test_cells_are_hidden_whose_middle_is_covered(kind: str) -> None:
    """What shows the same in a dark picture and a bright one is covered."""
    config, counts = replace(SMALL, covered=0.8), []
    for seed in range(20):
        if kind == 'photo':
            photos = (np.full((130, 170), level, np.uint8) for level in (40, 200))
            both = [photo_pair(photo, config, rng(seed)) for photo in photos]
        else:
            place = scene(MOTIONS[0])
            lit = (replace(place, grey=np.full_like(place.grey, level)) for level in (40, 200))
            both = [scene_pair(views, config, rng(seed)) for views in lit]
        dark, bright = (check_sane(pair, config) for pair in both)
        for name in ('first', 'second'):
            pictures = (vars(pair)[name].astype(int) for pair in (dark, bright))
            covered = np.abs(np.subtract(*pictures)) < 80
            hidden, pixels = vars(dark)[f'hidden_{name}'], vars(dark)[f'pixels_{name}']
            for row, column in np.ndindex(9, 12):
                assert hidden[row, column] == covered[8 * row + 4, 8 * column + 4]
            for u, v in pixels:  # nothing corresponds to what is covered
                assert not covered[round(v), round(u)]
                if name == 'first':
                    assert not hidden[int(v // 8), int(u // 8)]
            counts.append(hidden.mean())
    assert 0.1 < np.mean(counts) < 0.5
    assert np.min(counts) == 0


def test_a_share_of_the_pictures_is_covered(cuts: list[tuple[Grey, Array]]) -> None:
    """A photo of one level shows blocks by any other."""
    photo, covered, config = np.full((130, 170), 99, np.uint8), [], replace(SMALL, covered=0.5)
    for seed in range(40):
        pair = check_sane(photo_pair(photo, config, rng(seed)), config)
        covered += [np.ptp(pair.first) > 1, np.ptp(pair.second) > 1]
    assert 0.3 < np.mean(covered) < 0.7


def test_points_are_drawn_where_there_is_detail(cuts: list[tuple[Grey, Array]]) -> None:
    """Half of the photo is blank; its points are drawn too, but rarely."""
    photo = noise(130, 170)
    photo[:, :85] = 120
    drawn, cells = 0.0, 0.0
    config = replace(SMALL, points=100)
    for seed in range(20):
        pair = check_sane(photo_pair(photo, config, rng(seed)), config)
        first = cuts[-2][1]
        blank = (through(first, grid())[:, 0] < 75).mean()
        if 0.1 < blank < 0.9:
            cells += blank
            drawn += (through(first, pair.pixels_first)[:, 0] < 75).mean()
    assert cells > 3
    assert 0 < drawn < 0.2 * cells


@pytest.mark.parametrize('size', [(40, 50), (30, 300), (400, 60)])
def test_photos_smaller_than_the_cut_will_do(size: tuple[int, int]) -> None:
    found = [photo_pair(noise(*size), SMALL, rng(s)) for s in range(5)]
    assert sum(pair is not None for pair in found) >= 4
    for pair in found:
        if pair is not None:
            check_sane(pair, SMALL)


def test_a_cut_that_is_no_multiple_of_8_will_do() -> None:
    config = replace(SMALL, width=93, height=67)
    for seed in range(5):
        check_sane(photo_pair(noise(130, 170), config, rng(seed)), config)


def test_too_little_shared_is_no_pair() -> None:
    impossible = replace(SMALL, points=1000)  # a sixth of them, and there are 108 cells
    assert photo_pair(noise(150, 200), impossible, rng(0)) is None
    assert scene_pair(scene(), impossible, rng(0)) is None


# --- scenes ---


def scene(*twists: tuple[float, ...]) -> Scene:
    """Views of a wall with a poster standing before it, from camera poses exp(twist)."""
    greys, depths, poses = [], [], []
    for twist in ((0.1, -0.05), *twists):
        T_map_cam = se3.exp(np.resize([*twist, 0, 0, 0, 0, 0, 0], 6))
        depth, points, poster = traced(T_map_cam, CAMERA.pixel_grid().reshape(-1, 2))
        level = np.where(poster, 230 - 20 * points[:, 0], 100 + 30 * points[:, 0])
        greys.append(level.clip(0, 255).astype(np.uint8).reshape(120, 160))
        depths.append(depth.astype(np.float16).reshape(120, 160))
        poses.append(T_map_cam)
    count = len(poses)
    shared = np.ones((count, count), np.float32)
    return Scene(np.stack(greys), np.stack(depths), [CAMERA] * count, np.stack(poses), shared)


def traced(T_map_cam: Array, pixels: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Depth [N], map points [N, 3] and whether they are the poster's, of the exact place."""
    rays_cam = np.column_stack([(pixels - [81.0, 58.0]) / [130, 128], np.ones(len(pixels))])
    rays = rays_cam @ T_map_cam[:3, :3].T
    depths = [(z - T_map_cam[2, 3]) / rays[:, 2] for z in (POSTER_M, WALL_M)]
    near, far = (T_map_cam[:3, 3] + d[:, None] * rays for d in depths)
    poster = (np.abs(near[:, :2]) < [0.4, 0.5]).all(1)
    depth, points = np.where(poster, *depths), np.where(poster[:, None], near, far)
    return np.where(depth > 0, depth, np.nan), points, poster


def views_of(place: Scene, cuts: list[tuple[Grey, Array]]) -> tuple[int, int, Array, Array]:
    """The numbers of the two views of the last pair, and their homographies."""
    (image_a, H_a), (image_b, H_b) = cuts[-2:]
    a, b = (
        next(n for n, grey in enumerate(place.grey) if np.shares_memory(grey, image))
        for image in (image_a, image_b)
    )
    return a, b, H_a, H_b


def carried(
    T_map_a: Array, T_map_b: Array, H_a: Array, H_b: Array, pixels: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Where the second cut shows what the first one shows at pixels, and if it is the poster."""
    _, points, poster = traced(T_map_a, through(H_a, pixels))
    in_b = CAMERA.project(se3.apply(se3.inverse(T_map_b), points))
    return through(np.linalg.inv(H_b), in_b), poster


def joined(T_map_a: Array, T_map_b: Array, H_a: Array, H_b: Array, pixels: Array) -> Array:
    """Where the second cut shows what the first one shows at pixels; NaN if that is hidden."""
    in_a = through(H_a, pixels)
    depth_a, _, _ = traced(T_map_a, in_a.round())  # the depth image's pixel
    rays = np.column_stack([(in_a - [81.0, 58.0]) / [130, 128], np.ones(len(in_a))])
    z = depth_a.astype(np.float16).astype(np.float64)
    points_b = se3.apply(se3.inverse(T_map_b) @ T_map_a, rays * z[:, None])
    in_b = points_b[:, :2] / points_b[:, 2:] * [130, 128] + [81.0, 58.0]
    depth_b, _, _ = traced(T_map_b, in_b.round())
    agrees = np.abs(depth_b - points_b[:, 2]) < 0.031 * depth_b
    return np.where(agrees[:, None], through(np.linalg.inv(H_b), in_b), np.nan)


MOTIONS = [(0.3, 0.05, 0.1, 0.02, 0.1, 0.05), (-0.5, 0, 0, 0, -0.15, 0), (0, 0.2, 0.8, 0, 0, 0.3)]


@pytest.mark.parametrize('motion', MOTIONS)
def test_points_of_two_views_are_the_same_in_space(
    motion: tuple[float, ...], cuts: list[tuple[Grey, Array]]
) -> None:
    place, hidden, both = scene(motion), 0, set()
    for seed in range(16):
        pair = check_sane(scene_pair(place, SMALL, rng(seed)), SMALL)
        a, b, H_a, H_b = views_of(place, cuts)
        T_map_a, T_map_b = place.T_map_cam[[a, b]]
        expected = joined(T_map_a, T_map_b, H_a, H_b, pair.pixels_first)
        np.testing.assert_allclose(pair.pixels_second, expected, atol=1e-6)
        in_a, in_b = through(H_a, pair.pixels_first), through(H_b, pair.pixels_second)
        poster_a, poster_b = traced(T_map_a, in_a.round())[2], traced(T_map_b, in_b.round())[2]
        np.testing.assert_array_equal(poster_a, poster_b)  # nothing is joined to what hides it
        hidden += count_hidden(T_map_a, T_map_b, H_a, H_b)
        both.add((a, b))
    assert both == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert hidden > 10 or motion[0] == 0  # else nothing was put to the test


def count_hidden(T_map_a: Array, T_map_b: Array, H_a: Array, H_b: Array) -> int:
    """How many cells of the first view show wall that lies behind the poster in the second."""
    there, poster = carried(T_map_a, T_map_b, H_a, H_b, grid())
    inside = ((there > 0) & (there < [95, 71])).all(1)
    return int((traced(T_map_b, through(H_b, there))[2] & ~poster & inside).sum())


@pytest.mark.parametrize('motion', MOTIONS)
def test_points_at_the_edges_of_what_stands_before_others_are_left_out(
    motion: tuple[float, ...], cuts: list[tuple[Grey, Array]]
) -> None:
    """Where the poster ends within 3 px, or begins; elsewhere all points move alike."""
    place, left_out, gaps = scene(motion), 0, []
    for seed in range(10):
        pair = check_sane(scene_pair(place, SMALL, rng(seed)), SMALL)
        a, b, H_a, H_b = views_of(place, cuts)
        T_map_a, T_map_b = place.T_map_cam[[a, b]]
        seen = partial(joined, T_map_a, T_map_b, H_a, H_b)
        assert smooth(seen, pair.pixels_first).all()
        there = seen(grid())
        inside = ((there > 0) & (there < [95, 71])).all(1)
        left_out += (inside & ~smooth(seen, grid())).sum()
        on_poster = carried(T_map_a, T_map_b, H_a, H_b, pair.pixels_first)[1]
        for side in (on_poster, ~on_poster):  # each is flat, and its motion a homography
            here, moved = pair.pixels_first[side], pair.pixels_second[side]
            if len(np.unique(here, axis=0)) > 8:
                H, _ = cv2.findHomography(here, moved)
                gaps.extend(np.abs(through(H, here) - moved).max(1))
    assert left_out > 10 or motion[0] == 0
    assert len(gaps) > 100
    assert np.median(gaps) < 0.02
    assert np.max(gaps) < 0.5


def test_a_view_with_itself(cuts: list[tuple[Grey, Array]]) -> None:
    for seed in range(5):
        pair = check_sane(scene_pair(scene(), SMALL, rng(seed)), SMALL)
        (_, H_a), (_, H_b) = cuts[-2:]
        gap = through(H_a, pair.pixels_first) - through(H_b, pair.pixels_second)
        assert np.abs(gap).max() < 1e-6


def test_pictures_of_two_views_agree() -> None:
    """The wall's grey value is its place: 30 levels a metre, 32 px a metre."""
    gaps = []
    for seed in range(8):
        pair = check_sane(scene_pair(scene(MOTIONS[0]), SMALL, rng(seed)), SMALL)
        gaps.append(at(pair.first, pair.pixels_first) - at(pair.second, pair.pixels_second))
    assert np.median(np.abs(gaps)) < 1.5


def test_only_views_that_share_enough_are_paired(cuts: list[tuple[Grey, Array]]) -> None:
    shared = np.array([[1, 0.6, 0.59], [0.7, 1, 0.2], [0.9, 0, 1]], np.float32)
    place = replace(scene((0.2,), (0.3,)), shared=shared)
    found = set()
    for seed in range(40):
        check_sane(scene_pair(place, replace(SMALL, shared=0.595), rng(seed)), SMALL)
        found.add(views_of(place, cuts)[:2])
    assert found == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 2)}


@pytest.mark.parametrize('config', [replace(SMALL, light=Photometric()), HARD])
def test_pairs_repeat_with_the_seed(config: PairConfig) -> None:
    photo, place = noise(100, 130), scene((0.2,))
    for cut in (partial(photo_pair, photo, config), partial(scene_pair, place, config)):
        first, again, other = (check_sane(cut(rng(seed)), config) for seed in (0, 0, 1))
        assert same(first, again)
        assert not same(first, other)


@pytest.mark.parametrize('motion', [(9.0,), (0, 0, 0, 0, 2.0)])
def test_views_that_share_nothing_are_no_pair(motion: tuple[float, ...]) -> None:
    """Whatever ``shared`` says."""
    place = replace(scene(motion), shared=1 - np.eye(2, dtype=np.float32))
    assert scene_pair(place, SMALL, rng(0)) is None


def test_views_without_depth_are_no_pair() -> None:
    place = scene()
    assert scene_pair(place, SMALL, rng(0)) is not None
    place.depth[:] = np.nan
    assert scene_pair(place, SMALL, rng(0)) is None
