"""Maps with HSCNet: built, killed, built on, and asked by their network alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from map_files import tree
from safetensors import numpy as safetensors

from vloc_models.errors import BagError, VlocError
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.mapping import build_map as build_map_module
from vloc_models.mapping import heads
from vloc_models.mapping.build_map import MappingConfig, build_map
from vloc_models.mapping.self_test import NOT_TESTED
from vloc_models.maps import open_map
from vloc_models.networks.hscnet import HscnetConfig, Widths
from vloc_models.networks.hscnet_lite import HscnetLiteConfig
from vloc_models.records import Frame
from vloc_models.training.hscnet import HscnetTraining
from vloc_models.training.loop import LoopConfig

WALL_M = 3.0  # where the wall stands, y in the map
WIDTHS = Widths(8, 8, (8,), (8,), (8,), (8,), (4, 4, 8, 8, 8, 8, 8, 16))
TESTED = 'sparse'  # while it is built: each export takes seconds
PRESETS = ('lite', 'sparse', 'full')
INPUTS = {'lite': {'features'}, 'sparse': {'features', 'picture'}, 'full': {'image'}}


def install(build_soon: Any, patch: pytest.MonkeyPatch, preset: str) -> None:
    build_soon(patch)
    if preset != TESTED:
        patch.setattr(build_map_module, '_tested', lambda *_: NOT_TESTED)


@pytest.fixture(autouse=True)
def soon(build_soon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_soon(monkeypatch)


@pytest.fixture
def no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is exported; the map cannot be asked."""
    monkeypatch.setattr(heads, 'head_graph', lambda head: b'graph')


def config(tiny: MappingConfig, preset: Any, steps: int = 30, **changes: Any) -> MappingConfig:
    """Of networks that are made in seconds."""
    loop = LoopConfig(steps, max_lr=5e-3, checkpoint_s=0)
    how = HscnetTraining(
        preset,
        (3, 3),
        batch=512,
        lite=HscnetLiteConfig(width=32, classifier=(16,), regressor=(32,), generator=(8, 8)),
        full=HscnetConfig(regressor=(16,), widths=WIDTHS),
        loop=loop,
        full_loop=loop,
    )
    return replace(tiny, method='hscnet', hscnet=replace(how, **changes))


@pytest.fixture(scope='module')
def whole(
    gallery: Any, tiny_config: MappingConfig, build_soon: Any, tmp_path_factory: Any
) -> Callable[[str], tuple[Path, list[tuple[str, int, int]]]]:
    """Of a preset a map that was built without interruption, and what was reported meanwhile."""
    known: dict[str, tuple[Path, list[tuple[str, int, int]]]] = {}

    def build(preset: str) -> tuple[Path, list[tuple[str, int, int]]]:
        if preset not in known:
            path, seen = tmp_path_factory.mktemp(preset) / 'site', []
            with pytest.MonkeyPatch.context() as patch:
                install(build_soon, patch, preset)
                how = config(tiny_config, preset)
                build_map(gallery, ['run1'], path, how, lambda *x: seen.append(x))
            known[preset] = path, seen
        return known[preset]

    return build


@pytest.mark.parametrize('preset', PRESETS)
def test_a_map_is_whole_and_its_network_answers(whole: Any, gallery: Any, preset: str) -> None:
    path, seen = whole(preset)
    site = open_map(path)
    (submap,) = site.info.submaps
    assert submap.network == 'hscnet'
    assert submap.head == 'submaps/00/head.onnx'
    assert {name for name, _, _ in seen} >= {'encoding', 'training', 'training with all'}
    assert site.info.provenance.self_test['queries'] == (6 if preset == TESTED else 0)
    localizer = Localizer.of(site, LocalizerConfig('head', threads=1))
    (part,) = localizer.parts.usable
    assert part.head is not None
    assert set(part.head.engine.inputs) == INPUTS[preset]
    assert part.head.wants_image is (preset == 'full')
    answer = localizer.explain(gallery.drawn[20].views, stamp_ns=5)
    assert answer.fix.stamp_ns == 5
    assert answer.fix.reason
    (seen_,) = answer.observations
    count = len(seen_.coordinates.pixels)
    assert count > 50
    assert seen_.coordinates.points.shape == (count, 3)
    assert ((seen_.coordinates.confidence >= 0) & (seen_.coordinates.confidence < 1)).all()
    assert Localizer.of(site).locate(gallery.drawn[20].views).reason
    if preset != 'full':  # that one sees nothing yet after so few steps
        away = np.median(seen_.coordinates.points[:, 1]) - WALL_M
        assert abs(away) < 0.3


def stopping(step: str, at: int) -> Callable[[str, int, int], None]:
    def report(name: str, done: int, total: int) -> None:
        if (name, done) == (step, at):
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize(
    ('preset', 'step', 'at'),
    [
        ('lite', 'training', 9),
        ('sparse', 'training with all', 7),
        ('full', 'training with all', 1),
    ],
)
def test_interrupted_and_run_again_is_the_same_map_of_the_same_seed(
    whole: Any,
    gallery: Any,
    tiny_config: MappingConfig,
    tmp_path: Path,
    sites: Any,
    build_soon: Any,
    monkeypatch: pytest.MonkeyPatch,
    preset: str,
    step: str,
    at: int,
) -> None:
    install(build_soon, monkeypatch, preset)
    out, seen = tmp_path / 'site', []
    how = config(tiny_config, preset)
    sites.write(out)
    with pytest.raises(KeyboardInterrupt):
        build_map(gallery, ['run1'], out, how, stopping(step, at))
    assert sites.holds(out, 'old')
    build_map(gallery, ['run1'], out, how, lambda *x: seen.append(x))
    assert tree(out) == tree(whole(preset)[0])
    assert [p.name for p in tmp_path.iterdir()] == ['site']
    assert 'encoding' not in {name for name, _, _ in seen}
    if step.startswith('training'):
        assert min(done for name, done, _ in seen if name == step) == at


@pytest.mark.usefixtures('no_graph')
def test_another_method_does_not_go_on_with_it(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    seen: set[str] = set()
    how = config(tiny_config, 'lite', 5)
    with pytest.raises(KeyboardInterrupt):
        build_map(small(gallery), [], tmp_path / 'site', how, stopping('training', 2))
    for other in (tiny_config, replace(how, hscnet=replace(how.hscnet, branching=(4, 3)))):
        seen.clear()
        build_map(small(gallery), [], tmp_path / 'site', other, lambda *x: seen.add(x[0]))
        assert 'looking' in seen


def small(gallery: Any) -> Any:
    """Too few pictures to spare some for a test."""
    return type(gallery)(12)


def without_depth(k: int, frame: Frame) -> Frame:
    return replace(frame, views=tuple(replace(v, depth=None) for v in frame.views))


def refused(source: Any, how: MappingConfig, out: Path, words: str) -> set[str]:
    """What was done before a build was refused, in one line."""
    seen: set[str] = set()
    with pytest.raises(VlocError, match=words) as caught:
        build_map(source, [], out, how, lambda *x: seen.add(x[0]))
    assert '\n' not in str(caught.value)
    return seen


@pytest.mark.parametrize('preset', PRESETS)
def test_a_recording_without_depth_is_known_at_once(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path, sites: Any, preset: str
) -> None:
    """And not after minutes of encoding."""
    sites.write(tmp_path / 'site')
    source = type(gallery)(12, change=without_depth)
    how = config(tiny_config, preset)
    seen = refused(source, how, tmp_path / 'site', 'hscnet.*depth')
    assert seen == {'reading'}
    assert sites.holds(tmp_path / 'site', 'old')
    instant = replace(how, instant=True)  # needs no network
    with pytest.raises(BagError, match='no points for an instant map') as caught:
        build_map(type(gallery)(12, change=standing), [], tmp_path / 'other', instant)
    assert 'hscnet' not in str(caught.value)


def standing(k: int, frame: Frame) -> Frame:
    return replace(without_depth(k, frame), T_map_base=np.eye(4))


def some_without_depth(k: int, frame: Frame) -> Frame:
    return without_depth(k, frame) if k % 2 else frame


@pytest.mark.usefixtures('no_graph')
@pytest.mark.parametrize('preset', PRESETS)
def test_some_pictures_without_depth_do_not_matter(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path, preset: str
) -> None:
    source = type(gallery)(14, change=some_without_depth)
    made = build_map(source, [], tmp_path / 'site', config(tiny_config, preset, 5))
    assert made.info.submaps[0].network == 'hscnet'


def test_more_regions_than_points_are_named(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    how = config(tiny_config, 'lite', branching=(90, 90))
    refused(small(gallery), how, tmp_path / 'site', r'8100 regions.*--hscnet\.branching')


def test_a_sparse_network_without_landmarks_is_known_at_once(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    """It could never be asked."""
    how = config(tiny_config, 'sparse')
    how = replace(how, landmarks=replace(how.landmarks, per_picture=0))
    seen = refused(small(gallery), how, tmp_path / 'site', r'sparse.*landmarks')
    assert seen <= {'reading'}


@pytest.mark.usefixtures('no_graph')
def test_a_network_alone_of_two_scenes_in_three_levels(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    how = config(tiny_config, 'lite', 5, branching=(2, 2, 3), scenes=2)
    how = replace(how, landmarks=replace(how.landmarks, per_picture=0))
    made = build_map(small(gallery), [], tmp_path / 'site', how)
    assert made.info.submaps[0].landmarks is None
    weights = safetensors.load(made.read_bytes('submaps/00/head.safetensors'))
    assert weights['centre'].shape == (4 * 2 * 3, 3)
