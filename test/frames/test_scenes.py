"""A small place is really rendered; who shares what with whom against slow twins."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.frames import scenes
from vloc_models.frames.augment import to_grey
from vloc_models.frames.scenes import LOOKS, Scene, SceneConfig, drives, read_scene
from vloc_models.frames.synthetic import SyntheticSource, WorldSpec
from vloc_models.frames.synthetic.looks import LOOK_NAMES
from vloc_models.records import Array

SMALL = SceneConfig(drive_s=2, rate_hz=1)


@pytest.fixture(scope='module', autouse=True)
def one_room() -> Iterator[None]:
    """Soon drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, 'WorldSpec', partial(WorldSpec, rooms=1))
        yield


@pytest.fixture(scope='module')
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[SyntheticSource]:
    return drives(0, SMALL, tmp_path_factory.mktemp('scenes'))


@pytest.fixture(scope='module')
def scene(sources: list[SyntheticSource]) -> Scene:
    return read_scene(sources)


def test_all_views_of_both_drives(sources: list[SyntheticSource], scene: Scene) -> None:
    told: list[int] = []
    again = read_scene(sources, told.append)
    assert told == [1, 2, 3, 4]
    np.testing.assert_array_equal(again.shared, scene.shared)
    frames = [frame for source in sources for frame in source.frames()]
    assert [len(source) for source in sources] == [2, 2]
    assert scene.grey.shape == scene.depth.shape == (4, 360, 480)
    assert (scene.grey.dtype, scene.depth.dtype) == (np.uint8, np.float16)
    for n, frame in enumerate(frames):
        (view,) = frame.views
        assert view.depth is not None
        assert frame.T_map_base is not None
        np.testing.assert_array_equal(scene.grey[n], to_grey(view.image))
        np.testing.assert_allclose(scene.depth[n], view.depth, rtol=1e-3)
        np.testing.assert_array_equal(scene.T_map_cam[n], frame.T_map_base @ view.T_base_cam)
        assert scene.cameras[n] == view.camera
    first, second = scene.cameras[0], scene.cameras[2]
    assert first.fx != second.fx  # each drive has a lens of its own
    assert first == scene.cameras[1]
    assert scene.grey.std((1, 2)).min() > 8


def slow_shared(scene: Scene, a: int, b: int) -> float:
    """The share of 8x6 points of view a that lie where view b's depth says, point by point."""
    one, other, found = scene.cameras[a], scene.cameras[b], 0
    height, width = scene.grey.shape[1:]
    T_b_a = np.linalg.inv(scene.T_map_cam[b]) @ scene.T_map_cam[a]
    for i in range(1, 9):
        for j in range(1, 7):
            u, v = round(i * (width - 1) / 9), round(j * (height - 1) / 7)
            z = float(scene.depth[a, v, u])
            ray = np.array([(u - one.cx) / one.fx, (v - one.cy) / one.fy, 1.0])
            x, y, depth = T_b_a[:3, :3] @ (z * ray) + T_b_a[:3, 3]
            if not depth > 0.1:  # nor if it is NaN
                continue
            column = round(x / depth * other.fx + other.cx)
            row = round(y / depth * other.fy + other.cy)
            if 0 <= column < width and 0 <= row < height:
                found += abs(float(scene.depth[b, row, column]) - depth) < 0.05 * depth
    return found / 48


def check_shared(scene: Scene) -> None:
    count = len(scene.grey)
    assert scene.shared.shape == (count, count)
    assert scene.shared.dtype == np.float32
    for a in range(count):
        for b in range(count):
            expected = 1 if a == b else slow_shared(scene, a, b)
            assert scene.shared[a, b] == pytest.approx(expected, abs=1e-6)


def test_shares_of_a_room_as_the_slow_twin(scene: Scene) -> None:
    check_shared(scene)
    shares = np.unique(scene.shared)
    assert shares[0] == 0  # views that look away from each other
    assert len(shares) > 4


@pytest.fixture
def wall(gallery: Any) -> Any:
    """Views of a wall, some of them of the same part."""
    return type(gallery)(8)


def test_shares_of_a_wall_are_those_of_its_pictures(wall: Any) -> None:
    """A point of a wall is seen if it is within the picture, as nothing stands before it."""
    scene = read_scene([wall])
    check_shared(scene)
    u, v = np.meshgrid(np.linspace(0, 319, 10)[1:-1], np.linspace(0, 239, 8)[1:-1])
    ones = np.ones(48)
    for a, T_a in enumerate(scene.T_map_cam):
        rays = np.stack([(u.ravel() - 159.5) / 250, (v.ravel() - 119.5) / 250, ones]).T
        rays = rays @ T_a[:3, :3].T
        points = T_a[:3, 3] + rays * ((3 - T_a[1, 3]) / rays[:, 1])[:, None]  # at y = 3 m
        for b, T_b in enumerate(scene.T_map_cam):
            x, y, z = in_cam(points, T_b)
            inside = (abs(x / z * 250) < 160) & (abs(y / z * 250) < 120)
            assert scene.shared[a, b] == pytest.approx(inside.mean(), abs=1.1 / 48)
    assert 0 < np.median(scene.shared) < 1


def in_cam(points: Array, T_map_cam: Array) -> NDArray[np.float64]:
    return ((points - T_map_cam[:3, 3]) @ T_map_cam[:3, :3]).T


def test_what_has_no_depth_is_shared_with_nobody_but_itself(wall: Any) -> None:
    for view in wall.drawn[2].views:
        view.depth[:] = np.nan
    shared = read_scene([wall]).shared
    others = np.arange(8) != 2
    assert not shared[2, others].any()
    assert not shared[others, 2].any()
    assert (np.diag(shared) == 1).all()
    assert (shared[others][:, others] > 0).mean() > 0.5


def test_the_same_seed_gives_the_same(
    sources: list[SyntheticSource], scene: Scene, tmp_path: Path
) -> None:
    again = drives(0, SMALL, tmp_path)
    for one, same in zip(sources, again, strict=True):
        assert one.spec == same.spec
        assert one.folder.name == same.folder.name  # the key of all that is drawn
    np.testing.assert_array_equal(to_grey(again[1].frame(1).views[0].image), scene.grey[3])


def planned(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The drives of a place that is not built."""

    def plan(spec: Any, cache: Path | None, mounts: Any) -> Any:
        return SimpleNamespace(spec=spec, mount=mounts[0])

    with monkeypatch.context() as patch:
        patch.setattr(scenes, 'SyntheticSource', plan)
        patch.setattr(scenes, 'WorldSpec', WorldSpec)
        return drives(seed, SceneConfig(drive_s=7, rate_hz=3))


def test_places_are_for_training_in_two_lights_and_never_in_winter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {*LOOKS} == {*LOOK_NAMES} - {'winter'}
    lights, mounts = set(), []
    for seed in range(60):
        first, second = planned(seed, monkeypatch)
        assert first.spec.world == second.spec.world
        assert (first.spec.world.seed, first.spec.world.split) == (seed, 'train')
        assert (first.spec.world.texture == 'low') == (seed % 3 == 2)
        assert first.spec.world.lookalikes == (seed % 4 == 1)
        assert [s.spec.drive.kind for s in (first, second)] == ['mapping', 'query']
        for source in (first, second):
            assert source.spec.drive.duration_s == 7
            assert source.spec.drive.rate_hz == 3
            mounts.append(source.mount)
        lights.add((first.spec.look, second.spec.look))
    assert lights == {(a, b) for a in LOOKS for b in LOOKS if a != b}
    heights = [m.T_base_cam[2, 3] for m in mounts]
    assert 0.4 <= min(heights) < 0.6
    assert 1.4 < max(heights) <= 1.6
    up_deg = [np.degrees(np.arcsin(m.T_base_cam[2, 2])) for m in mounts]  # of the optical axis
    assert -15 <= min(up_deg) < -10
    assert 10 < max(up_deg) <= 15
    focal = [m.camera.fx / 480 for m in mounts]
    assert 0.6 <= min(focal) < 0.7
    assert 0.95 < max(focal) <= 1.05
