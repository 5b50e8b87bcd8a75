"""Maps are read back as written; one from a stranger is refused in one line."""

import hashlib
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_models import maps, npz
from vloc_models.errors import MapError, VlocError
from vloc_models.geometry import se3
from vloc_models.mapping.realign import realign
from vloc_models.maps import Map, MapInfo, open_map

# --- what is written comes back ---


def test_round_trip(sites: Any, site: Path) -> None:
    found = open_map(site)
    assert set(found.info.files) == set(sites.contents('old'))
    assert MapInfo(**{**vars(found.info), 'files': {}}) == sites.INFO
    np.testing.assert_array_equal(found.read_arrays('index.npz')['desc'], np.full((2, 5), 3))
    assert found.size_bytes() == sum(map(len, sites.tree(site).values()))
    assert [p.name for p in site.parent.iterdir()] == ['site']


def test_same_contents_same_bytes(sites: Any, site: Path) -> None:
    sites.write(site.parent / 'again')
    assert sites.tree(site) == sites.tree(site.parent / 'again')


def test_replace(sites: Any, site: Path) -> None:
    old = open_map(site)
    sites.write(site, 'new')
    assert sites.holds(site, 'new')
    assert [p.name for p in site.parent.iterdir()] == ['site']
    with pytest.raises(MapError, match='open the map again'):
        old.read_bytes('submaps/00/head.onnx')


def test_through_a_link(sites: Any, tmp_path: Path) -> None:
    (tmp_path / 'current').symlink_to('v1')
    sites.write(tmp_path / 'current')
    assert (tmp_path / 'current').is_symlink()
    assert sites.holds(tmp_path / 'current', 'old')
    assert sites.holds(tmp_path / 'v1', 'old')


def test_realigned_it_is_told_in_another_frame(sites: Any, site: Path) -> None:
    T = se3.from_xyz_rpy([1 / 3, -2e6, 0.5], [0.1, -0.2, 3.0])
    old = open_map(site)
    new = realign(old, T)
    assert new.info == open_map(site).info
    np.testing.assert_array_equal(np.array(new.info.T_frame_map), T)  # to the last bit
    assert new.info.files == old.info.files
    assert sites.holds(site, 'old')
    assert realign(new, np.eye(4)).info == old.info
    assert [p.name for p in site.parent.iterdir()] == ['site']


def test_realigned_by_what_is_no_transform_it_stays(sites: Any, site: Path) -> None:
    before = sites.tree(site)
    with pytest.raises(VlocError, match='T_frame_map holds NaN'):
        realign(open_map(site), np.full((4, 4), np.nan))
    (site / 'notes.txt').touch()
    with pytest.raises(MapError, match=r"'notes.txt' is no part of the map"):
        realign(open_map(site), se3.from_xyz_rpy([1, 2, 3], [0, 0, 1]))
    (site / 'notes.txt').unlink()
    assert sites.tree(site) == before


def test_an_old_map_without_an_alignment_is_told_as_recorded(sites: Any, site: Path) -> None:
    sites.edit(site, lambda data: data.pop('T_frame_map'))
    assert open_map(site).info.T_frame_map == tuple(map(tuple, np.eye(4).tolist()))


# --- a map that must not be trusted ---


def set_(*keys: str | int, to: object) -> Callable[[dict], None]:
    def change(data: dict) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = to

    return change


BAD_NAMES = ['/etc/passwd', '../x', 'a/../../x', 'a\\..\\x', '.hidden', 'a//b', 'a/', 'C:x', '',
             'a\nb', 'a b', 'map.yaml', 'x' * 201, 'ä', 'a/b/c/d/e/f', './a', '~/a']  # fmt: skip


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (set_('format', to=2), r'written by a newer vloc \(format 2\); update vloc'),
        (set_('format', to=0), 'no format number'),
        (set_('format', to=True), 'no format number'),
        (set_('format', to='1'), 'no format number'),
        (lambda d: d.pop('format'), 'no format number'),
        (lambda d: d.pop('encoder'), 'missing value for field "encoder"'),
        (set_('colour', to=1), r"unknown key \['colour'\]"),
        (set_('encoder', 'licence_text', to=''), 'unknown key'),
        (set_('encoder', 'short_side_px', to=63), 'encoder: pictures of 63 px'),
        (set_('encoder', 'short_side_px', to=4097), 'encoder: pictures of 4097 px'),
        (set_('encoder', 'short_side_px', to=-360), 'encoder: pictures of -360 px'),
        (set_('encoder', 'short_side_px', to='360'), 'short_side_px must be int'),
        (lambda d: d['encoder'].pop('short_side_px'), 'missing value .*"encoder.short_side_px"'),
        (set_('frame', to=3), 'frame must be str'),
        (set_('cameras', 0, 'camera', 'fx', to=-1.0), 'map.yaml: camera 640x480: fx -1'),
        (set_('cameras', 0, 'camera', 'model', to='x'), 'model must be'),
        (set_('cameras', 0, 'T_base_cam', to=[[1.0]]), 'T_base_cam is not 4x4'),
        (
            set_('cameras', 0, 'T_base_cam', to=[[2.0] * 4 for _ in range(4)]),
            'T_base_cam has the last row',
        ),
        (set_('T_frame_map', to=[[1.0]]), 'map.yaml: T_frame_map is not 4x4'),
        (set_('T_frame_map', to='x'), 'T_frame_map must be'),
        (set_('T_frame_map', to=(2 * np.eye(4)).tolist()), 'T_frame_map has the last row'),
        (set_('T_frame_map', to=np.diag([1.0, 1, -1, 1]).tolist()), 'T_frame_map mirrors space'),
        (set_('T_frame_map', 0, 3, to=float('inf')), 'T_frame_map holds NaN or infinity'),
        (set_('submaps', 0, 'centre_m', to=[0, 1]), 'centre_m must be'),
        (set_('calibration', 'covariance_scale', to=0.0), 'calibration: covariance times 0.0'),
        (set_('calibration', 'covariance_scale', to=1e6), 'calibration: covariance times 1000000'),
        (
            set_('calibration', 'covariance_scale', to=math.nan),
            'calibration: covariance times nan',
        ),
        (set_('calibration', 'min_inlier_ratio', to=0.0), r'calibration: .* 0\.0 inliers'),
        (set_('calibration', 'min_inlier_ratio', to=1.01), r'calibration: .* 1\.01 inliers'),
        (set_('calibration', 'min_inlier_ratio', to=math.nan), 'calibration: .* nan inliers'),
        (set_('calibration', 'errors', 0, 'median_cm', to='small'), 'median_cm must be float'),
        (set_('calibration', 'weights', to=[1.0]), r"unknown key \['weights'\]"),
        (lambda d: d['calibration'].pop('blocks'), 'missing value .*"calibration.blocks"'),
        (set_('index', to='other.npz'), "'other.npz' is named but not among the files"),
        (set_('index', to='../index.npz'), 'is named but not among the files'),
        (set_('files', 'index.npz', 'sha256', to='A' * 64), '64 hexadecimal'),
        (set_('files', 'index.npz', 'sha256', to='0' * 64), 'is not the file that was written'),
        (set_('files', 'index.npz', 'size_bytes', to=-1), 'size -1 is not allowed'),
        (set_('files', 'index.npz', 'size_bytes', to=10**13), 'is not allowed'),
        (set_('files', 'index.npz', 'size_bytes', to=7), r'bytes, not 7'),
        (set_('files', to=['index.npz']), 'files'),
        *[
            (set_('files', name, to={'sha256': '0' * 64, 'size_bytes': 0}), 'is not allowed')
            for name in BAD_NAMES
        ],
    ],
)
def test_bad_yaml(sites: Any, site: Path, change: Callable[[dict], object], words: str) -> None:
    sites.edit(site, change)
    with pytest.raises(MapError, match=words) as e:
        open_map(site)
    assert '\n' not in str(e.value)
    assert len(str(e.value)) < 1000


@pytest.mark.parametrize('size', [64, 360, 4096])
def test_encoders_that_want_pictures_of_a_size(sites: Any, site: Path, size: int) -> None:
    sites.edit(site, set_('encoder', 'short_side_px', to=size))
    assert open_map(site).info.encoder.short_side_px == size


def test_future_map_is_told_before_anything_else(site: Path) -> None:
    (site / 'map.yaml').write_text('{format: 7, everything: [is, different]}')
    with pytest.raises(MapError, match='update vloc'):
        open_map(site)


@pytest.mark.parametrize(
    'text',
    ['', 'a: [', '- 1', 'a: &a [x]\nb: [*a, *a]', 'a: ' + '[' * 3000, 'a: !!python/name:os.system',
     'a: !!timestamp x', 'a: 2026-13-01', '? {}', '%', 'format: 1\n---\nformat: 1'],
)  # fmt: skip
def test_no_yaml(site: Path, text: str) -> None:
    (site / 'map.yaml').write_text(text)
    with pytest.raises(MapError, match=r'map\.yaml: '):
        open_map(site)


def test_bounds(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, words in [
        ('MAX_FILES', 2, '3 files, .* too much'),
        ('MAX_MAP_BYTES', 100, 'too much'),
        ('MAX_FILE_BYTES', 100, 'is not allowed'),
        ('MAX_YAML_BYTES', 100, 'larger than 100 bytes'),
    ]:
        with monkeypatch.context() as m:
            m.setattr(maps, name, value)
            with pytest.raises(MapError, match=words):
                open_map(site)


def test_no_map(tmp_path: Path) -> None:
    with pytest.raises(MapError, match='no such map folder; build it with'):
        open_map(tmp_path / 'no')
    (tmp_path / 'file').touch()
    with pytest.raises(MapError, match='no such map folder'):
        open_map(tmp_path / 'file')
    (tmp_path / 'loop').symlink_to('loop')
    with pytest.raises(MapError):
        open_map(tmp_path / 'loop')
    with pytest.raises(MapError, match=r'cannot read map\.yaml: No such file'):
        open_map(tmp_path)


def test_missing_and_unlisted(site: Path) -> None:
    with pytest.raises(MapError, match=r"has no file 'prior\.onnx'"):
        open_map(site).read_bytes('prior.onnx')
    (site / 'index.npz').unlink()
    with pytest.raises(MapError, match=r'cannot read index\.npz: No such file'):
        open_map(site)


def test_links_and_special_files(sites: Any, site: Path) -> None:
    file, raw = site / 'index.npz', (site / 'index.npz').read_bytes()
    file.rename(site.parent / 'outside')
    file.symlink_to('../outside')
    with pytest.raises(MapError, match='link out of the map folder'):
        open_map(site)
    file.unlink()
    file.symlink_to('/dev/zero')
    with pytest.raises(MapError, match='link out of the map folder'):
        open_map(site)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(MapError, match='not a regular file'):
        open_map(site)
    file.unlink()
    file.mkdir()
    with pytest.raises(MapError):
        open_map(site)
    file.rmdir()
    (site / 'inside').write_bytes(raw)
    file.symlink_to('inside')
    assert sites.holds(site, 'old')


def test_a_folder_that_links_outside(site: Path) -> None:
    (site / 'submaps').rename(site.parent / 'elsewhere')
    (site / 'submaps').symlink_to('../elsewhere')
    with pytest.raises(MapError, match='link out of the map folder'):
        open_map(site)


@pytest.fixture(scope='module')
def shared(sites: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp('fuzz') / 'site'
    sites.write(path)
    return path, (path / 'map.yaml').read_bytes()


yaml_words = st.sampled_from(
    [b'!!int', b'!!timestamp x', b'&a', b'*a', b'{', b'[', b'? ', b'- ', b'\n', b': ', b'.nan',
     b'null', b'"', b'!!binary', b'<<: ', b'%', b'\t', b'..', b'\xff', b'!!set', b'|', b'=']
)  # fmt: skip


@given(st.data())
def test_any_map_yaml_is_a_map_or_a_map_error(
    damaged: Any, shared: tuple[Path, bytes], data: st.DataObject
) -> None:
    path, raw = shared
    if data.draw(st.booleans()):
        raw = data.draw(damaged(raw))
    else:
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(yaml_words) + raw[at + data.draw(st.integers(0, 9)) :]
    (path / 'map.yaml').write_bytes(raw)
    with suppress(MapError):
        assert isinstance(open_map(path), Map)


def test_arrays_from_a_stranger(sites: Any, site: Path) -> None:
    raw = npz.pack({'a': np.zeros(4)}).replace(b'(4,)', b'(9,)')
    (site / 'index.npz').write_bytes(raw)
    entry = {'sha256': hashlib.sha256(raw).hexdigest(), 'size_bytes': len(raw)}
    sites.edit(site, lambda d: d['files'].update({'index.npz': entry}))
    with pytest.raises(MapError, match=r'site/index\.npz: '):
        open_map(site).read_arrays('index.npz')
