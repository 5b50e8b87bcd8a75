"""A place too large for one sub-map: made in parts, joined, and looked in where it matters."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.helpers.map_files import tree
from vloc_models.errors import MapError
from vloc_models.localize.by_landmarks import Answer
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.mapping import make_map as module
from vloc_models.mapping.build_map import MappingConfig
from vloc_models.mapping.join import places_of
from vloc_models.mapping.make_map import make_map
from vloc_models.mapping.split import SplitConfig
from vloc_models.maps import Map, MapWriter, open_map
from vloc_models.records import Array, Verdict

COUNT = 60


@pytest.fixture(scope='module')
def config(tiny_config: MappingConfig) -> MappingConfig:
    return replace(tiny_config, instant=True, split=SplitConfig(max_m=1.7))


@pytest.fixture(scope='module')
def drive(gallery: Any) -> Any:
    return type(gallery)(COUNT)


@pytest.fixture(scope='module')
def divided(drive: Any, config: MappingConfig, tmp_path_factory: Any) -> tuple[Map, set[str]]:
    seen: set[str] = set()
    path = tmp_path_factory.mktemp('divided') / 'site'
    return make_map(drive, ['run'], path, config, lambda *x: seen.add(x[0])), seen


@pytest.fixture
def copied(divided: tuple[Map, set[str]], tmp_path: Path) -> Map:
    """A copy that may be spoilt."""
    site = divided[0]
    with MapWriter(tmp_path / 'site') as writer:
        for name in site.info.files:
            writer.add_bytes(name, site.read_bytes(name))
        return writer.finish(site.info)


def pose(answer: Answer) -> Array:
    assert answer.T_map_base is not None
    return answer.T_map_base


def test_a_small_place_is_one_part(gallery: Any, config: MappingConfig, tmp_path: Path) -> None:
    made = make_map(gallery, [], tmp_path / 'site', replace(config, split=SplitConfig()))
    (submap,) = made.info.submaps
    assert submap.name == '00'
    assert not list(tmp_path.glob('.site*'))


def test_a_large_place_is_two(divided: tuple[Map, set[str]], drive: Any) -> None:
    site, seen = divided
    assert [s.name for s in site.info.submaps] == ['00', '01']
    assert {f'submaps/{n}/landmarks.npz' for n in ('00', '01')} <= set(site.info.files)
    places = places_of(site)
    assert set(places.submap.tolist()) == {0, 1}
    assert COUNT * 1.15 < len(places.submap) < COUNT * 1.25  # those at the border in both
    assert {'part 1 of 2: looking', 'part 2 of 2: looking', 'looking around'} <= seen
    assert site.info.prior is None  # nobody asked for one
    figures = site.info.provenance.self_test
    assert figures['map_seconds'] > 0  # pyright: ignore
    assert site.folder.parent == site.folder.resolve().parent
    assert not list(site.folder.parent.glob('.site*'))


def test_each_picture_is_found_in_the_part_it_is_of(
    divided: tuple[Map, set[str]], drive: Any
) -> None:
    localizer = Localizer.of(divided[0])
    for k, name in ((3, '00'), (COUNT - 4, '01')):
        answer = localizer.explain(drive.drawn[k].views)
        assert answer.fix.verdict is Verdict.ACCEPTED
        assert answer.submap is not None
        assert answer.submap.name == name
        np.testing.assert_allclose(pose(answer), drive.T_map_base(k), atol=0.02)
        assert 1 <= answer.looked_in <= 2


def test_a_prior_in_the_other_part_leads_nobody_astray(
    divided: tuple[Map, set[str]], drive: Any
) -> None:
    localizer = Localizer.of(divided[0], LocalizerConfig(parts=1))
    answer = localizer.explain(drive.drawn[3].views, prior=drive.T_map_base(COUNT - 4))
    assert answer.fix.verdict is Verdict.ACCEPTED
    np.testing.assert_allclose(pose(answer), drive.T_map_base(3), atol=0.02)
    assert answer.looked_in == 2  # where odometry leads, and where it looks like it


def test_without_votes_all_parts_are_looked_in(divided: tuple[Map, set[str]], drive: Any) -> None:
    localizer = Localizer.of(divided[0])
    blind = replace(localizer, parts=replace(localizer.parts, index=None))
    answer = blind.explain(drive.drawn[COUNT - 4].views)
    assert answer.fix.verdict is Verdict.ACCEPTED
    assert answer.looked_in == 2


def test_a_part_of_another_encoder_is_left_out(
    copied: Map, drive: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = copied.info.submaps
    with MapWriter(copied.folder) as writer:
        for name in copied.info.files:
            writer.add_bytes(name, copied.read_bytes(name))
        other = replace(second, encoder='ab' * 32)
        writer.finish(replace(copied.info, submaps=(first, other)))
    localizer = Localizer.load(copied.folder)
    assert 'sub-map 01 was made with another encoder' in caplog.text
    assert localizer.locate(drive.drawn[3].views).verdict is Verdict.ACCEPTED
    away = localizer.explain(drive.drawn[COUNT - 4].views)
    assert away.submap is None or away.submap.name == '00'


@pytest.mark.parametrize('spoil', [Path.unlink, lambda file: file.write_bytes(b'nonsense')])
def test_a_part_that_is_damaged_is_left_out(
    copied: Map, drive: Any, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(copied.folder / 'submaps/00/landmarks.npz')
    localizer = Localizer.load(copied.folder)
    assert 'left out' in caplog.text
    assert localizer.locate(drive.drawn[COUNT - 4].views).verdict is Verdict.ACCEPTED
    spoil(copied.folder / 'submaps/01/landmarks.npz')
    with pytest.raises(MapError, match=r'landmarks\.npz'):
        Localizer.load(copied.folder)


def test_an_index_that_names_no_sub_map_is_refused(copied: Map) -> None:
    with MapWriter(copied.folder) as writer:
        for name in copied.info.files:
            writer.add_bytes(name, copied.read_bytes(name))
        writer.finish(replace(copied.info, submaps=copied.info.submaps[:1]))
    with pytest.raises(MapError, match='names a sub-map that is not there'):
        Localizer.load(copied.folder)


def test_a_killed_build_goes_on_with_the_same_result(
    divided: tuple[Map, set[str]],
    drive: Any,
    config: MappingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build, made = module.build_map, list[str]()

    def dying(source: Any, bags: Any, out: Path, *rest: Any) -> Map:
        made.append(out.name)
        if len(made) == 2:
            raise KeyboardInterrupt
        return build(source, bags, out, *rest)

    monkeypatch.setattr(module, 'build_map', dying)
    path = tmp_path / 'site'
    with pytest.raises(KeyboardInterrupt):
        make_map(drive, ['run'], path, config)
    assert not path.exists()
    make_map(drive, ['run'], path, config)
    assert made == ['00', '01', '01']
    assert tree(path) == tree(divided[0].folder)
    assert open_map(path).info.submaps == divided[0].info.submaps
