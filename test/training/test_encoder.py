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
from vloc_models.frames.augment import Photometric
from vloc_models.frames.pairs import PairConfig
from vloc_models.frames.scenes import Scene
from vloc_models.geometry.camera import Camera
from vloc_models.networks.ace import normalised
from vloc_models.networks.encoder import ContrastConfig, LiteEncoder, Seen, Truth, encoder_loss
from vloc_models.training import encoder as trainer
from vloc_models.training.encoder import EncoderData, EncoderTraining, train_encoder
from vloc_models.training.loop import LoopConfig

CUT = PairConfig(64, 48, points=24)
HARD = replace(PairConfig.hard(), width=64, height=48, points=24)
IMPOSSIBLE = replace(CUT, points=999)
NO_LIGHT = Photometric(gamma=1, contrast=0, brightness=0, shading=0, share=0)


def photo(seed: int) -> NDArray[np.uint8]:
    """Blobs of some pixels' size [100, 120]."""
    noise = np.random.default_rng(seed).standard_normal((100, 120)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return (128 + 300 * smooth).clip(0, 255).astype(np.uint8)


def scene(n: int) -> Scene:
    """Views along a wall 2 m ahead that shows a photo, 2 px further each."""
    camera = Camera(120, 100, 100, 100, 59.5, 49.5)
    T_map_cam = np.tile(np.eye(4), (n, 1, 1))
    T_map_cam[:, 0, 3] = 0.04 * np.arange(n)
    grey = np.stack([np.roll(photo(9), -2 * i, axis=1) for i in range(n)])
    shared = np.ones((n, n), np.float32)
    return Scene(grey, np.full(grey.shape, 2, np.float16), [camera] * n, T_map_cam, shared)


DATA = EncoderData([photo(i) for i in range(3)], [scene(4)])
BLIND = replace(scene(2), depth=np.full((2, 100, 120), np.nan, np.float16))


def recipe(steps: int = 3, seed: int = 0) -> EncoderTraining:
    loop = LoopConfig(steps, max_lr=2e-3, checkpoint_s=0)
    return EncoderTraining(seed=seed, pairs=2, easy=CUT, hard=HARD, loop=loop)


def weights(encoder: LiteEncoder) -> Tensor:
    """All of its numbers, those of the normalisation too."""
    return torch.cat([x.detach().double().flatten() for x in encoder.state_dict().values()])


@pytest.fixture(scope='module')
def trained() -> Tensor:
    return weights(train_encoder(DATA, recipe()))


def test_the_loss_falls() -> None:
    losses: list[float] = []
    train_encoder(DATA, recipe(24), report=lambda step, loss: losses.append(loss))
    assert len(losses) == 24
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 1


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


@pytest.mark.parametrize('data', [EncoderData(DATA.photos, []), EncoderData([], DATA.scenes)])
def test_photos_or_scenes_alone_will_do(data: EncoderData) -> None:
    encoder = train_encoder(data, replace(recipe(1), photo_share=0 if data.photos else 1))
    assert not encoder.training
    assert weights(encoder.fused()).isfinite().all()


def test_pairs_get_harder_as_it_goes_on() -> None:
    """None is hard at first, all may be from the middle on."""
    config = replace(recipe(6), hard=IMPOSSIBLE, hard_share=1.0)
    done: list[int] = []
    with pytest.raises(VlocError, match='share too little'):
        train_encoder(DATA, config, report=lambda step, loss: done.append(step))
    assert done == [1, 2, 3]
    train_encoder(DATA, replace(config, hard_share=0.0))
    train_encoder(DATA, replace(recipe(1), easy=CUT, hard=IMPOSSIBLE))


def test_photos_have_their_share_of_the_pairs() -> None:
    """Both pictures of a photo's pair are brighter here than those of a scene's."""
    photos = [np.maximum(photo(i), 200) for i in range(3)]
    dark = replace(DATA.scenes[0], grey=DATA.scenes[0].grey // 4)
    plain = replace(CUT, light=NO_LIGHT, covered=0)
    for share in (0.0, 0.25, 1.0):
        config = replace(recipe(), pairs=80, photo_share=share, easy=plain)
        pairs = trainer._batch(EncoderData(photos, [dark]), config, 0)
        bright = [min(p.first.min(), p.second.min()) > 100 for p in pairs]
        assert len(pairs) == 80
        assert np.mean(bright) == pytest.approx(share, abs=0.12)


def test_pairs_of_a_step_are_of_different_pictures_and_places() -> None:
    """Each photo is of one level, and each scene."""
    plain, levels = replace(CUT, light=NO_LIGHT, covered=0), [10, 60, 110, 160, 210]
    photos = [np.full((100, 120), level, np.uint8) for level in levels]
    one = DATA.scenes[0]
    scenes = [replace(one, grey=np.full_like(one.grey, level)) for level in levels]
    for data in (EncoderData(photos, []), EncoderData([], scenes)):
        seen = []
        for step in range(4):
            config = replace(recipe(9), pairs=5, easy=plain, hard_share=0)
            pairs = trainer._batch(data, config, step)
            seen.append([round(float(p.first.mean()), -1) for p in pairs])
        assert all(sorted(batch) == levels for batch in seen)
        assert len({tuple(batch) for batch in seen}) > 1  # in another order


def test_the_loss_of_a_step_is_that_of_its_pairs() -> None:
    """Each picture with its own points and covers."""
    contrast = ContrastConfig(sure_weight=100)
    config = replace(recipe(), pairs=3, easy=replace(CUT, covered=0.8), hard_share=0)
    pairs = trainer._batch(DATA, config, 0)
    assert sum(p.hidden_first.sum() for p in pairs) != sum(p.hidden_second.sum() for p in pairs)
    torch.manual_seed(0)
    encoder = LiteEncoder().eval()
    with torch.no_grad():
        encoder.sure.weight.mul_(100)  # else it says the same everywhere
        pictures = torch.stack(
            [torch.from_numpy(vars(p)[n]) for n in ('first', 'second') for p in pairs]
        )
        features, sure = encoder(normalised(pictures[:, None]))
        a, b = Seen(features[:3], sure[:3]), Seen(features[3:], sure[3:])
        names = 'pixels_first', 'pixels_second', 'hidden_first', 'hidden_second'
        known = [torch.stack([torch.from_numpy(vars(p)[n]) for p in pairs]) for n in names]
        truth = Truth(known[0].float(), known[1].float(), known[2], known[3])
        expected = encoder_loss(a, b, truth, contrast)
        found = trainer._loss(encoder, pairs, contrast, 'cpu')
    torch.testing.assert_close(found, expected)


def test_nothing_to_train_on_is_named() -> None:
    with pytest.raises(VlocError, match='nothing to train on'):
        train_encoder(EncoderData([], []), recipe())


def test_pictures_that_share_nothing_are_named() -> None:
    with pytest.raises(VlocError, match='share too little'):
        train_encoder(EncoderData([], [BLIND]), recipe())


def test_a_scene_that_shares_nothing_is_made_up_for_by_others() -> None:
    train_encoder(EncoderData([], [BLIND, *DATA.scenes]), recipe(1))
