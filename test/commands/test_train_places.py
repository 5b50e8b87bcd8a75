"""DASGIL is trained by a command, which goes on where it was."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from vloc_models import config, npz
from vloc_models.commands import train_places as command
from vloc_models.commands.main import main
from vloc_models.export.to_onnx import PlaceEncoder
from vloc_models.frames import places
from vloc_models.frames.synthetic import WorldSpec
from vloc_models.networks.dasgil import DasgilConfig, DasgilEncoder
from vloc_models.training.weights import load_weights

FILES = ['dasgil.onnx', 'dasgil.probe.npz', 'dasgil.safetensors', 'recipe.yaml']


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('cache')


@pytest.fixture
def words(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that takes two steps with a small network in one room and with two photos."""
    monkeypatch.setattr(places, 'WorldSpec', partial(WorldSpec, rooms=1))  # soon drawn
    monkeypatch.setattr(command, 'place_graph', lambda encoder: b'graph')
    photos = tmp_path / 'photos'
    photos.mkdir()
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (90, 120, 3), np.uint8)
        assert cv2.imwrite(str(photos / f'{i}.png'), noise)
    words = ['train-places', str(tmp_path / 'out'), '--photos', str(photos)]
    words += ['--cache', str(cache), '--places.worlds', '1', '--places.drive-s', '3']
    words += ['--places.rate-hz', '1', '--places.looks', 'day', 'night']
    words += ['--network.width', '4', '--batch', '1', '--triplets.turned-away-deg', '31']
    return [*words, '--loop.steps', '2', '--loop.checkpoint-s', '0']


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_what_is_written(tmp_path: Path, words: list[str]) -> None:
    assert main(words) == 0
    out = tmp_path / 'out'
    assert names(out) == FILES
    encoder = DasgilEncoder(DasgilConfig(width=4).widths)
    load_weights(encoder, (out / 'dasgil.safetensors').read_bytes(), 'weights')
    probe = npz.unpack((out / 'dasgil.probe.npz').read_bytes(), 'probe')
    with torch.no_grad():
        told = PlaceEncoder(encoder.eval())(torch.from_numpy(probe['input_image'][:1]))
    for name, answer in zip(('layer5', 'layer6'), told, strict=True):
        np.testing.assert_allclose(answer, probe[f'output_{name}'][:1], atol=1e-5)
    recipe = config.load(command.Recipe, out / 'recipe.yaml')
    assert (recipe.photos, recipe.places.worlds, recipe.training.loop.steps) == (2, 1, 2)


def test_interrupted_and_resumed_is_as_never_interrupted(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    assert main(words) == 0
    whole = {name: (out / name).read_bytes() for name in FILES}
    assert main(words) == 2  # nothing is replaced unasked
    train: Callable[..., Any] = command.trainer.train_dasgil

    def stops(*args: Any) -> Any:
        def dies(step: int, loss: float) -> None:
            if step == 2:
                raise KeyboardInterrupt

        return train(*args[:-1], dies)

    with monkeypatch.context() as patch:
        patch.setattr(command.trainer, 'train_dasgil', stops)
        assert main([*words, '--overwrite']) == 130
    assert names(out) == sorted([*FILES, 'training.pt', 'training.yaml'])
    assert main([*words, '--seed', '7']) == 2  # another recipe
    assert main(words) == 0
    assert {name: (out / name).read_bytes() for name in names(out)} == whole


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--photos', '/nowhere/at/all'], '/nowhere/at/all: no readable'),
        (['--places.size', '512', '256'], 'pictures of 256x512; leave out --places.size'),
        (['--places.looks', 'day'], 'give two or more'),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *more]) == 2
    assert said in capsys.readouterr().err
