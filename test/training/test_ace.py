"""The buffer says where its cells are, and a head learns from it, the same one every time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_models.errors import VlocError
from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.networks.ace import Head, HeadConfig, LossConfig, reprojection_loss
from vloc_models.records import Array
from vloc_models.solvers.spots import Spots
from vloc_models.training import ace
from vloc_models.training.ace import (
    AceTraining,
    Buffer,
    BufferConfig,
    Pictures,
    fill_buffer,
    pictures_of,
    train_head,
)
from vloc_models.training.loop import LoopConfig, Shuffle

Grey = NDArray[np.uint8]
PINHOLE = Camera(320, 240, 250.0, 260.0, 150.0, 125.0)
BENT = replace(PINHOLE, model='plumb_bob', distortion=(-0.3, 0.1, 2e-3, -1e-3, 0.0))
RAMP = 0.7  # grey levels a pixel
CONFIG = BufferConfig(cells=2000, cells_per_image=100, zoom=1.5, turn_deg=15)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Light stays as it is."""
    monkeypatch.setattr(ace, 'photometric', lambda image, config, rng: image)


def ramps(camera: Camera) -> list[Keyframe]:
    """Pictures that rise to the right, then ones that rise downwards; in half greys by dither."""
    rng, keyframes = np.random.default_rng(0), []
    for number in range(6):
        along = camera.pixel_grid()[..., number % 2]
        grey = np.floor(15 + RAMP * along + rng.random(along.shape)).astype(np.uint8)
        depth = rng.uniform(1, 5, grey.shape).astype(np.float16)
        depth[::3] = np.nan
        T_map_cam = se3.exp([number, -2, 0.5, 0.2 * number, 0.1, -0.3])
        keyframes.append(Keyframe(number, grey, camera, T_map_cam, depth))
    return keyframes


def place_of_cells(picture: Grey) -> Spots:
    """The pixel a cell's centre came from, right or down: whole pixels, and the rest of one."""
    height, width = picture.shape
    rows, columns = np.mgrid[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]
    A = np.stack([np.ones(rows.size), columns.ravel(), rows.ravel()], 1)
    plane = np.linalg.lstsq(A, picture[rows, columns].ravel().astype(float), rcond=None)[0]
    row, column = np.mgrid[: -(-height // 8), : -(-width // 8)]
    pixels = np.stack([column, row], -1) * 8 + 3.5
    place = (plane[0] + pixels @ plane[1:] - 15) / RAMP
    grid = np.stack([np.floor(place), place - np.floor(place)], -1).astype(np.float32)
    cells = np.stack([row.ravel(), column.ravel()], 1)
    return Spots(grid, cells, np.full(len(cells), 0.6, np.float32))


def changed(picture: Grey, change: Callable[[NDArray[np.float32]], NDArray[Any]]) -> Spots:
    spots = place_of_cells(picture)
    return replace(spots, grid=change(spots.grid).astype(np.float32))


def pixels_of(buffer: Buffer, camera: Camera) -> Array:
    rays = buffer.pixels / [camera.fx, camera.fy]
    return camera.project(np.concatenate([rays, np.ones((len(rays), 1))], 1))


@pytest.mark.usefixtures('steady')
@pytest.mark.parametrize('camera', [PINHOLE, BENT])
def test_a_cell_is_where_its_feature_saw_it(camera: Camera) -> None:
    buffer = fill_buffer(ramps(camera), place_of_cells, CONFIG, 0)
    place = buffer.features.astype(np.float64).sum(1)
    pixels = pixels_of(buffer, camera)
    assert (pixels > -0.01).all()
    assert (pixels < [319.01, 239.01]).all()
    error = place - np.where(buffer.picture % 2, pixels[:, 1], pixels[:, 0])
    assert np.abs(error).max() < 0.1
    assert np.ptp(pixels, axis=0).min() > 200  # from all over the picture


@pytest.mark.parametrize('camera', [PINHOLE, BENT])
def test_points_agree_with_depth(camera: Camera) -> None:
    """Also through a bent lens: ``pixels`` are rays, in which a pinhole projects exactly."""
    keyframes = ramps(camera)
    buffer = fill_buffer(keyframes, place_of_cells, CONFIG, 0)
    known = np.isfinite(buffer.points).all(1)
    assert 0.5 < known.mean() < 0.8
    pixels = pixels_of(buffer, camera)
    column, row = pixels.round().astype(int).T
    shared = pictures_of(keyframes)
    for number, k in enumerate(keyframes):
        mine = known & (buffer.picture == number)
        assert mine.sum() > 20
        in_cam = se3.apply(k.T_cam_map, buffer.points[mine].astype(np.float64))
        assert k.depth is not None
        np.testing.assert_allclose(in_cam[:, 2], k.depth[row[mine], column[mine]], rtol=1e-4)
        np.testing.assert_allclose(camera.project(in_cam), pixels[mine], atol=1e-2)
    which = buffer.picture[known]
    K = torch.zeros(len(which), 3, 3)
    K[:, 0, 0], K[:, 1, 1] = torch.from_numpy(shared.focal[which]).T
    K[:, 2, 2] = 1
    points, seen = (torch.from_numpy(x[known]) for x in (buffer.points, buffer.pixels))
    T_cam_map = torch.from_numpy(shared.T_cam_map[which])
    assert reprojection_loss(points, seen, T_cam_map, K, 1.0, LossConfig()) < 1e-3


def test_pictures_share_focal_pose_and_centre() -> None:
    keyframes = ramps(BENT)
    shared = pictures_of(keyframes)
    np.testing.assert_array_equal(shared.focal, [[250, 260]] * 6)
    np.testing.assert_allclose(shared.centre, [2.5, -2, 0.5], atol=0.8)
    centres = [k.T_map_cam[:3, 3] for k in keyframes]
    np.testing.assert_allclose(shared.centre, np.mean(centres, 0), rtol=1e-6)
    T_map_cam = np.stack([k.T_map_cam for k in keyframes])
    np.testing.assert_allclose(
        shared.T_cam_map @ T_map_cam, np.tile(np.eye(4), (6, 1, 1)), atol=1e-5
    )


def test_size_types_and_seed() -> None:
    keyframes, seen = ramps(PINHOLE), []
    buffer = fill_buffer(keyframes, place_of_cells, CONFIG, 0, lambda *x: seen.append(x))
    assert seen == [(k, 20) for k in range(1, 21)]
    assert buffer.features.shape == (2000, 2)
    assert buffer.features.dtype == np.float16
    assert buffer.pixels.dtype == buffer.points.dtype == np.float32
    assert buffer.picture.dtype == np.int32
    assert sorted(np.unique(buffer.picture, return_counts=True)[1]) == [300] * 4 + [400] * 2
    again = fill_buffer(keyframes, place_of_cells, CONFIG, 0)
    other = fill_buffer(keyframes, place_of_cells, CONFIG, 1)
    for name, column in vars(buffer).items():
        np.testing.assert_array_equal(vars(again)[name], column)
    assert (other.pixels != buffer.pixels).any()


def test_without_depth_points_are_unknown() -> None:
    keyframes = [replace(k, depth=None) for k in ramps(PINHOLE)]
    assert np.isnan(fill_buffer(keyframes, place_of_cells, CONFIG, 0).points).all()


def test_less_cells_than_one_picture_has() -> None:
    few = BufferConfig(10, 1000, zoom=1, turn_deg=0)
    buffer = fill_buffer(ramps(PINHOLE), place_of_cells, few, 0)
    assert len(np.unique(buffer.picture)) == 1
    assert len(buffer.picture) == 1000
    assert len(np.unique(buffer.pixels, axis=0)) == 1000  # no cell twice


def test_a_picture_of_few_cells_gives_what_it_has() -> None:
    """Of the last cells to the right and below, less than half is in the picture."""
    keyframes = ramps(replace(PINHOLE, width=315, height=235))
    config = BufferConfig(5000, 5000, zoom=1, turn_deg=0)
    buffer = fill_buffer(keyframes, place_of_cells, config, 0)
    assert len(place_of_cells(keyframes[0].grey).pixels) == 40 * 30
    pixels = place_of_cells(keyframes[0].grey).pixels
    inside = ((pixels >= 0) & (pixels <= [314, 234])).all(1)
    assert len(buffer.picture) == inside.sum() == 39 * 29


def test_sure_cells_are_drawn_more_often_and_others_too() -> None:
    """Cells in the left half are sure. Of 1200 cells 200 are drawn, and 100 of those kept."""

    def left(picture: Grey) -> Spots:
        spots = place_of_cells(picture)
        sure = spots.pixels[:, 0] < picture.shape[1] / 2
        return replace(spots, sure=sure.astype(np.float32))

    config = BufferConfig(6000, 100, zoom=1, turn_deg=0)
    buffer = fill_buffer(ramps(PINHOLE), left, config, 0)
    share = (pixels_of(buffer, PINHOLE)[:, 0] < 160).mean()
    # 1.05 to 0.05 at first; less as the left cells are used up
    assert 0.9 < share < 0.98


def test_features_that_are_no_numbers_are_named() -> None:
    with pytest.raises(VlocError, match='not finite'):
        fill_buffer(ramps(PINHOLE), lambda x: changed(x, lambda f: f * np.nan), CONFIG, 0)


def test_features_all_alike_are_named() -> None:
    with pytest.raises(VlocError, match='all look alike'):
        fill_buffer(ramps(PINHOLE), lambda x: changed(x, lambda f: 0 * f + 3), CONFIG, 0)


def test_one_picture_of_a_blank_wall_among_others_is_fine() -> None:
    """Whichever comes first."""
    keyframes = ramps(PINHOLE)
    for number in range(6):
        blank = replace(keyframes[number], grey=np.zeros((240, 320), np.uint8))

        def features(picture: Grey) -> Spots:
            return changed(picture, lambda f: np.full_like(f, picture.mean() > 20))

        some = [*keyframes[:number], blank, *keyframes[number + 1 :]]
        fill_buffer(some, features, BufferConfig(6000, 1000, zoom=1), 0)


@pytest.mark.parametrize(
    'wrong',
    [
        lambda: BufferConfig(cells=0),
        lambda: BufferConfig(cells_per_image=0),
        lambda: BufferConfig(zoom=0),
        lambda: AceTraining(batch=0),
    ],
)
def test_impossible_settings_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(VlocError, match='give more'):
        wrong()


def test_steps_follow_from_the_pictures_unless_they_are_given() -> None:
    training = AceTraining(steps_per_picture=40)
    steps = [training.for_pictures(count).loop.steps for count in (1, 100, 200, 1000)]
    assert steps == [3000, 4000, 8000, 12_000]
    assert training.for_pictures(100) == replace(training, loop=replace(training.loop, steps=4000))
    assert recipe(7).for_pictures(100) == recipe(7)


@pytest.mark.parametrize(('cells', 'batch'), [(100, 10), (103, 10), (10, 10), (7, 10)])
def test_every_cell_comes_once_an_epoch(cells: int, batch: int) -> None:
    shuffle = Shuffle(cells, batch, seed=3)
    steps = max(1, cells // batch)
    epochs = []
    for epoch in range(3):
        rows = torch.cat([shuffle.rows(epoch * steps + i) for i in range(steps)]).tolist()
        assert len(rows) == len(set(rows)) == min(cells, steps * batch)
        assert set(rows) <= set(range(cells))
        epochs.append(rows)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_step_has_the_same_cells_whenever_it_is_asked_for() -> None:
    one, other = Shuffle(100, 10, 3), Shuffle(100, 10, 3)
    in_order = [one.rows(step).tolist() for step in range(25)]
    assert [other.rows(step).tolist() for step in reversed(range(25))] == in_order[::-1]
    assert Shuffle(100, 10, 4).rows(0).tolist() != in_order[0]


def room(depth: bool, pictures: int = 24, each: int = 250) -> tuple[Buffer, Pictures, Array]:
    """A buffer of points in a room, whose features are their random projections."""
    rng = np.random.default_rng(0)
    keyframes, features, pixels, true = [], [], [], []
    project = rng.normal(size=(3, 24))
    offset = np.array([20.0, -10, 2])  # the place is not at the map's origin
    for number in range(pictures):
        turn = se3.exp([0, 0, 0, 0, rng.uniform(-1, 1), 0])
        T_map_cam = se3.transform(turn[:3, :3], offset + rng.uniform(-1, 1, 3))
        keyframes.append(Keyframe(number, np.zeros((240, 320), np.uint8), BENT, T_map_cam))
        seen = rng.uniform(0, [319, 239], (each, 2))
        rays = BENT.unproject(seen)
        points = se3.apply(T_map_cam, rays * rng.uniform(2, 4, (each, 1)))
        true.append(points)
        features.append((points - offset) / 3 @ project)
        pixels.append(rays[:, :2] * [BENT.fx, BENT.fy])
    points = np.concatenate(true)
    measured = points if depth else np.full_like(points, np.nan)
    buffer = Buffer(
        np.concatenate(features).astype(np.float16),
        np.concatenate(pixels).astype(np.float32),
        measured.astype(np.float32),
        np.repeat(np.arange(pictures, dtype=np.int32), each),
    )
    return buffer, pictures_of(keyframes), points


def recipe(steps: int, seed: int = 0) -> AceTraining:
    loop = LoopConfig(steps, max_lr=5e-3, checkpoint_s=0)
    return AceTraining(seed=seed, batch=512, head=HeadConfig(24, 48, 1), loop=loop)


def answers(head: Head, buffer: Buffer) -> NDArray[np.float32]:
    assert not head.training
    with torch.no_grad():
        return head(torch.from_numpy(buffer.features).float()).numpy()


def error_px(head: Head, buffer: Buffer, shared: Pictures) -> float:
    """The median over the cells."""
    T = shared.T_cam_map[buffer.picture]
    in_cam = np.einsum('nij,nj->ni', T[:, :3, :3], answers(head, buffer)) + T[:, :3, 3]
    assert (in_cam[:, 2] > 0).mean() > 0.9
    seen = in_cam[:, :2] / in_cam[:, 2:] * shared.focal[buffer.picture]
    return float(np.median(np.linalg.norm(seen - buffer.pixels, axis=1)))


@pytest.mark.parametrize('depth', [True, False])
def test_a_head_learns_a_room(depth: bool) -> None:
    buffer, shared, true = room(depth)
    losses: list[float] = []
    head = train_head(buffer, shared, recipe(300), report=lambda step, loss: losses.append(loss))
    assert len(losses) == 300
    assert error_px(head, buffer, shared) < 3
    away = np.median(np.linalg.norm(answers(head, buffer) - true, axis=1))
    assert away < (0.06 if depth else 0.3)


def weights(head: Head) -> Tensor:
    return torch.cat([p.detach().flatten() for p in head.parameters()])


def test_the_same_seed_gives_the_same_head() -> None:
    buffer, shared, _ = room(True)
    one, same, other = (weights(train_head(buffer, shared, recipe(5, s))) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize('last', [1, 6, 13])
def test_interrupted_and_resumed_is_as_never_interrupted(tmp_path: Path, last: int) -> None:
    """Over more than one epoch: there are 11 batches."""
    buffer, shared, _ = room(True)
    file = tmp_path / 'training.pt'

    def report(step: int, loss: float) -> None:
        if step == last + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_head(buffer, shared, recipe(14), checkpoint=file, report=report)
    assert torch.load(file, weights_only=True)['step'] == last
    resumed = train_head(buffer, shared, recipe(14), checkpoint=file)
    assert torch.equal(weights(resumed), weights(train_head(buffer, shared, recipe(14))))


def test_training_goes_on_from_a_head_and_leaves_that_as_it_was() -> None:
    buffer, shared, _ = room(True)
    head = train_head(buffer, shared, recipe(40))
    before, error = weights(head), error_px(head, buffer, shared)
    further = replace(recipe(80, seed=1), from_progress=0.5)
    longer = train_head(buffer, shared, further, start=head)
    assert torch.equal(weights(head), before)
    assert error_px(longer, buffer, shared) < error


def test_learned_depth_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured points pull up to some progress, and not at all in a training that starts later."""
    buffer, shared, _ = room(depth=True)
    pulled: list[float] = []

    def spy(points: Tensor, *rest: object) -> Tensor:
        pulled.append(float(str(rest[-2])))
        return points.sum() * 0

    monkeypatch.setattr(ace, 'measured_loss', spy)
    train_head(buffer, shared, recipe(10))
    assert len(pulled) == 10
    pulled.clear()
    train_head(buffer, shared, replace(recipe(10), depth_until=0.35))
    assert pulled == pytest.approx([0, 0.1, 0.2, 0.3])
    pulled.clear()
    train_head(buffer, shared, replace(recipe(10), depth_until=0.35, from_progress=0.8))
    assert pulled == []


def test_numbers_that_are_none_are_named() -> None:
    buffer, shared, _ = room(True)
    buffer.pixels[:] = np.nan
    with pytest.raises(VlocError, match='loss is nan'):
        train_head(buffer, shared, recipe(5))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_learns_the_same_room() -> None:
    buffer, shared, _ = room(True)
    head = train_head(buffer, shared, recipe(300), device='cuda')
    assert head.centre.device.type == 'cpu'
    assert error_px(head, buffer, shared) < 3
