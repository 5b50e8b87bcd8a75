"""A file of sites: settings of all and of one, paths beside the file, and every mistake a line."""

from pathlib import Path

import pytest

from vloc_models.errors import VlocError
from vloc_models.frames.options import BagOptions
from vloc_models.mapping.build_map import MappingConfig
from vloc_models.mapping.sites import Site, read_sites

LIST = """
sites:
  - name: hall
    bags: [run1, deep/run2]
  - name: kitchen
    bags: [run1]
    out: maps/kitchen
    recording: {image_topics: [/front], every: 2, max_gap_s: 1, camera: lens.yaml, poses: way.tum}
    mapping: {seed: 3, training: {loop: {steps: 7}}, encoder: {weights: own.pt}}
"""


def written(folder: Path, text: str) -> Path:
    for name in ('run1', 'deep/run2'):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / 'run.mcap').write_bytes(b'1')
    for name in ('way.tum', 'lens.yaml', 'own.pt'):
        (folder / name).touch()
    (folder / 'sites.yaml').write_text(text)
    return folder / 'sites.yaml'


def read(path: Path) -> list[Site]:
    return read_sites(path, BagOptions(every=5, start_s=1), MappingConfig(max_images=77))


def test_a_list(tmp_path: Path) -> None:
    hall, kitchen = read(written(tmp_path, LIST))
    bags = tmp_path / 'run1', tmp_path / 'deep' / 'run2'
    assert hall == Site(
        'hall',
        bags,
        tmp_path / 'hall',
        BagOptions(every=5, start_s=1),
        MappingConfig(max_images=77),
    )
    assert (kitchen.name, kitchen.out) == ('kitchen', tmp_path / 'maps' / 'kitchen')
    assert kitchen.options == BagOptions(
        image_topics=('/front',),
        every=2,
        start_s=1,
        max_gap_s=1.0,
        camera=tmp_path / 'lens.yaml',
        poses=str(tmp_path / 'way.tum'),
    )
    assert (kitchen.config.seed, kitchen.config.max_images) == (3, 77)
    assert kitchen.config.training.loop.steps == 7
    assert kitchen.config.training.batch == MappingConfig().training.batch
    assert kitchen.config.encoder.weights == tmp_path / 'own.pt'


def test_what_a_map_is_made_of(tmp_path: Path) -> None:
    hall, kitchen = read(written(tmp_path, LIST))
    inside = {p.relative_to(tmp_path).as_posix() for p in hall.files()}
    assert inside == {'run1/run.mcap', 'deep/run2/run.mcap'}
    inside = {p.relative_to(tmp_path).as_posix() for p in kitchen.files()}
    assert inside == {'run1/run.mcap', 'way.tum', 'lens.yaml', 'own.pt'}


def test_paths_are_those_of_the_file_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, LIST)
    (tmp_path / 'auto').touch()  # a word stays a word
    monkeypatch.chdir(tmp_path)
    mine = BagOptions(camera=Path('lens.yaml'))
    hall, kitchen = read_sites(Path('sites.yaml'), mine, MappingConfig())
    assert hall.out == tmp_path / 'hall'
    assert hall.bags[1] == tmp_path / 'deep' / 'run2'
    assert hall.options.camera == kitchen.options.camera == tmp_path / 'lens.yaml'
    assert hall.options.poses == 'auto'
    assert kitchen.options.poses == str(tmp_path / 'way.tum')


@pytest.mark.parametrize(
    ('text', 'complaint'),
    [
        ('', r'no sites; list some'),
        ('sites: []', r'no sites; list some'),
        ('sites: 3', r'sites must be'),
        ('places: []', r"unknown key \['places'\]; known are \['sites'\]"),
        ('[run1]', r'not a mapping'),
        ('sites: [{name: a}]', r'bags'),
        ('sites: [{bags: [run1]}]', r'name'),
        ('sites: [{name: a, bags: run1}]', r'bags'),
        ('sites: [{name: a, bags: []}]', r'site a: no recording is named'),
        ('sites: [{name: a, bags: [run1], speed: 3}]', r"unknown key \['speed'\]"),
        ('sites: [{name: a/b, bags: [run1]}]', r"name 'a/b'; give each site a plain name"),
        ('sites: [{name: "", bags: [run1]}]', r"name ''"),
        ('sites: [{name: a, bags: [none]}]', r'site a: .*/none: no such bag'),
        ('sites: [{name: run1, bags: [run1]}]', r'site run1: .*/run1 is its recording'),
        ('sites: [{name: a, bags: [run1], out: run1/map}]', r'run1/map is its recording'),
        ('sites: [{name: a, bags: [run1]}, {name: a, bags: [run1], out: b}]', r"name 'a'; give"),
        (
            'sites: [{name: a, bags: [run1]}, {name: b, bags: [run1], out: deep/../a}]',
            r'sites a and b both write to .*/a; name another "out"',
        ),
        (
            'sites: [{name: a, bags: [run1]}, {name: b, bags: [run1], out: a/submaps}]',
            r'sites a and b both write',
        ),
        (
            'sites: [{name: a, bags: [run1], mapping: {speed: 3}}]',
            r"site a: mapping: unknown key \['speed'\]; known are .*seed",
        ),
        (
            'sites: [{name: a, bags: [run1], mapping: {seed: fast}}]',
            r'site a: mapping: seed must be int',
        ),
        (
            'sites: [{name: a, bags: [run1], recording: {every: 0}}]',
            r'site a: recording: bag options: every=0 makes no sense',
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path, text)
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(VlocError, match=complaint) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert '\n' not in str(caught.value)
    assert sorted(tmp_path.rglob('*')) == before


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(VlocError, match=r'sites.yaml: No such file'):
        read(tmp_path / 'sites.yaml')
