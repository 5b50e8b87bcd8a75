from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from vloc_models import config, npz
from vloc_models.commands import train_encoder as command
from vloc_models.commands.main import main
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.export.to_onnx import ImageEncoder, encoder_graph
from vloc_models.frames import scenes
from vloc_models.frames.pairs import PairConfig
from vloc_models.frames.synthetic import WorldSpec
from vloc_models.networks.encoder import LiteEncoder
from vloc_models.training.loop import Report
from vloc_models.training.weights import load_weights

FILES = ['encoder.onnx', 'encoder.probe.npz', 'encoder.safetensors', 'recipe.yaml']
TINY = ['--pairs', '2']
for cut in ('easy', 'hard'):
    TINY += [f'--{cut}.width', '64', f'--{cut}.height', '48', f'--{cut}.points', '24']
TINY += ['--loop.steps', '3', '--loop.checkpoint-s', '0']


@pytest.fixture(scope='module')
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('photos')
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (90, 120), np.uint8)
        assert cv2.imwrite(str(folder / f'{i}.png'), cv2.GaussianBlur(noise, (0, 0), 2))
    return folder


@pytest.fixture
def words(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that trains on photos alone, its graph soon exported."""
    monkeypatch.setattr(command, 'encoder_graph', lambda encoder: b'graph')
    out = str(tmp_path / 'out')
    return ['train-encoder', out, '--photos', str(photos), '--scenes.worlds', '0', *TINY]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def interrupted(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Make the next training stop after a step, its checkpoint written."""
    train = command.trainer.train_encoder

    def stops(*args: object) -> LiteEncoder:
        *others, report = args

        def dies(step: int, loss: float) -> None:
            assert callable(report)
            report(step, loss)
            if step > last:
                raise KeyboardInterrupt

        stopping: Report = dies
        undone: Callable[..., LiteEncoder] = train
        return undone(*others, stopping)

    monkeypatch.setattr(command.trainer, 'train_encoder', stops)


def test_an_encoder_of_a_scene_and_photos(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, 'WorldSpec', partial(WorldSpec, rooms=1))  # soon drawn
    monkeypatch.setattr(command, 'encoder_graph', lambda encoder: b'graph')
    out = tmp_path / 'a' / 'out'
    words = ['train-encoder', str(out), '--photos', str(photos), '--photo-share', '0.5', *TINY]
    words += ['--scenes.worlds', '1', '--scenes.drive-s', '2', '--scenes.rate-hz', '1']
    words += ['--cache', str(tmp_path / 'cache')]
    assert main(words) == 0
    assert names(out) == FILES
    assert len(list((tmp_path / 'cache').iterdir())) == 2  # drives
    encoder = LiteEncoder(norm=False)
    load_weights(encoder, (out / 'encoder.safetensors').read_bytes(), 'encoder')
    assert (out / 'encoder.safetensors').stat().st_size == pytest.approx(2_902_594, abs=6000)
    probe = npz.unpack((out / 'encoder.probe.npz').read_bytes(), 'probe')
    with torch.no_grad():
        answers = ImageEncoder(encoder)(torch.from_numpy(probe['input_image'][:1]))
    for name, answer in zip(('features', 'sure'), answers, strict=True):
        np.testing.assert_allclose(answer, probe[f'output_{name}'][:1], atol=1e-5)
    recipe = config.load(command.Recipe, out / 'recipe.yaml')
    assert (recipe.photos, recipe.scenes) == (2, scenes.SceneConfig(1, 2, 1))
    assert recipe.training.loop.steps == 3
    assert recipe.training.easy.width == recipe.training.hard.width == 64
    assert recipe.training.hard.covered == PairConfig.hard().covered


@pytest.mark.slow
def test_the_graph_is_that_of_the_weights(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, 'encoder_graph', encoder_graph)
    assert main(words) == 0
    engine = OnnxEngine((tmp_path / 'out' / 'encoder.onnx').read_bytes(), 'graph')
    probe = npz.unpack((tmp_path / 'out' / 'encoder.probe.npz').read_bytes(), 'probe')
    assert check_probe(engine, probe, 'probe') < 1e-3


def test_interrupted_and_resumed_is_as_never_interrupted(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    assert main(words) == 0
    whole = {name: (out / name).read_bytes() for name in FILES}
    assert main(words) == 2  # nothing is replaced unasked
    with monkeypatch.context() as patch:
        interrupted(patch, 1)
        assert main([*words, '--overwrite']) == 130
    assert names(out) == sorted([*FILES, 'training.pt', 'training.yaml'])
    assert torch.load(out / 'training.pt', weights_only=True)['step'] == 1
    (out / 'encoder.onnx').write_bytes(b'half')  # as if it had died when it wrote this
    assert main(words) == 0
    assert {name: (out / name).read_bytes() for name in names(out)} == whole


def test_another_recipe_does_not_go_on_with_a_checkpoint(
    tmp_path: Path,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        interrupted(patch, 1)
        assert main(words) == 130
    assert main([*words, '--seed', '7']) == 2
    assert 'another recipe' in capsys.readouterr().err
    (tmp_path / 'out' / 'training.pt').unlink()
    assert main([*words, '--seed', '7']) == 0
    recipe = yaml.safe_load((tmp_path / 'out' / 'recipe.yaml').read_text())
    assert recipe['training']['seed'] == 7


def test_a_finished_folder_is_named(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'encoder.onnx').write_bytes(b'mine')
    assert main(words) == 2
    said = capsys.readouterr().err
    assert 'encoder.onnx exists already' in said
    assert '--overwrite' in said
    assert names(tmp_path / 'out') == ['encoder.onnx']


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--photos', '/nowhere/at/all'], '/nowhere/at/all: no readable'),
        (['--loop.steps', '0'], 'no steps'),
        (['--easy.points', '9999'], 'share too little'),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *more]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert 'Traceback' not in told


def test_nothing_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['train-encoder', str(tmp_path / 'out'), '--scenes.worlds', '0']) == 2
    assert 'nothing to train on' in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason='has CUDA')
def test_without_cuda(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, '--device', 'cuda']) == 2
    assert 'no CUDA device here; use --device cpu' in capsys.readouterr().err


def test_a_folder_that_cannot_be(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([words[0], '/dev/null/out', *words[2:]]) == 2
    assert '/dev/null/out' in capsys.readouterr().err
