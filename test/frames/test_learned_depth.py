"""Depth that was learned is written with a mask, and read with it or not at all."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.commands.main import main
from vloc_models.errors import BagError
from vloc_models.frames import write_bag as module
from vloc_models.frames.bag import BagReader
from vloc_models.frames.keyframes import read_keyframes
from vloc_models.frames.options import BagOptions
from vloc_models.frames.survey import survey
from vloc_models.frames.write_bag import write_bag
from vloc_models.geometry.camera import Camera
from vloc_models.records import Frame, View

DEPTH, MASK = '/camera/self_depth/image_raw/compressedDepth', '/camera/self_depth/valid/compressed'
CAMERA = Camera(32, 24, 30, 31, 15.5, 11.5)


def frames(cameras: int = 1) -> Iterator[Frame]:
    rng = np.random.default_rng(0)
    for i in range(4):
        T = np.eye(4)
        T[0, 3] = i
        views = []
        for _ in range(cameras):
            image = rng.integers(0, 255, (24, 32, 3), np.uint8)
            depth = (rng.integers(1, 9000, (24, 32)) / 1000).astype(np.float32)
            valid = rng.uniform(size=(24, 32)) < 0.5
            views.append(View(image, CAMERA, np.eye(4), depth, None, valid))
        yield Frame(10**18 + i * 10**8, tuple(views), None, T)


@pytest.mark.parametrize('cameras', [1, 2])
def test_what_is_not_valid_is_not_known(tmp_path: Path, cameras: int) -> None:
    write_bag(tmp_path / 'bag', frames(cameras))
    with BagReader(tmp_path / 'bag') as reader:
        for found, given in zip(reader.frames(), frames(cameras), strict=True):
            for view, truth in zip(found.views, given.views, strict=True):
                assert view.valid is not None
                assert view.depth is not None
                assert truth.depth is not None
                assert truth.valid is not None
                np.testing.assert_array_equal(view.valid, truth.valid)
                masked = np.where(truth.valid, truth.depth, np.nan)
                np.testing.assert_allclose(view.depth, masked, atol=6e-4)
    assert all(k.learned for k in read_keyframes(reader, 100, 24))
    root = '/camera_1' if cameras == 2 else '/camera'
    assert reader.views[-1].depth == f'{root}/self_depth/image_raw/compressedDepth'


def test_a_sensor_is_told_from_a_network(tmp_path: Path) -> None:
    sensed = [replace(f, views=tuple(replace(v, valid=None) for v in f.views)) for f in frames()]
    write_bag(tmp_path / 'bag', sensed)
    with BagReader(tmp_path / 'bag') as reader:
        assert not any(k.learned for k in read_keyframes(reader, 100, 24))


def without_masks(patch: pytest.MonkeyPatch, which: Any = lambda stamp: True) -> None:
    write = module._Bag._write

    def some(self: Any, topic: str, stamp_ns: int, msg: Any) -> None:
        if topic != MASK or not which(stamp_ns):
            write(self, topic, stamp_ns, msg)

    patch.setattr(module._Bag, '_write', some)


def test_without_its_mask_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_masks(monkeypatch)
    write_bag(tmp_path / 'bag', frames())
    with BagReader(tmp_path / 'bag') as reader, pytest.raises(BagError, match='without its mask'):
        next(reader.frames())
    assert any(p.fatal and 'without its mask' in p.what for p in survey(tmp_path / 'bag').problems)
    assert main(['map', str(tmp_path / 'bag'), '-o', str(tmp_path / 'site')]) == 2
    told = ' '.join(capsys.readouterr().err.split())
    assert f'{DEPTH}: learned depth without its mask {MASK}' in told
    with BagReader(tmp_path / 'bag', BagOptions(depth_topics=('none',))) as reader:
        assert next(reader.frames()).views[0].depth is None


def test_where_a_mask_is_lost_the_depth_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_masks(monkeypatch, lambda stamp: stamp == 10**18 + 10**8)
    write_bag(tmp_path / 'bag', frames())
    with BagReader(tmp_path / 'bag') as reader:
        known = Counter(f.views[0].depth is not None for f in reader.frames())
    assert known == {True: 3, False: 1}
    assert any(MASK in note for note in reader.notes)


def test_a_sensor_is_preferred_unless_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = module._Bag._view

    def both(self: Any, i: int, given: View, stamp_ns: int) -> None:
        view(self, i, given, stamp_ns)
        assert given.depth is not None
        header = module._header(stamp_ns, self._frames(i)[1])
        data = module.compressed_depth.encode(given.depth + 1)
        depth = module._compressed(header, module.compressed_depth.FORMAT, data)
        self._write('/camera/depth/image_raw/compressedDepth', stamp_ns, depth)

    monkeypatch.setattr(module._Bag, '_view', both)
    write_bag(tmp_path / 'bag', frames())
    with BagReader(tmp_path / 'bag') as reader:
        assert reader.views[0].depth == '/camera/depth/image_raw/compressedDepth'
        assert next(reader.frames()).views[0].valid is None
    with BagReader(tmp_path / 'bag', BagOptions(depth_topics=(DEPTH,))) as reader:
        assert next(reader.frames()).views[0].valid is not None
