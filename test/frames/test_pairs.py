"""That correspondences are true: by pictures that show where they were taken, and by geometry."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
from cut_pairs import (
    HARD,
    MOTIONS,
    SMALL,
    Array,
    Grey,
    affine,
    at,
    check_sane,
    grid,
    noise,
    rng,
    scene,
    smooth,
    through,
)

from vloc_models.frames.pairs import PairConfig, photo_pair, scene_pair


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
