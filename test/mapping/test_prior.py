"""A map's pose prior is made in two parts, between which it is calibrated."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.errors import VlocError
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.geometry.camera import Camera
from vloc_models.geometry.tensors import quat_exp
from vloc_models.mapping import prior
from vloc_models.mapping.prior import (
    PriorConfig,
    PriorFiles,
    normalised_errors,
    prior_files,
    sigma_scale,
)
from vloc_models.networks.color_apr import ColorApr, ColorAprConfig, ColorAprOutput
from vloc_models.training.color_apr import ColorAprTraining, PriorData
from vloc_models.training.loop import LoopConfig

pytestmark = pytest.mark.usefixtures('one_thread')
TINY = ColorAprTraining(
    network=ColorAprConfig(widths=(4, 4, 8, 8), fused=16, hidden=16),
    short_side_px=32,
    batch=4,
    loop=LoopConfig(5, 1e-3, checkpoint_s=0),
)
CONFIG = PriorConfig(TINY)


@pytest.fixture(scope='module')
def keyframes(gallery: Any) -> list[Keyframe]:
    return read_keyframes(gallery, 100, 120, colour=True)


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds; that the files fit each other is asked once."""
    monkeypatch.setattr(prior, 'prior_graph', lambda network, size: b'graph')


def test_graph_and_probe_fit_each_other(keyframes: list[Keyframe]) -> None:
    files = prior_files(keyframes[:12], CONFIG, 0, 'cpu', None)
    engine = OnnxEngine(files.graph, 'prior.onnx')
    assert check_probe(engine, files.probe, 'probe') < 1e-3
    camera = files.use.camera
    assert files.probe['input_image'].shape == (4, camera.height, camera.width, 3)
    assert files.use.pictures == 0  # so few are all learned from
    assert files.use.sigma_scale == (4.0, 4.0)


def same(a: PriorFiles, b: PriorFiles) -> bool:
    return a.use == b.use and all(np.array_equal(x, b.probe[k]) for k, x in a.probe.items())


@pytest.mark.usefixtures('no_export')
def test_it_is_trained_in_two_parts_and_resumed(keyframes: list[Keyframe], tmp_path: Path) -> None:
    told = list[tuple[str, int, int]]()
    files = prior_files(
        keyframes, CONFIG, 3, 'cpu', tmp_path / 'prior', lambda *step: told.append(step)
    )
    assert files.use.pictures == 14  # 0.3 of 44, in two blocks
    assert [done for _, done, _ in told] == [1, 2, 3, 1, 2]
    assert [of for _, _, of in told] == [3, 3, 3, 2, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ['prior_first.pt', 'prior_second.pt']
    assert same(files, prior_files(keyframes, CONFIG, 3, 'cpu', tmp_path / 'prior'))
    assert len(told) == 5
    assert same(files, prior_files(keyframes, CONFIG, 3, 'cpu', None))
    assert not same(files, prior_files(keyframes, CONFIG, 4, 'cpu', None))


@pytest.mark.usefixtures('no_export')
def test_the_blocks_are_not_learned_from_before_they_tell(
    keyframes: list[Keyframe], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, asked = list[int](), list[int]()
    train, scale = prior.train_prior, prior.sigma_scale

    def training(data: PriorData, *more: Any) -> ColorApr:
        seen.append(len(data.images))
        return train(data, *more)

    def scaling(network: ColorApr, data: PriorData) -> tuple[float, float]:
        asked.append(len(data.images))
        return scale(network, data)

    monkeypatch.setattr(prior, 'train_prior', training)
    monkeypatch.setattr(prior, 'sigma_scale', scaling)
    prior_files(keyframes, CONFIG, 0, 'cpu', None)
    assert asked == [14]
    assert seen[0] <= 44 - 14 - 2
    assert seen[1] == 44


def test_grey_pictures_are_refused(keyframes: list[Keyframe]) -> None:
    with pytest.raises(VlocError, match='no colours'):
        prior_files([replace(k, image=None) for k in keyframes], CONFIG, 0, 'cpu', None)


class Told:
    """A network that errs by known amounts and says to err by others."""

    def __init__(self, away: np.ndarray, turned: np.ndarray, sigma: tuple[float, float]) -> None:
        self.away, self.turned, self.sigma, self.at = away, turned, sigma, 0

    def __call__(self, images: torch.Tensor) -> ColorAprOutput:
        rows = slice(self.at, self.at + len(images))
        self.at += len(images)
        self.half = torch.from_numpy(self.turned[rows]) / 2
        log_sigma = torch.tensor(self.sigma).log().expand(len(images), 2)
        return ColorAprOutput(torch.from_numpy(self.away[rows]), self.half, log_sigma, None)

    def quat_xyzw(self, output: ColorAprOutput) -> torch.Tensor:
        return quat_exp(output.log_quat)


def told(sigma: tuple[float, float], wild: int = 0) -> tuple[Any, PriorData]:
    """400 errors of 0.2 m and 0.1 rad an axis, some of them wild."""
    rng, count = np.random.default_rng(0), 400
    away, turned = 0.2 * rng.normal(size=(count, 3)), 0.1 * rng.normal(size=(count, 3))
    away[:wild] *= 1000
    camera = Camera(16, 16, 10.0, 10.0, 7.5, 7.5)
    images, T_map_cam = np.zeros((count, 16, 16, 3), np.uint8), np.tile(np.eye(4), (count, 1, 1))
    return Told(away, turned, sigma), PriorData(camera, images, T_map_cam)


def test_sigmas_are_scaled_to_the_errors() -> None:
    network, data = told((0.1, 0.1))
    np.testing.assert_allclose(sigma_scale(network, data), (2.0, 1.0), rtol=0.05)
    network, data = told((0.2, 0.1))
    np.testing.assert_allclose(normalised_errors(network, data).mean(0), 1, rtol=0.1)


def test_a_few_wild_answers_do_not_spoil_all() -> None:
    network, data = told((0.1, 0.1), wild=20)
    position, rotation = sigma_scale(network, data)
    assert 2.0 < position < 2.6
    assert rotation == pytest.approx(1.0, rel=0.05)


def test_scales_have_bounds() -> None:
    network, data = told((100.0, 1e-6))
    assert sigma_scale(network, data) == (0.5, 100.0)
