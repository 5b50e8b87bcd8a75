"""A few steps of the recipe on a few small pictures."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_models.errors import VlocError
from vloc_models.frames.pairs import PairConfig
from vloc_models.geometry.camera import Camera
from vloc_models.networks.encoder import LiteEncoder
from vloc_models.records import Frame, View
from vloc_models.training.encoder import EncoderData, EncoderTraining, train_encoder
from vloc_models.training.loop import LoopConfig

CUT = PairConfig(64, 48, points=24)


def photo(seed: int) -> NDArray[np.uint8]:
    """Blobs of some pixels' size [100, 120]."""
    noise = np.random.default_rng(seed).standard_normal((100, 120)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return (128 + 300 * smooth).clip(0, 255).astype(np.uint8)


def drive(n: int) -> list[Frame]:
    """Frames along a wall 2 m ahead that shows a photo."""
    camera = Camera(120, 100, 100, 100, 59.5, 49.5)
    image = np.repeat(photo(9)[..., None], 3, axis=2)
    frames = []
    for i in range(n):
        T_map_base = np.eye(4)
        T_map_base[0, 3] = 0.04 * i  # 2 px
        shown = np.roll(image, -2 * i, axis=1)
        depth = np.full((100, 120), 2, np.float32)
        frames.append(Frame(i, (View(shown, camera, np.eye(4), depth),), None, T_map_base))
    return frames


DATA = EncoderData([photo(i) for i in range(3)], [drive(4)])


def recipe(steps: int = 3, seed: int = 0, max_lr: float = 2e-3) -> EncoderTraining:
    loop = LoopConfig(steps, max_lr=max_lr, checkpoint_s=0)
    return EncoderTraining(seed=seed, pairs=2, apart=2, cut=CUT, loop=loop)


def weights(encoder: LiteEncoder) -> Tensor:
    return torch.cat([p.detach().flatten() for p in encoder.parameters()])


@pytest.fixture(scope='module')
def trained() -> Tensor:
    return weights(train_encoder(DATA, recipe()))


def test_the_loss_falls() -> None:
    losses: list[float] = []
    train_encoder(DATA, recipe(24), report=lambda step, loss: losses.append(loss))
    assert len(losses) == 24
    assert losses[0] == pytest.approx(np.log(48), abs=0.5)  # it knows nothing of 48 points
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2


def test_the_same_seed_gives_the_same_encoder(trained: Tensor) -> None:
    assert torch.equal(weights(train_encoder(DATA, recipe())), trained)
    assert not torch.equal(weights(train_encoder(DATA, recipe(seed=1))), trained)


@pytest.mark.parametrize('last', [1, 2])
def test_interrupted_and_resumed_is_as_never_interrupted(
    tmp_path: Path, trained: Tensor, last: int
) -> None:
    file = tmp_path / 'training.pt'

    def report(step: int, loss: float) -> None:
        if step == last + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder(DATA, recipe(), checkpoint=file, report=report)
    assert torch.load(file, weights_only=True)['step'] == last
    assert torch.equal(weights(train_encoder(DATA, recipe(), checkpoint=file)), trained)


@pytest.mark.parametrize('data', [EncoderData(DATA.photos, []), EncoderData([], DATA.drives)])
def test_photos_or_drives_alone_will_do(data: EncoderData) -> None:
    encoder = train_encoder(data, recipe(1))
    assert not encoder.training


def test_nothing_to_train_on_is_named() -> None:
    with pytest.raises(VlocError, match='nothing to train on'):
        train_encoder(EncoderData([], []), recipe())


def test_pictures_that_share_nothing_are_named() -> None:
    frame = DATA.drives[0][0]
    blind = replace(frame.views[0], depth=np.full((100, 120), np.nan, np.float32))
    data = EncoderData([], [[replace(frame, views=(blind,))]])
    with pytest.raises(VlocError, match='share too little'):
        train_encoder(data, recipe())
