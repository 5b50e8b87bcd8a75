"""What a map knows: depth as the pictures agree on it, and nothing of held-out pictures."""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models import npz
from vloc_models.errors import BagError
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.mapping import build_map as module
from vloc_models.mapping import heads
from vloc_models.mapping.build_map import MappingConfig, build_map
from vloc_models.mapping.held_out import held_out
from vloc_models.mapping.refine import Refined
from vloc_models.mapping.self_depth import SelfDepthConfig
from vloc_models.mapping.sightings import Sightings
from vloc_models.maps import Map, open_map
from vloc_models.networks.fsre import FsreConfig
from vloc_models.records import Frame
from vloc_models.training.fsre import FsreTraining
from vloc_models.training.loop import LoopConfig


@pytest.fixture(autouse=True)
def soon(build_soon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_soon(monkeypatch)


def stopping(step: str, at: int) -> Callable[[str, int, int], None]:
    def report(name: str, done: int, total: int) -> None:
        if (name, done) == (step, at):
            raise KeyboardInterrupt

    return report


def off_the_wall(site: Map) -> float:
    """Of the landmarks, median, m; they all are on the plane y = 3."""
    name = site.info.submaps[0].landmarks
    assert name is not None
    points = npz.unpack(site.read_bytes(name), name)['points']
    return float(np.median(np.abs(points[:, 1] - 3)))


def test_an_error_of_the_depth_is_corrected_and_told(
    gallery: Any,
    tiny_config: MappingConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By our own encoder; without it 3 % of 3 m were 9 cm."""

    def wrong(k: int, frame: Frame) -> Frame:
        views = [replace(v, depth=np.float32(1.03) * np.asarray(v.depth)) for v in frame.views]
        return replace(frame, views=tuple(views))

    monkeypatch.undo()
    config = replace(tiny_config, instant=True)
    with caplog.at_level(logging.INFO, 'vloc_models'):
        made = build_map(type(gallery)(11, change=wrong), [], tmp_path / 'site', config)
    told = re.findall(r'depth is ([\d.]+) % too large: corrected', caplog.text)
    assert float(told[0]) == pytest.approx(3, abs=1.2)  # the measurement counts, too
    assert off_the_wall(made) < 0.045


def test_small_errors_of_the_depth_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, 'vloc_models'):
        for scale in (1.0, 1.004, 0.996, 1.02, 0.971):
            module._tell_scale(scale)
    too = 'depth is 2.0 % too small: corrected', 'depth is 2.9 % too large: corrected'
    assert caplog.messages == list(too)


def test_the_head_learns_from_corrected_depth(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the self-test's from what the pictures that it may know say."""
    pictures: list[int] = []
    depths: list[list[float]] = []
    refine, fill = module.refine, module.fill_buffer

    def centre(keyframes: list[Keyframe]) -> list[float]:
        return [float(k.depth[60, 80]) for k in keyframes if k.depth is not None]

    def refined(sightings: Sightings, keyframes: list[Keyframe]) -> Refined:
        pictures.append(len(np.unique(sightings.picture)))
        return replace(refine(sightings, keyframes), depth_scale=0.9 + len(pictures) / 100)

    def filled(keyframes: list[Keyframe], *rest: Any) -> Any:
        depths.append(centre(keyframes))
        return fill(keyframes, *rest)

    monkeypatch.setattr(module, 'refine', refined)
    monkeypatch.setattr(module, 'fill_buffer', filled)
    with pytest.raises(KeyboardInterrupt):
        build_map(gallery, [], tmp_path / 'site', tiny_config, stopping('training', 1))
    assert pictures == [held_out(44, tiny_config.held_out)[0].sum(), 44]
    expected = 0.91 * np.array(centre(read_keyframes(gallery, 44, 120)))
    np.testing.assert_allclose(depths, [expected], rtol=1e-3)


def test_learned_depth_teaches_the_head_and_places_landmarks(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sensor's depth of half the truth is not looked at."""

    def halved(k: int, frame: Frame) -> Frame:
        views = [replace(v, depth=np.asarray(v.depth) / 2) for v in frame.views]
        return replace(frame, views=tuple(views))

    taught: list[list[Keyframe]] = []
    untils: list[float] = []
    fill, train = module.fill_buffer, heads.train_head

    def filled(keyframes: list[Keyframe], *rest: Any) -> Any:
        taught.append(keyframes)
        return fill(keyframes, *rest)

    def trained(buffer: Any, pictures: Any, training: Any, *rest: Any) -> Any:
        untils.append(training.depth_until)
        return train(buffer, pictures, training, *rest)

    monkeypatch.setattr(module, 'fill_buffer', filled)
    monkeypatch.setattr(heads, 'train_head', trained)
    network = FsreConfig(widths=(16, 16, 8, 8, 8), classes=3, first_depth_m=3.0)
    fsre = FsreTraining(network=network, batch=2, loop=LoopConfig(3))
    depth = SelfDepthConfig(short_side_px=64, until=0.4, training=fsre)
    config = replace(tiny_config, depth='self', self_depth=depth)
    steps: list[str] = []
    site = build_map(
        type(gallery)(change=halved), [], tmp_path / 'site', config, lambda s, *_: steps.append(s)
    )
    assert [steps.count(s) for s in ('learning depth', 'telling depth')] == [3, 44]
    (keyframes,) = taught
    assert all(k.learned for k in keyframes)
    known = np.concatenate(
        [k.depth[np.isfinite(k.depth)] for k in keyframes if k.depth is not None]
    )
    assert np.median(known) == pytest.approx(3, abs=0.4)
    assert untils == [depth.until, depth.until]
    assert off_the_wall(site) < 0.6  # the sensor's would put them 1.5 m off


def test_depth_is_not_used_where_it_is_not_wanted(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[Keyframe] = []

    def filled(keyframes: list[Keyframe], *_: Any) -> Any:
        taught.extend(keyframes)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, 'fill_buffer', filled)
    with pytest.raises(KeyboardInterrupt):
        build_map(gallery, [], tmp_path / 'site', replace(tiny_config, depth='none'))
    assert len(taught) == 44
    assert all(k.depth is None for k in taught)
    blind = type(gallery)(
        change=lambda k, f: replace(f, views=tuple(replace(v, depth=None) for v in f.views))
    )
    with pytest.raises(BagError, match='no depth of a sensor'):
        build_map(blind, [], tmp_path / 'site', replace(tiny_config, depth='sensor'))


def test_what_is_asked_for_in_the_self_test_never_helps(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    """With other pictures there the map that is tested is the same to the byte."""
    config = replace(tiny_config, instant=True)
    learned, _ = held_out(44, config.held_out)

    def tested(mirrored: NDArray[np.bool_]) -> bytes:
        def change(k: int, frame: Frame) -> Frame:
            views = [replace(v, image=v.image[:, ::-1].copy()) for v in frame.views]
            return replace(frame, views=tuple(views)) if mirrored[k] else frame

        source = type(gallery)(change=change)
        with pytest.raises(KeyboardInterrupt):
            build_map(source, [], tmp_path / 'site', config, stopping('testing', 1))
        site = open_map(tmp_path / '.site.work' / 'tested')
        return site.read_bytes('submaps/00/landmarks.npz')

    right = tested(np.zeros(44, bool))
    assert tested(~learned) == right
    assert tested(np.arange(44) == np.flatnonzero(learned)[5]) != right
