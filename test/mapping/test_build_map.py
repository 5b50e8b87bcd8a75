"""A tiny map: killed anywhere and run again it is the same, and the old one survives."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from map_files import tree

from vloc_models.commands.main import main
from vloc_models.errors import BagError, MapError
from vloc_models.frames.write_bag import write_bag
from vloc_models.geometry import se3
from vloc_models.localize.localizer import Localizer
from vloc_models.mapping import build_map as module
from vloc_models.mapping.build_map import MappingConfig, build_map
from vloc_models.mapping.self_test import in_words
from vloc_models.maps import Map, open_map
from vloc_models.records import Frame, Verdict

ALIKE = 'looking for places that look alike'
STEPS = {
    'reading': 44,
    'looking': 44,
    ALIKE: 44,
    'encoding': 16,
    'training': 30,
    'testing': 6,
    'training with all': 20,
}
FILES = {
    'encoder.onnx',
    'encoder.probe.npz',
    'index.npz',
    'map.yaml',
    'submaps/00/head.onnx',
    'submaps/00/head.safetensors',
    'submaps/00/landmarks.npz',
    'submaps/00/probe.npz',
}


@pytest.fixture(autouse=True)
def soon(build_soon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_soon(monkeypatch)


@pytest.fixture(scope='module')
def whole(
    gallery: Any, tiny_config: MappingConfig, build_soon: Any, tmp_path_factory: Any
) -> tuple[Path, list[tuple[str, int, int]]]:
    """A map that was built without interruption, and what was reported meanwhile."""
    path, seen = tmp_path_factory.mktemp('whole') / 'site', []
    with pytest.MonkeyPatch.context() as patch:
        build_soon(patch)
        build_map(gallery, ['run1'], path, tiny_config, lambda *x: seen.append(x))
    return path, seen


def test_a_map_is_whole_and_answers(whole: tuple[Path, Any], gallery: Any) -> None:
    site = open_map(whole[0])
    assert set(site.info.files) | {'map.yaml'} == FILES
    assert site.info.encoder.file == 'encoder.onnx'
    (submap,) = site.info.submaps
    centre = np.mean([(f.T_map_base @ f.views[0].T_base_cam)[:3, 3] for f in gallery.drawn], 0)
    np.testing.assert_allclose(submap.centre_m, centre, atol=1e-5)
    (camera,) = site.info.cameras
    assert camera.camera == gallery.cameras[0].camera
    np.testing.assert_array_equal(camera.T_base_cam, gallery.cameras[0].T_base_cam)
    assert site.info.provenance.bags == ('run1',)
    assert site.info.provenance.topics == ('camera_0',)
    figures = site.info.provenance.self_test
    assert figures['queries'] == STEPS['testing']
    calibration = site.info.calibration
    assert calibration is not None
    assert (calibration.queries, calibration.blocks) == (STEPS['testing'], 3)
    marks = site.read_arrays('submaps/00/landmarks.npz')
    assert marks['T_twin'].shape == (*marks['twin_picture'].shape, 4, 4)
    fix = Localizer.load(whole[0]).locate(gallery.drawn[20].views, stamp_ns=5)
    assert fix.stamp_ns == 5
    assert fix.reason


def test_nothing_is_left_beside_it(whole: tuple[Path, Any]) -> None:
    assert [p.name for p in whole[0].parent.iterdir()] == ['site']


def test_all_steps_are_told(whole: tuple[Path, list[tuple[str, int, int]]]) -> None:
    """The map that is tested knows 32 of the 44 pictures."""
    steps = list(STEPS.items())
    steps.insert(5, (ALIKE, 32))
    assert whole[1] == [(name, k, n) for name, n in steps for k in range(1, n + 1)]


def test_with_our_own_encoder(tiny_site: Path, gallery: Any) -> None:
    site = open_map(tiny_site)
    assert site.info.encoder.file is None
    assert set(site.info.files) | {'map.yaml'} == FILES - {'encoder.onnx', 'encoder.probe.npz'}
    fix = Localizer.of(site).locate(gallery.drawn[20].views)
    assert isinstance(fix.verdict, Verdict)
    assert fix.reason
    assert site.info.provenance.self_test['queries'] == 0


def test_the_same_seed_gives_the_same_map(
    whole: tuple[Path, Any], gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    build_map(gallery, ['run1'], tmp_path / 'site', tiny_config)
    assert tree(tmp_path / 'site') == tree(whole[0])


def test_another_seed_gives_another_map(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    heads = set()
    for seed in (0, 1, 0):
        build_map(small(gallery), [], tmp_path / 'site', replace(tiny_config, seed=seed))
        heads.add((tmp_path / 'site' / 'submaps' / '00' / 'head.safetensors').read_bytes())
    assert len(heads) == 2


def stopping(step: str, at: int) -> Callable[[str, int, int], None]:
    def report(name: str, done: int, total: int) -> None:
        if (name, done) == (step, at):
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize(
    ('step', 'at', 'kept'),
    [
        ('reading', 7, set()),
        ('looking', 7, set()),
        (ALIKE, 7, {'looking'}),
        ('encoding', 16, {'looking'}),
        ('training', 1, {'looking', 'encoding'}),
        ('training', 30, {'looking', 'encoding'}),
        ('testing', 3, {'looking', 'encoding', 'training'}),
        ('training with all', 13, {'looking', 'encoding', 'training', 'testing'}),
    ],
)
def test_interrupted_and_run_again_is_the_same_map(
    whole: tuple[Path, Any],
    gallery: Any,
    tiny_config: MappingConfig,
    tmp_path: Path,
    sites: Any,
    step: str,
    at: int,
    kept: set[str],
) -> None:
    out, seen = tmp_path / 'site', []
    sites.write(out)
    with pytest.raises(KeyboardInterrupt):
        build_map(gallery, ['run1'], out, tiny_config, stopping(step, at))
    assert sites.holds(out, 'old')
    build_map(gallery, ['run1'], out, tiny_config, lambda *x: seen.append(x))
    assert tree(out) == tree(whole[0])
    assert [p.name for p in tmp_path.iterdir()] == ['site']
    assert {name for name, _, _ in seen} == set(STEPS) - kept
    if step.startswith('training') and at < STEPS[step]:
        assert min(done for name, done, _ in seen if name == step) == at  # the step before is kept


def test_interrupted_while_the_map_is_written(
    whole: tuple[Path, Any],
    gallery: Any,
    tiny_config: MappingConfig,
    tmp_path: Path,
    sites: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / 'site'
    sites.write(out)

    def stops(*_: object) -> bytes:
        raise KeyboardInterrupt

    for place, name in ((module, '_write'), (module.MapWriter, 'finish')):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, stops)
            with pytest.raises(KeyboardInterrupt):
                build_map(gallery, ['run1'], out, tiny_config)
    assert sites.holds(out, 'old')
    build_map(gallery, ['run1'], out, tiny_config)
    assert tree(out) == tree(whole[0])
    assert [p.name for p in tmp_path.iterdir()] == ['site']


def test_other_settings_or_other_depth_do_not_go_on_with_it(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    out, seen = tmp_path / 'site', []
    blind = type(gallery)(change=without_depth)
    slower = replace(tiny_config.training, depth_weight=0.5)
    others = [(blind, tiny_config), (gallery, replace(tiny_config, training=slower))]
    for source, config in [(gallery, tiny_config), *others]:
        with pytest.raises(KeyboardInterrupt):
            build_map(source, ['run1'], out, config, stopping('training', 2))

        def report(name: str, done: int, total: int) -> None:
            seen.append(name)
            stopping('training', 2)(name, done, total)

        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            build_map(source, ['run1'], out, config, report)
        assert not {'looking', 'encoding'} & set(seen)
    with pytest.raises(KeyboardInterrupt):
        build_map(gallery, ['run1'], out, tiny_config, stopping('encoding', 2))


def without_depth(k: int, frame: Frame) -> Frame:
    return replace(frame, views=tuple(replace(v, depth=None) for v in frame.views))


def small(gallery: Any) -> Any:
    """Too few pictures to spare some for a test."""
    return type(gallery)(12)


def test_too_few_pictures_to_test(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    seen: set[str] = set()
    made = build_map(small(gallery), [], tmp_path / 'site', tiny_config, lambda *x: seen.add(x[0]))
    assert seen == {'reading', 'looking', ALIKE, 'encoding', 'training'}
    assert made.info.calibration is None
    assert made.info.provenance.self_test['queries'] == 0
    assert in_words(made.info.provenance.self_test).startswith('not tested')


def test_an_instant_map_is_not_trained(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    seen: set[str] = set()
    config = replace(tiny_config, instant=True)
    made = build_map(gallery, [], tmp_path / 'site', config, lambda *x: seen.add(x[0]))
    assert seen == {'reading', 'looking', ALIKE, 'testing'}
    assert made.info.provenance.self_test['queries'] == STEPS['testing']
    assert made.info.calibration is not None
    (submap,) = made.info.submaps
    assert (submap.head, submap.landmarks) == (None, 'submaps/00/landmarks.npz')
    assert Localizer.of(made).locate(gallery.drawn[20].views).reason


def test_an_instant_map_needs_points(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    """Without depth they come from other places, and here there are none."""

    def standing(k: int, frame: Frame) -> Frame:
        return replace(without_depth(k, frame), T_map_base=np.eye(4))

    source = type(gallery)(change=standing)
    with pytest.raises(BagError, match='no points for an instant map'):
        build_map(source, [], tmp_path / 'site', replace(tiny_config, instant=True))


def test_a_rig_without_depth(gallery: Any, tiny_config: MappingConfig, tmp_path: Path) -> None:
    first = gallery.cameras[0].T_base_cam
    rig = type(gallery)(8, (first, first @ se3.exp([0.3, 0, 0, 0, 0.1, 0])), without_depth)
    made = build_map(rig, ['a', 'b'], tmp_path / 'site', tiny_config)
    assert [c.name for c in made.info.cameras] == ['camera_0', 'camera_1']
    fix = Localizer.load(tmp_path / 'site').locate(rig.drawn[0].views)
    assert fix.reason


def test_two_builds_of_one_map(gallery: Any, tiny_config: MappingConfig, tmp_path: Path) -> None:
    """The second is refused, and does the first no harm."""
    out, refused = tmp_path / 'site', []

    def report(name: str, done: int, total: int) -> None:
        if (name, done) == ('training', 3):
            with pytest.raises(MapError, match='another process') as caught:
                build_map(small(gallery), [], out, tiny_config)
            refused.append(caught.value)

    made: Map = build_map(small(gallery), [], out, tiny_config, report)
    assert refused
    assert open_map(out).info == made.info


KILLED = """
import os, signal, sys
from vloc_models.mapping import heads
train = heads.train_head
def dies(*args):
    *others, report = args
    def after(step, loss):
        report(step, loss)
        if step == 9:
            os.kill(os.getpid(), signal.SIGKILL)
    return train(*others, after)
heads.train_head = dies
from vloc_models.commands.main import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_killed_by_the_kernel_and_run_again_is_the_same_map(
    gallery: Any, tmp_path: Path, sites: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command, with our own encoder and every graph really exported."""
    monkeypatch.undo()
    bag, out = tmp_path / 'run', tmp_path / 'maps' / 'site'
    write_bag(bag, gallery.drawn)
    words = ['--buffer.cells', '6000', '--training.batch', '512', '--training.head.width', '32']
    words += ['--training.loop.steps', '40', '--training.loop.checkpoint-s', '0']
    words = ['map', str(bag), *words, '-o']
    out.parent.mkdir()
    sites.write(out)
    run = [sys.executable, '-c', KILLED, *words, str(out)]
    assert subprocess.run(run, check=False, timeout=200, env=dict(os.environ)).returncode == -9
    assert sites.holds(out, 'old')
    assert (out.with_name('.site.work') / 'first.pt').is_file()
    assert main([*words, str(out)]) == 0
    assert main([*words, str(tmp_path / 'other')]) == 0
    assert tree(out) == tree(tmp_path / 'other')
    assert [p.name for p in out.parent.iterdir()] == ['site']
