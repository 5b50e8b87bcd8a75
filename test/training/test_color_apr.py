"""The pose prior learns where a robot drove past a wall."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vloc_models.errors import VlocError
from vloc_models.frames.augment import Colour
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.geometry import se3
from vloc_models.networks.color_apr import ColorApr, ColorAprConfig
from vloc_models.training.color_apr import ColorAprTraining, PriorData, _batch, train_prior
from vloc_models.training.loop import LoopConfig

pytestmark = pytest.mark.usefixtures('one_thread')
CONFIG = ColorAprTraining(
    network=ColorAprConfig(widths=(4, 4, 8, 8), fused=32, hidden=32, dropout=0.1),
    short_side_px=32,
    batch=4,
    loop=LoopConfig(3, 1e-3, checkpoint_s=0),
)


@pytest.fixture(scope='module')
def keyframes(gallery: Any) -> list[Keyframe]:
    return read_keyframes(gallery, 100, 120, colour=True)


@pytest.fixture(scope='module')
def data(keyframes: list[Keyframe]) -> PriorData:
    return PriorData.of(keyframes, 32)


def with_classes(data: PriorData) -> PriorData:
    return replace(data, labels=(data.images[..., 0] > 128).astype(np.uint8))


def equal(a: ColorApr, b: ColorApr) -> bool:
    states = a.state_dict(), b.state_dict()
    return all(torch.equal(x, states[1][name]) for name, x in states[0].items())


def test_pictures_become_those_of_one_small_camera(keyframes: list[Keyframe]) -> None:
    other = keyframes[5]
    wide = replace(other, camera=replace(other.camera, fx=other.camera.fx / 2))
    data = PriorData.of([*keyframes, wide], 32)
    assert data.images.shape == (45, 32, 32, 3)
    assert data.camera.height == data.images.shape[1]
    assert data.camera.width == data.images.shape[2]
    assert (data.images[5] != data.images[44]).mean() > 0.5
    np.testing.assert_array_equal(data.T_map_cam[5], other.T_map_cam)
    scale = data.scale()
    np.testing.assert_allclose(scale.centre, data.T_map_cam[:, :3, 3].mean(0))
    assert (scale.spread >= 0.1).all()


def test_a_turned_picture_has_the_turned_pose(data: PriorData) -> None:
    """What is straight ahead after the turn is where the pixel was before it."""
    config = replace(CONFIG, turn_deg=8.0, light=Colour(0, 0, 0, 0))
    marks = np.zeros_like(data.images)
    H, W = marks.shape[1:3]
    marks[:, H // 2 - 3 : H // 2 + 4, W // 2 - 3 : W // 2 + 4] = 255
    marked = replace(data, images=marks)
    rng = np.random.default_rng(0)
    batch = _batch(marked, [3, 9, 20], config, rng, 'cpu')
    seen = batch.images[:, 0].numpy()
    for picture, quat, row in zip(seen, batch.quat_xyzw.numpy(), [3, 9, 20], strict=True):
        v, u = np.mgrid[:H, :W]
        at = np.array([(u * picture).sum(), (v * picture).sum()]) / picture.sum()
        ray = data.T_map_cam[row][:3, :3] @ data.camera.unproject([W // 2, H // 2])
        turned = se3.from_quat_xyzw(np.zeros(3), quat)
        there = data.camera.project(turned[:3, :3].T @ ray)
        np.testing.assert_allclose(at, there, atol=0.3)
    np.testing.assert_allclose(batch.position[1], data.T_map_cam[9, :3, 3], rtol=1e-6)


def test_classes_turn_with_the_picture(data: PriorData) -> None:
    some = with_classes(data)
    config = replace(CONFIG, light=Colour(0, 0, 0, 0))
    batch = _batch(some, [0, 7], config, np.random.default_rng(1), 'cpu')
    assert batch.labels is not None
    assert set(batch.labels.unique().tolist()) == {0, 1}
    assert ((batch.images[:, 0] * 255 > 128) == batch.labels).float().mean() > 0.8


@pytest.mark.parametrize('aux', ['colour', 'classes', 'none'])
def test_every_task_takes_steps(data: PriorData, aux: Any) -> None:
    network = replace(CONFIG.network, aux=aux, classes=2)
    told = list[float]()
    found = train_prior(
        with_classes(data),
        replace(CONFIG, network=network),
        report=lambda step, loss: told.append(loss),
    )
    assert len(told) == 3
    assert np.isfinite(told).all()
    assert not found.training


def test_the_published_network_takes_a_step(data: PriorData) -> None:
    """With everything but its width and the size of its pictures."""
    full = ColorAprTraining.published(None)
    size = replace(full.network, widths=(4, 4, 8, 8, 8), fused=32, hidden=32)
    config = replace(full, network=size, batch=2, loop=replace(full.loop, steps=1))
    assert config.short_side_px == 256
    told = list[float]()
    found = train_prior(data, config, report=lambda step, loss: told.append(loss))
    assert np.isfinite(told).all()
    with torch.no_grad():
        output = found(torch.zeros(1, 3, 32, 32))
    assert output.task is not None
    assert output.task.shape == (1, 2, 32, 32)  # at full size


def test_steps_follow_from_the_pictures() -> None:
    free = replace(CONFIG, loop=LoopConfig(0), epochs=10, batch=4)
    assert free.for_pictures(1000).loop.steps == 2500
    assert free.for_pictures(10).loop.steps == 900
    assert CONFIG.for_pictures(1000) is CONFIG


def test_a_file_that_is_no_resnet_is_refused(data: PriorData, tmp_path: Path) -> None:
    torch.save({'a': torch.zeros(1)}, tmp_path / 'a.pth')
    size = replace(CONFIG.network, backbone='resnet50')
    with pytest.raises(VlocError, match='no weights of resnet50'):
        train_prior(data, replace(CONFIG, network=size, weights=tmp_path / 'a.pth'))


def test_the_same_seed_and_a_killed_training_give_the_same(
    data: PriorData, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def die(step: int, loss: float) -> None:
        if step == 2:
            raise KilledError

    first = train_prior(data, CONFIG)
    kept = tmp_path / 'prior.pt'
    with pytest.raises(KilledError):
        train_prior(data, CONFIG, checkpoint=kept, report=die)
    assert kept.is_file()
    assert equal(first, train_prior(data, CONFIG, checkpoint=kept))
    assert not equal(first, train_prior(data, replace(CONFIG, seed=1)))


def test_it_goes_on_from_a_network_and_its_scale(data: PriorData) -> None:
    first = train_prior(data, CONFIG)
    half = data.of_rows(np.arange(len(data.images)) < 20)
    found = train_prior(half, replace(CONFIG, loop=LoopConfig(1, 1e-6)), first)
    assert torch.equal(found.centre, first.centre)
    for name, p in first.named_parameters():
        assert torch.allclose(p, found.get_parameter(name), atol=1e-3), name


def test_it_learns_where_it_is(data: PriorData) -> None:
    """Of a corridor painted from red to blue."""
    share = np.linspace(0, 1, 24)
    paint = np.stack([220 * share, 60 + 0 * share, 220 * (1 - share)], 1)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 20, (24, 32, 32, 3))
    T = np.stack([se3.exp([4 * x, 0, 1, 0, 0, x]) for x in share])
    painted = PriorData(data.camera, (paint + noise).clip(0, 255).astype(np.uint8), T)
    size = replace(CONFIG.network, fused=64, dropout=0.0)
    loop = LoopConfig(80, 3e-3)
    config = replace(CONFIG, network=size, loop=loop, batch=8, turn_deg=0.0)
    network = train_prior(painted, config)
    with torch.no_grad():
        told = network(torch.from_numpy(painted.images).permute(0, 3, 1, 2) / 255)
    off = np.linalg.norm(told.position.numpy() - T[:, :3, 3], axis=1)
    assert np.median(off) < 0.35
    quats = network.quat_xyzw(told).numpy()
    turned = [se3.from_quat_xyzw(np.zeros(3), q)[:3, :3] for q in quats]
    assert np.median(se3.angle_rad(np.stack(turned) @ np.swapaxes(T[:, :3, :3], 1, 2))) < 0.15


def test_what_cannot_be_learned_from_is_refused(data: PriorData, gallery: Any) -> None:
    grey = read_keyframes(gallery, 4, 120)
    with pytest.raises(VlocError, match='no colours'):
        PriorData.of(grey, 32)
    with pytest.raises(VlocError, match='no colours'):
        PriorData.of([], 32)
    classes = replace(CONFIG, network=replace(CONFIG.network, aux='classes'))
    with pytest.raises(VlocError, match='no classes'):
        train_prior(data, classes)
    labels = np.full(data.images.shape[:3], 255, np.uint8)
    labels[2, 5:9] = classes.network.classes
    with pytest.raises(VlocError, match='class 15 is recorded, of 15') as e:
        train_prior(replace(data, labels=labels), classes)
    assert 'classes 16' in e.value.fix


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ({'batch': 1}, 'batch of 1'),
        ({'turn_deg': 50.0}, 'turned by 50'),
        ({'epochs': 0}, '0 epochs'),
        ({'light': Colour()}, 'other colours'),
        ({'weights': Path('resnet50.pth')}, 'ships with'),
    ],
)
def test_a_senseless_recipe_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(VlocError, match=words):
        replace(CONFIG, **wrong)
