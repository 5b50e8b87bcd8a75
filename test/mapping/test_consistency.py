"""Exact depths confirm each other; planted errors are found, and what is covered is not denied."""

from dataclasses import replace

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.mapping.consistency import CheckConfig, DepthPicture, confirmed, partners_of

CAMERA = Camera(64, 48, 55, 55, 31.5, 23.5)
CONFIG = CheckConfig()
NONE_M = 1e9  # a board so far away is not seen
BOX = np.array([[-0.6, 0.3], [-0.5, 0.5]])  # x and y of a board that stands before the wall


def picture(
    x: float, y: float = 0.0, wall_m: float = 3.0, board_m: float = 2.0, moved_m: float = 0.0
) -> DepthPicture:
    """Of a slanted wall and a board before it, from some way beside."""
    T_map_cam = se3.exp([x, y, 0, 0, -0.1 * x, 0])
    rays = CAMERA.unproject(CAMERA.pixel_grid()) @ T_map_cam[:3, :3].T
    at = T_map_cam[:3, 3]
    wall = (wall_m + 0.3 * at[0] - at[2]) / (rays[..., 2] - 0.3 * rays[..., 0])
    board = (board_m - at[2]) / rays[..., 2]
    on_board = (at + rays * board[..., None])[..., :2] - [moved_m, 0]
    hit = ((on_board > BOX[:, 0]) & (on_board < BOX[:, 1])).all(-1)
    return DepthPicture(np.where(hit, board, wall), CAMERA, T_map_cam)


def row() -> list[DepthPicture]:
    return [picture(x, y) for x in np.linspace(-0.6, 0.6, 9) for y in (0, 0.1)]


def test_exact_depth_is_confirmed_and_what_others_do_not_see_is_not() -> None:
    others = row()
    found = confirmed(picture(0.02), others, CONFIG)
    assert found[8:-8, 8:-8].mean() > 0.95
    lonely = DepthPicture(others[0].depth, CAMERA, se3.exp([0, 0, -30, 0, 0, 0]))
    assert not confirmed(picture(0), [lonely, lonely, lonely], CONFIG).any()
    assert not confirmed(picture(0), [], CONFIG).any()


def test_planted_errors_are_found() -> None:
    good = picture(0.02)
    for factor in (0.8, 0.9, 1.1, 1.5):
        depth = good.depth.copy()
        depth[20:30, 10:20] *= factor
        found = confirmed(replace(good, depth=depth), row(), CONFIG)
        assert not found[21:29, 11:19].any(), factor
        assert found[8:18, 8:-8].mean() > 0.9


def test_small_errors_are_let_through() -> None:
    good = picture(0.02)
    found = confirmed(replace(good, depth=good.depth * 1.02), row(), CONFIG)
    assert found[8:-8, 8:-8].mean() > 0.9


def test_what_moves_is_masked() -> None:
    """The board stands elsewhere in each picture."""
    places = [o.T_map_cam[:2, 3] for o in row()]
    others = [picture(x, y, moved_m=0.25 * n) for n, (x, y) in enumerate(places, 1)]
    good = picture(0.02)
    found = confirmed(good, others, CONFIG)
    on_board = good.depth < 2.2
    assert on_board.sum() > 200
    assert found[on_board].mean() < 0.1


def test_a_covered_point_is_not_denied() -> None:
    """Four of six pictures have a board in between; the two others suffice."""
    seen = [picture(0.3, board_m=NONE_M), picture(-0.3, board_m=NONE_M)]
    covering = [picture(x, board_m=1.2) for x in (0.2, 0.25, -0.2, -0.25)]
    bare = picture(0.02, board_m=NONE_M)
    found = confirmed(bare, seen + covering, CONFIG)
    assert found[18:30, 24:40].all()
    assert not confirmed(bare, covering, CONFIG)[20:28, 28:36].any()


def test_a_picture_that_looks_through_denies() -> None:
    """Two agree, three see the wall behind the board."""
    agreeing = [picture(0.3), picture(-0.3)]
    board = picture(0.02)
    on_board = board.depth < 2.2
    assert confirmed(board, agreeing, CONFIG)[on_board].mean() > 0.8
    denying = [picture(x, board_m=NONE_M) for x in (0.2, 0.25, -0.25)]
    assert not confirmed(board, agreeing + denying, CONFIG)[on_board].any()


def test_far_away_more_is_allowed() -> None:
    far = CheckConfig(baseline=(0.005, 0.5))
    others = [picture(x, wall_m=20, board_m=NONE_M) for x in (-0.6, -0.4, 0.4, 0.6)]
    told = picture(0.02, wall_m=20, board_m=NONE_M)
    off = replace(told, depth=told.depth * 1.07)
    assert confirmed(off, others, far)[10:-10, 10:-10].all()
    near = [picture(x, board_m=NONE_M) for x in (-0.6, -0.4, 0.4, 0.6)]
    told = picture(0.02, board_m=NONE_M)
    assert not confirmed(replace(told, depth=told.depth * 1.07), near, far).any()


def test_unknown_depth_is_never_confirmed() -> None:
    depth = picture(0.02).depth.copy()
    depth[:, :32] = np.nan
    found = confirmed(replace(picture(0.02), depth=depth), row(), CONFIG)
    assert not found[:, :32].any()
    assert found[:, 32:].any()
    nothing = replace(picture(0), depth=np.full((48, 64), np.nan))
    assert not confirmed(nothing, row(), CONFIG).any()


def test_partners_stand_beside_and_look_the_same_way() -> None:
    turned = replace(picture(0.3), T_map_cam=se3.exp([0.3, 0, 0, 0, 0.8, 0]))
    here, near, far = picture(0), picture(0.01), picture(3.0)
    good = [picture(0.3), picture(-0.3)]
    found = partners_of(here, [here, near, far, turned, *good], CONFIG)
    assert {id(p) for p in found} == {id(p) for p in good}


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(VlocError, match='must agree'):
        CheckConfig(agreeing=7)
    with pytest.raises(VlocError, match='within 0 '):
        CheckConfig(near=0)
