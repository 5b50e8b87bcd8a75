"""A rig is as good as its living cameras, and most of them outvote one that was knocked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.localize.overlay import draw_map_points
from vloc_models.records import Array, Verdict, View

AHEAD = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.1, 0, 0.5])
MOUNTS = tuple(
    se3.exp([0, y, 0, 0, 0, turn]) @ AHEAD for y, turn in ((0, 0), (0.1, 0.15), (-0.1, -0.15))
)
K = 5  # the moment


def noise(view: View) -> Any:
    return np.random.default_rng(0).integers(0, 256, view.image.shape)


def wall(view: View) -> Any:
    grain = np.random.default_rng(0).normal(0, 3, view.image.shape)
    return 120 + 40 * np.linspace(0, 1, view.image.shape[1])[:, None] + grain


def covered(view: View) -> Any:
    return 0.3 * np.asarray(cv2.GaussianBlur(view.image, (0, 0), 60))


DEAD: dict[str, Callable[[View], Any]] = {
    'black': lambda view: 0,
    'grey': lambda view: 128,
    'dark': lambda view: np.random.default_rng(0).normal(4, 3, view.image.shape),
    'noise': noise,
    'wall': wall,
    'covered': covered,
}


def dead(view: View, how: str) -> View:
    image = np.zeros_like(view.image)
    image[:] = np.clip(DEAD[how](view), 0, 255).astype(np.uint8)
    return replace(view, image=image)


@pytest.fixture(scope='module')
def localizer(tiny_site: Path) -> Localizer:
    return Localizer.load(tiny_site, LocalizerConfig('landmarks', threads=1))


@pytest.fixture(scope='module')
def rig(gallery: Any) -> Any:
    return type(gallery)(11, MOUNTS)


@pytest.fixture(scope='module')
def views(rig: Any) -> tuple[View, ...]:
    return rig.drawn[K].views


def apart_m(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3]))


@pytest.mark.parametrize('how', list(DEAD))
@pytest.mark.parametrize('which', [0, 2])
def test_a_dead_camera_changes_nothing(
    localizer: Localizer, views: tuple[View, ...], how: str, which: int
) -> None:
    living = [view for i, view in enumerate(views) if i != which]
    given = [dead(view, how) if i == which else view for i, view in enumerate(views)]
    told, alone = localizer.explain(given), localizer.explain(living)
    assert told.accepted
    assert told.fix.reason == alone.fix.reason
    assert told.estimate is not None
    assert alone.estimate is not None
    np.testing.assert_allclose(told.estimate.T_map_base, alone.estimate.T_map_base, atol=1e-9)
    np.testing.assert_allclose(told.estimate.covariance, alone.estimate.covariance)
    assert told.estimate.by_camera[which] is None
    assert len(told.observations) == 3


def test_all_but_one_are_dead(localizer: Localizer, rig: Any, views: tuple[View, ...]) -> None:
    given = [dead(views[0], 'black'), dead(views[1], 'noise'), views[2]]
    fix = localizer.locate(given)
    assert fix.verdict is Verdict.ACCEPTED
    assert fix.estimate is not None
    assert apart_m(fix.estimate.T_map_base, rig.drawn[K].T_map_base) < 0.05
    assert fix.reason == localizer.locate(views[2:]).reason


def test_where_all_are_dead_nothing_is_accepted(
    localizer: Localizer, views: tuple[View, ...]
) -> None:
    for how in ('black', 'noise'):
        given = [dead(view, how) for view in views]
        assert localizer.locate(given).verdict in (Verdict.NONE, Verdict.WEAK)


@pytest.mark.parametrize('which', [0, 1])
@pytest.mark.parametrize('turn', [0.3, -0.6])
def test_a_knocked_camera_is_outvoted_and_told(
    localizer: Localizer, rig: Any, views: tuple[View, ...], which: int, turn: float
) -> None:
    moved = views[which].T_base_cam @ se3.exp([0, 0, 0, 0, turn, 0])
    given = [replace(v, T_base_cam=moved) if i == which else v for i, v in enumerate(views)]
    fix = localizer.locate(given)
    assert fix.verdict is Verdict.ACCEPTED
    assert fix.estimate is not None
    assert apart_m(fix.estimate.T_map_base, rig.drawn[K].T_map_base) < 0.05
    ratio = fix.estimate.by_camera[which]
    if ratio is not None:
        assert fix.reason.endswith('; 1 of 3 cameras disagrees')


def test_of_two_that_disagree_none_is_believed_unless_it_sees_much_more(
    localizer: Localizer, rig: Any, views: tuple[View, ...]
) -> None:
    moved = views[1].T_base_cam @ se3.exp([0, 0, 0, 0, 0.3, 0])
    fix = localizer.locate([views[0], replace(views[1], T_base_cam=moved)])
    if fix.verdict is Verdict.ACCEPTED:
        assert fix.estimate is not None
        assert apart_m(fix.estimate.T_map_base, rig.drawn[K].T_map_base) < 0.05


def test_a_dead_first_camera_is_drawn_without_points(
    localizer: Localizer, views: tuple[View, ...]
) -> None:
    black = dead(views[0], 'black')
    picture = draw_map_points(black, localizer.explain([black, *views[1:]]))
    assert not picture.any()


def test_a_head_alone_has_dead_cameras_too(tiny_site: Path, views: tuple[View, ...]) -> None:
    head = Localizer.load(tiny_site, LocalizerConfig('head', threads=1))
    black = dead(views[0], 'black')
    told, alone = head.explain([black, *views[1:]]), head.explain(views[1:])
    assert told.fix.reason == alone.fix.reason
    with pytest.raises(VlocError, match='no view'):
        head.locate([])
