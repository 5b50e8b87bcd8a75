"""Networks learn regions and points of a room, the same ones each time, and points stay put."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vloc_models import config
from vloc_models.errors import VlocError
from vloc_models.frames.augment import Affine, affine, apply_homography
from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.networks.hscnet import Hscnet, HscnetConfig, Widths
from vloc_models.networks.hscnet_lite import HscnetLite, HscnetLiteConfig
from vloc_models.training import hscnet as module
from vloc_models.training.ace import Buffer
from vloc_models.training.hscnet import HscnetTraining, Labelled, train_full, train_lite
from vloc_models.training.loop import LoopConfig

Array = NDArray[np.float64]
Network = HscnetLite | Hscnet
LITE = HscnetLiteConfig(
    width=32, classifier=(16,), regressor=(32,), generator=(8, 8), image_code=4
)
WIDTHS = Widths(8, 8, (8,), (8,), (8,), (8,), (4, 4, 8, 8, 8, 8, 8, 16))
CAMERA = Camera(96, 72, 80.0, 82.0, 45.0, 37.0, 'plumb_bob', (-0.1, 0.02, 1e-3, -5e-4, 0.0))


pytestmark = pytest.mark.usefixtures('one_thread')


class Grid:
    """A tree of the unit square: quarters along x, halves of each along y. Metres; far off."""

    branching = (4, 2)
    far = np.array([100.0, -50, 3])

    @property
    def leaves(self) -> Array:
        x, y = np.repeat(np.arange(4), 2) / 4 + 1 / 8, np.tile([0.25, 0.75], 4)
        return np.stack([x, y, 0 * x], 1) + self.far

    def labels(self, points: Array) -> NDArray[np.int64]:
        known = np.asarray(np.isfinite(points).all(1))
        x, y, _ = np.where(known[:, None], points - self.far, 0).T
        path = np.stack([(4 * x).clip(0, 3), (2 * y).clip(0, 1)], 1).astype(int)
        return np.where(known[:, None], path, -1)


def buffer(count: int = 1500) -> Buffer:
    """Features that are waves across the square; a tenth of the points is not known."""
    rng = np.random.default_rng(0)
    points = np.c_[rng.random((count, 2)), np.zeros(count)]
    waves = points @ rng.normal(0, 4, (3, 24)) + rng.uniform(0, 6, 24)
    points = (points + Grid.far).astype(np.float32)
    points[::10] = np.nan
    picture = rng.integers(0, 3, count).astype(np.int32)
    pixels = np.full((count, 2), np.nan, np.float32)  # poses and rays do not matter
    return Buffer(np.sin(waves).astype(np.float16), pixels, points, picture)


def keyframe(number: int = 0, depth: bool = True, image: bool = True) -> Keyframe:
    """A picture of noise that looks down on hills around the square, from 2 m."""
    rng = np.random.default_rng(number)
    rgb = rng.integers(0, 256, (72, 96, 3), np.uint8)
    down = se3.transform([[1, 0, 0], [0, -1, 0], [0, 0, -1]], [0.5, 0.5, 2])
    T_map_cam = se3.transform(np.eye(3), Grid.far) @ down @ se3.exp([0, 0, 0, 0.1, 0.2, number])
    v, u = np.mgrid[:72, :96]
    z = (2 + 0.3 * np.sin(u / 20) * np.cos(v / 15)).astype(np.float16)
    grey = np.zeros((72, 96), np.uint8)
    return Keyframe(number, grey, CAMERA, T_map_cam, z if depth else None, rgb if image else None)


def known(**changes: Any) -> Labelled:
    return replace(Labelled(Grid(), buffer(), [keyframe(k) for k in range(3)]), **changes)


def recipe(steps: int = 12, **changes: Any) -> HscnetTraining:
    how = HscnetTraining(
        branching=(4, 2),
        batch=256,
        lite=LITE,
        full=HscnetConfig(regressor=(16,), widths=WIDTHS),
        loop=LoopConfig(steps, max_lr=5e-3, checkpoint_s=0),
    )
    return replace(how, **changes)


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


KINDS: list[tuple[Callable[..., Network], str]] = [
    (train_lite, 'lite'),
    (train_lite, 'sparse'),
    (train_full, 'full'),
]
each_kind = pytest.mark.parametrize(('train', 'preset'), KINDS, ids=[k for _, k in KINDS])


@torch.no_grad()
def answers(network: HscnetLite, cells: Buffer) -> tuple[Array, Array]:
    """Points [N, 3] and the centres of the leaves they were told from."""
    x = torch.from_numpy(cells.features).float().T[None, :, None]
    image = None
    if network.config.images:
        image = torch.from_numpy(cells.picture).long()[None, None]
    output = network(x, image=image)
    assert output.residual is not None
    points = network.points(output)
    centres = points - output.residual
    return points[0, :, 0].T.double().numpy(), centres[0, :, 0].T.double().numpy()


@pytest.mark.parametrize('preset', ['lite', 'sparse'])
def test_points_are_learned_and_not_just_regions(preset: Any) -> None:
    cells, losses = buffer(), list[float]()
    network = train_lite(
        known(), recipe(120, preset=preset), report=lambda step, loss: losses.append(loss)
    )
    assert len(losses) == 120
    assert not network.training
    assert network.config.branching == Grid.branching
    assert network.config.in_channels == 24
    assert network.config.images == (3 if preset == 'sparse' else 0)
    np.testing.assert_allclose(network.centre, Grid().leaves, atol=1e-5)
    measured = np.isfinite(cells.points).all(1)
    truth = cells.points[measured]
    points, centres = (x[measured] for x in answers(network, cells))
    off, coarse = (np.linalg.norm(x - truth, axis=1) for x in (points, centres))
    nearest = np.linalg.norm(Grid().leaves[:, None] - truth, axis=2).min(0)
    assert np.median(off) < 0.06 < np.median(nearest) < 0.3
    assert (coarse < nearest + 1e-3).mean() > 0.85  # most regions are right


def test_without_a_regressor_regions_are_learned() -> None:
    network = train_lite(known(), recipe(3, lite=replace(LITE, regressor=())))
    assert network.regressor is None


def test_unknown_points_teach_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cells, seen = buffer(), list[Tensor]()

    def one_step(model: nn.Module, loss_of: Any, *args: Any) -> None:
        model.register_forward_hook(lambda _, given, output: seen.append(given[0]))
        loss_of(0)

    monkeypatch.setattr(module, 'optimise', one_step)
    train_lite(known(), recipe(batch=10_000))
    rows = np.isfinite(cells.points).all(1)
    assert seen[0].shape == (1, 24, 1, rows.sum())


def test_the_sparse_network_is_told_each_cells_own_picture() -> None:
    """Features that say nothing, and pictures that tell where it is."""
    cells = buffer(900)
    tree, rng = Grid(), np.random.default_rng(0)
    points = tree.leaves[2 * cells.picture].astype(np.float32)
    blind = replace(cells, points=points, features=rng.normal(size=(900, 24)).astype(np.float16))
    network = train_lite(known(cells=blind), recipe(60, preset='sparse'))
    found, _ = answers(network, blind)
    assert np.linalg.norm(found - points, axis=1).max() < 0.1


@each_kind
def test_the_same_seed_gives_the_same_network(train: Any, preset: Any) -> None:
    how = recipe(4, preset=preset)
    nets = (train(known(), replace(how, seed=seed)) for seed in (0, 0, 1))
    one, same, other = (weights(net) for net in nets)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@each_kind
@pytest.mark.parametrize('last', [1, 8])
def test_interrupted_and_resumed_is_as_never_interrupted(
    tmp_path: Path, train: Any, preset: Any, last: int
) -> None:
    """Over more than one epoch: 5 batches of cells, 3 pictures; in both schedules."""
    how = recipe(10, preset=preset)
    how = replace(how, loop=replace(how.loop, schedule='halving' if last == 8 else 'one_cycle'))
    file = tmp_path / 'training.pt'

    def report(step: int, loss: float) -> None:
        if step == last + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(known(), how, checkpoint=file, report=report)
    assert torch.load(file, weights_only=True)['step'] == last
    resumed = train(known(), how, checkpoint=file)
    assert torch.equal(weights(resumed), weights(train(known(), how)))


@each_kind
def test_a_start_is_continued_and_left_as_it_was(train: Any, preset: Any) -> None:
    how = recipe(4, preset=preset)
    start = train(known(), how)
    before = weights(start)
    still = replace(how, seed=1, loop=replace(how.loop, steps=1, max_lr=1e-9))
    after = weights(train(known(), still, start))
    assert torch.equal(weights(start), before)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    assert not torch.allclose(weights(train(known(), still)), before, atol=1e-3)


@pytest.mark.parametrize('preset', ['lite', 'sparse'])
def test_no_known_point_is_named(preset: Any) -> None:
    cells = buffer(20)
    cells.points[:] = np.nan
    with pytest.raises(VlocError, match=r'no cell has a known point.*depth'):
        train_lite(known(cells=cells), recipe(preset=preset))


@pytest.mark.parametrize('missing', [{'depth': False}, {'image': False}])
def test_no_picture_with_depth_is_named(missing: dict[str, bool]) -> None:
    frames = [keyframe(k, **missing) for k in range(3)]
    with pytest.raises(VlocError, match=r'no picture has depth.*depth'):
        train_full(known(keyframes=frames), recipe(preset='full'))


def test_numbers_that_are_none_are_named() -> None:
    wild = LoopConfig(20, max_lr=1e30)
    with pytest.raises(VlocError, match=r'the loss is (nan|inf)'):
        train_lite(known(), recipe(loop=wild))


def test_the_published_network_takes_real_steps() -> None:
    """On one picture, not moved: it comes to know its regions."""
    still = Affine(0, 0, (1, 1), 0, 0)
    losses = list[float]()
    how = recipe(80, preset='full', augment=still)
    network = train_full(
        known(keyframes=[keyframe()]), how, report=lambda step, loss: losses.append(loss)
    )
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    assert network.config.classes == (4, 2)
    assert not network.training
    with torch.no_grad():
        x = torch.from_numpy(keyframe().image).permute(2, 0, 1)[None].float() / 127.5 - 1
        points = network.points(network(x))
    assert points.shape == (1, 3, 9, 12)
    wanted, found = centres_of(keyframe()), points[0].flatten(1).T.double().numpy()
    off = np.linalg.norm(found - wanted, axis=1)
    spread = np.linalg.norm(wanted - np.nanmean(wanted, 0), axis=1)
    assert np.nanmedian(off) < 0.7 * np.nanmedian(spread)


def centres_of(frame: Keyframe) -> Array:
    """The map points of the cells of a picture that was not moved."""
    v, u = np.mgrid[:9, :12] * 8 + 3.5
    return frame.points(np.stack([u.ravel(), v.ravel()], 1))


def test_held_out_pictures_are_not_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are there without image and depth (mapping/heads.py)."""
    used = set[int]()
    sample = module._sample

    def told(frame: Keyframe, *args: Any) -> Any:
        used.add(frame.stamp_ns)
        return sample(frame, *args)

    monkeypatch.setattr(module, '_sample', told)
    frames = [keyframe(0), keyframe(1, depth=False, image=False), keyframe(2)]
    train_full(known(keyframes=frames), recipe(6, preset='full'))
    assert used == {0, 2}


def test_without_classes_the_published_network_regresses_at_once() -> None:
    """SCRNet: one centre, the middle of the place."""
    how = recipe(2, preset='full')
    how = replace(how, full=replace(how.full, classified=False))
    network = train_full(known(), how)
    np.testing.assert_allclose(
        network.centre, known().tree.leaves.mean(0, keepdims=True), rtol=1e-6
    )


def test_several_scenes_in_the_published_network() -> None:
    """The tree has the regions of all, the config those of one."""

    class Two(Grid):
        branching = (4, 2)

    how = recipe(1, preset='full', branching=(2, 2), scenes=2)
    network = train_full(known(tree=Two()), how)
    assert network.config.classes == (4, 2)
    assert network.centre.shape == (8, 3)


@pytest.mark.parametrize('seed', range(6))
def test_points_stay_attached_to_their_pixels(seed: int) -> None:
    """However a picture is moved: seen from where it was taken, they lie where it was."""
    frame, augment = keyframe(), Affine()
    image, points = module._sample(frame, augment, np.random.default_rng(seed))
    assert image.shape == (72, 96, 3)
    assert points.shape == (9, 12, 3)
    H = affine(96, 72, augment, np.random.default_rng(seed))
    v, u = np.mgrid[:9, :12] * 8 + 3.5
    there = apply_homography(H, np.stack([u.ravel(), v.ravel()], 1))
    known_ = np.isfinite(points).all(2).ravel()
    inside = ((there > -0.5) & (there < [95.5, 71.5])).all(1)
    np.testing.assert_array_equal(known_, inside)
    assert known_.sum() > 20
    assert frame.depth is not None
    in_cam = se3.apply(frame.T_cam_map, points.reshape(-1, 3)[known_])
    np.testing.assert_allclose(CAMERA.project(in_cam), there[known_], atol=1e-3)
    column, row = there[known_].round().astype(int).T
    np.testing.assert_allclose(in_cam[:, 2], frame.depth[row, column], rtol=1e-6)


def test_what_is_shown_at_a_cell_is_its_point() -> None:
    """The picture tells its own pixels: red to the right, green downwards."""
    frame, augment = keyframe(), replace(Affine(), brightness=0)
    v, u = np.mgrid[:72, :96]
    ramps = np.stack([2 * u, 3 * v, np.full_like(u, 77)], 2).astype(np.uint8)
    for seed in range(4):
        image, points = module._sample(
            replace(frame, image=ramps), augment, np.random.default_rng(seed)
        )
        red, green, blue = (
            image.astype(float)
            .reshape(9, 8, 12, 8, 3)[:, 3:5, :, 3:5]
            .mean((1, 3))
            .transpose(2, 0, 1)
        )
        whole = np.isfinite(points).all(2) & (np.abs(blue - 77) < 0.5)  # no edge, no noise
        assert whole.sum() > 15
        pixels = CAMERA.project(se3.apply(frame.T_cam_map, points[whole]))
        shown = np.stack([red[whole] / 2, green[whole] / 3], 1)
        assert np.abs(shown - pixels).max() < 0.6


def test_a_step_has_the_same_picture_whenever_it_is_asked_for() -> None:
    one, same, other = (
        module._sample(keyframe(), Affine(), np.random.default_rng([10, 0, step]))
        for step in (3, 3, 4)
    )
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize('branching', [(25,), (5, 5, 5)])
def test_the_published_network_has_two_levels(branching: tuple[int, ...]) -> None:
    with pytest.raises(VlocError, match=rf'two levels, not {len(branching)}'):
        HscnetTraining(preset='full', branching=branching)
    assert HscnetTraining(preset='lite', branching=branching).branching == branching


@pytest.mark.parametrize('none', [{'batch': 0}, {'scenes': 0}])
def test_settings_that_make_no_training_are_refused(none: dict[str, Any]) -> None:
    with pytest.raises(VlocError, match='give more'):
        HscnetTraining(**none)


@pytest.mark.parametrize('preset', ['lite', 'sparse'])
def test_steps_follow_from_the_number_of_pictures(preset: Any) -> None:
    training = HscnetTraining(preset=preset, steps_per_picture=40)
    steps = [training.for_pictures(count).loop.steps for count in (1, 100, 200, 1000)]
    assert steps == [3000, 4000, 8000, 12_000]
    assert training.for_pictures(100).loop == replace(training.loop, steps=4000)
    assert recipe(7).for_pictures(100) == recipe(7)


def test_the_published_schedule() -> None:
    loop = HscnetTraining(preset='full').for_pictures(1000).loop
    assert (loop.steps, loop.max_lr, loop.weight_decay) == (300_000, 1e-4, 0)
    assert loop.schedule == 'halving'


def test_settings_are_read_as_they_were_written() -> None:
    data = config.parse(config.to_yaml(recipe(preset='full')).encode(), 'here')
    assert config.fill(HscnetTraining, data, 'here') == recipe(preset='full')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@each_kind
def test_on_a_gpu(train: Any, preset: Any) -> None:
    network = train(known(), recipe(5, preset=preset), device='cuda')
    assert network.centre.device.type == 'cpu'
    assert torch.isfinite(weights(network)).all()
