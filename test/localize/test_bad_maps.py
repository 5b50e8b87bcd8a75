"""Maps that are damaged, foreign or of another version are refused in a line that says why."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import MapError
from vloc_models.localize.encoder import NAME, shipped_graph
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.maps import Map, MapInfo, MapWriter, open_map
from vloc_models.records import Array


@pytest.fixture
def copied(tiny_site: Path, tmp_path: Path) -> Path:
    """A map that may be changed."""
    return Path(shutil.copytree(tiny_site, tmp_path / 'site'))


def rewritten(
    path: Path, change: Callable[[MapInfo], MapInfo], arrays: Callable[[Any], Any] | None = None
) -> Path:
    """The map with other entries, or with another probe of its head."""
    site: Map = open_map(path)
    with MapWriter(path) as writer:
        for name in site.info.files:
            if arrays is not None and name.endswith('probe.npz'):
                writer.add_arrays(name, **arrays(site.read_arrays(name)))
            else:
                writer.add_bytes(name, site.read_bytes(name))
        writer.finish(change(site.info))
    return path


def same(info: MapInfo) -> MapInfo:
    return info


def refused(path: Path, words: str) -> MapError:
    with pytest.raises(MapError, match=words) as caught:
        Localizer.load(path)
    return caught.value


def test_an_encoder_of_another_version_is_named_with_this_one(copied: Path) -> None:
    def other(info: MapInfo) -> MapInfo:
        return replace(info, encoder=replace(info.encoder, name='vloc-old', sha256='ab' * 32))

    e = refused(rewritten(copied, other), r'encoder vloc-old \(abababababab\)')
    assert hashlib.sha256(shipped_graph()).hexdigest()[:12] in e.what
    assert NAME != 'vloc-old'
    assert 'build the map again' in e.fix


def test_a_map_without_an_encoder_of_its_own_needs_its_probe(copied: Path) -> None:
    def own(info: MapInfo) -> MapInfo:
        return replace(info, encoder=replace(info.encoder, file=info.submaps[0].head))

    refused(rewritten(copied, own), r'encoder .* has no probe')


def with_submap(**change: Any) -> Callable[[MapInfo], MapInfo]:
    return lambda info: replace(info, submaps=(replace(info.submaps[0], **change),))


def test_a_head_without_a_probe_is_refused(copied: Path) -> None:
    refused(rewritten(copied, with_submap(probe=None)), r'sub-map 00.*no probe')


def test_a_map_that_answers_with_nothing_is_refused(copied: Path) -> None:
    refused(
        rewritten(copied, with_submap(head=None, landmarks=None)), 'neither head nor landmarks'
    )
    refused(rewritten(copied, lambda info: replace(info, submaps=())), 'no sub-map')


@pytest.mark.parametrize(('use', 'words'), [('head', 'no head'), ('landmarks', 'no landmarks')])
def test_what_a_map_has_not_cannot_be_used(copied: Path, use: Any, words: str) -> None:
    rewritten(copied, with_submap(**{use: None}))
    Localizer.load(copied)
    with pytest.raises(MapError, match=words):
        Localizer.load(copied, LocalizerConfig(use))


def shifted(probe: dict[str, Array]) -> dict[str, Array]:
    return probe | {'output_points': probe['output_points'] + np.float32(0.5)}


def of_others(probe: dict[str, Array]) -> dict[str, Array]:
    return {name.replace('points', 'features2'): x for name, x in probe.items()}


def nan(probe: dict[str, Array]) -> dict[str, Array]:
    return probe | {'output_points': probe['output_points'] * np.float32('nan')}


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [(shifted, 'points differs'), (of_others, 'holds'), (nan, 'NaN')],
)
def test_a_head_that_disagrees_with_its_probe_is_refused(
    copied: Path, spoil: Any, words: str
) -> None:
    assert 'sub-map 00' in refused(rewritten(copied, same, spoil), words).what


def test_a_head_that_is_no_graph_is_refused(copied: Path) -> None:
    site = open_map(copied)
    head, data = 'submaps/00/head.onnx', {n: site.read_bytes(n) for n in site.info.files}
    with MapWriter(copied) as writer:
        for name, raw in data.items():
            writer.add_bytes(name, b'nonsense' if name == head else raw)
        writer.finish(site.info)
    refused(copied, r'sub-map 00.*cannot load')


def test_no_map_is_named(tmp_path: Path) -> None:
    refused(tmp_path / 'site', 'no such map folder')


def test_landmarks_that_are_not_whole_are_refused(copied: Path) -> None:
    site = open_map(copied)
    name = 'submaps/00/landmarks.npz'
    arrays, data = site.read_arrays(name), {n: site.read_bytes(n) for n in site.info.files}
    with MapWriter(copied) as writer:
        for other, raw in data.items():
            if other != name:
                writer.add_bytes(other, raw)
        writer.add_arrays(name, **arrays | {'points': arrays['points'] * np.float32('nan')})
        writer.finish(site.info)
    refused(copied, r'landmarks\.npz: its landmarks are not whole')
