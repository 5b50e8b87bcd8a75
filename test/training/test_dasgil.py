"""DASGIL learns from toy places: coloured stripes in two looks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vloc_models.errors import VlocError
from vloc_models.frames.places import Place
from vloc_models.geometry import se3
from vloc_models.networks.dasgil import Dasgil, DasgilConfig
from vloc_models.training.dasgil import DasgilData, DasgilTraining, train_dasgil
from vloc_models.training.loop import LoopConfig
from vloc_models.training.triplets import TripletConfig

SIDE, M = 256, 6
CONFIG = DasgilTraining(
    network=DasgilConfig(width=4, classes=3),
    triplets=TripletConfig(frames=0, away_m=1.0),
    batch=2,
    loop=LoopConfig(3, 1e-3, 0.0),
)


def place() -> Place:
    """Stripes of another width in each picture; light and dark, or the other way round."""
    across = np.arange(SIDE)
    classes = np.stack([(across // (4 + 6 * n)) % 2 for n in range(M)]).astype(np.uint8)
    labels = np.repeat(classes[:, None], SIDE, 1)
    day = np.where(labels, 200, 80).astype(np.uint8)
    images = np.repeat(np.stack([day, 120 - day // 3])[..., None], 3, -1)
    T = np.stack([se3.transform(np.eye(3), [5.0 * n, 0, 0]) for n in range(M)])
    return Place(images, (1 + labels).astype(np.float16), labels, T)


PLACE = place()
REAL = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8)
DATA = DasgilData([PLACE], REAL)


def same(a: Dasgil, b: Dasgil) -> bool:
    states = a.state_dict(), b.state_dict()
    return all(torch.equal(x, states[1][name]) for name, x in states[0].items())


@pytest.mark.parametrize('discriminator', ['none', 'flatten', 'cascade'])
def test_every_kind_takes_steps(discriminator: Any) -> None:
    config = replace(CONFIG, discriminator=discriminator, loop=LoopConfig(2, 1e-3, 0.0))
    torch.manual_seed(0)
    fresh, told = Dasgil(config.network), []
    found = train_dasgil(DATA, config, report=lambda step, loss: told.append(loss))
    assert len(told) == 2
    assert np.isfinite(told).all()
    assert not found.training
    moved = [
        not torch.equal(p, q) for p, q in zip(found.parameters(), fresh.parameters(), strict=True)
    ]
    assert np.mean(moved) > 0.9


def test_the_same_seed_gives_the_same_network() -> None:
    assert same(train_dasgil(DATA, CONFIG), train_dasgil(DATA, CONFIG))
    assert not same(train_dasgil(DATA, CONFIG), train_dasgil(DATA, replace(CONFIG, seed=1)))


def test_half_precision_learns_about_the_same() -> None:
    """And its weights stay in full precision."""
    told = list[list[float]]()
    for half in (False, True):
        config, losses = replace(CONFIG, half=half), list[float]()
        network = train_dasgil(DATA, config, report=lambda n, loss, to=losses: to.append(loss))
        told.append(losses)
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert told[0] != told[1]
    np.testing.assert_allclose(told[1], told[0], rtol=0.02)


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """With its adversary."""
    config = replace(CONFIG, loop=replace(CONFIG.loop, checkpoint_s=0.0))

    def killed(step: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    whole = train_dasgil(DATA, config)
    with pytest.raises(KeyboardInterrupt):
        train_dasgil(DATA, config, 'cpu', tmp_path / 'c.pt', killed)
    steps = []
    found = train_dasgil(DATA, config, 'cpu', tmp_path / 'c.pt', lambda n, loss: steps.append(n))
    assert steps == [3]
    assert same(found, whole)


def test_places_are_told_apart_whatever_the_light() -> None:
    """Before training a picture is nearer to others of its look than to its own place."""
    config = replace(
        CONFIG,
        network=DasgilConfig(width=4, depth=False, classes=0),
        discriminator='none',
        batch=4,
        loop=LoopConfig(50, 2e-3, 0.0),
    )
    torch.manual_seed(0)
    fresh = Dasgil(config.network).eval()
    learned = train_dasgil(DasgilData([PLACE]), config)
    assert found_again(fresh) < 0.5
    assert found_again(learned) > 0.8


@torch.no_grad()
def found_again(network: Dasgil) -> float:
    """The share of one look's pictures whose nearest one of the other look is the same."""
    told = [
        network.encoder(torch.from_numpy(look).permute(0, 3, 1, 2) / 255, 5)[4].flatten(1)
        for look in PLACE.images
    ]
    nearest = torch.cdist(*told, p=1).argmin(1)
    return float((nearest == torch.arange(M)).float().mean())


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (DasgilData([]), 'no places'),
        (DasgilData([PLACE]), 'no real pictures'),
        (DasgilData([PLACE], REAL[:0]), 'no real pictures'),
        (DasgilData([PLACE], REAL[:, :128]), 'real pictures has shape'),
        (DasgilData([replace(PLACE, images=PLACE.images[:, :, :100])]), 'multiple of 256'),
        (DasgilData([replace(PLACE, labels=PLACE.labels + 7)]), 'label 8'),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(data: DasgilData, words: str) -> None:
    with pytest.raises(VlocError, match=words):
        train_dasgil(data, CONFIG)


@pytest.mark.parametrize('wrong', [{'batch': 0}, {'discriminator_lr': 0.0}])
def test_a_senseless_recipe_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(VlocError, match='give more of both'):
        replace(CONFIG, **wrong)
