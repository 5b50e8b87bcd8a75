from pathlib import Path

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.source import FrameSource
from vloc_models.frames.synthetic import SyntheticSource
from vloc_models.frames.synthetic.rigs import mounted
from vloc_models.frames.write_bag import write_bag
from vloc_models.geometry.camera import Camera


def test_frames_are_whole_and_in_order(source: SyntheticSource) -> None:
    frames = list(source.frames())
    assert len(frames) == len(source) == 10
    assert [f.stamp_ns for f in frames] == sorted(f.stamp_ns for f in frames)
    view = frames[0].views[0]
    assert view.depth is not None
    assert view.labels is not None
    assert 0.1 < np.nanmin(view.depth) < np.nanmax(view.depth) < 30
    assert view.labels.max() < 15
    assert 20 < view.image.mean() < 220
    assert view.image.std() > 8


def test_it_is_a_frame_source(source: SyntheticSource) -> None:
    as_source: FrameSource = source
    assert as_source.span_ns == (
        source.trajectory().stamps_ns[0],
        source.trajectory().stamps_ns[-1],
    )
    assert len(as_source.cameras) == 1
    assert len(as_source.odometry()) > len(as_source.trajectory())


def test_the_cache_gives_the_same_frame_without_the_world(source: SyntheticSource) -> None:
    first = source.frame(3)
    again = SyntheticSource(source.spec, source.folder.parent).frame(3)
    np.testing.assert_array_equal(first.views[0].image, again.views[0].image)
    np.testing.assert_array_equal(first.views[0].depth, again.views[0].depth)


def test_another_cache_gives_the_same_picture(source: SyntheticSource, tmp_path: Path) -> None:
    other = SyntheticSource(source.spec, tmp_path)
    np.testing.assert_array_equal(source.frame(2).views[0].image, other.frame(2).views[0].image)


def test_a_damaged_cache_is_named(source: SyntheticSource, tmp_path: Path) -> None:
    broken = SyntheticSource(source.spec, tmp_path)
    broken.frame(0)
    next(broken.folder.glob('*.jpg')).write_bytes(b'no picture')
    with pytest.raises(VlocError, match=r'damaged.*delete'):
        broken.frame(0)


def test_a_full_disk_is_named(source: SyntheticSource) -> None:
    with pytest.raises(VlocError, match='VLOC_CACHE'):
        SyntheticSource(source.spec, Path('/dev/null/nowhere'))


def test_a_bag_of_it_reads_back(source: SyntheticSource, tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', source.frames(), odometry=source.odometry())
    with BagReader(tmp_path / 'bag') as reader:
        read = list(reader.frames())
        mount = reader.cameras[0]
    assert len(read) == len(source)
    original = source.frame(4)
    frame = read[4]
    assert frame.T_map_base is not None
    assert frame.T_odom_base is not None
    assert original.T_map_base is not None
    assert original.T_odom_base is not None
    np.testing.assert_allclose(frame.T_map_base, original.T_map_base, atol=1e-9)
    np.testing.assert_allclose(frame.T_odom_base, original.T_odom_base, atol=1e-9)
    np.testing.assert_allclose(mount.T_base_cam, original.views[0].T_base_cam, atol=1e-9)
    assert mount.camera == original.views[0].camera
    seen, true = frame.views[0].depth, original.views[0].depth
    assert seen is not None
    assert true is not None
    assert np.nanmax(np.abs(seen - true)) <= 0.00051  # the topic holds whole millimetres
    gap = np.abs(frame.views[0].image.astype(int) - original.views[0].image)
    assert gap.mean() < 3


def test_any_camera_can_be_given(source: SyntheticSource, tmp_path: Path) -> None:
    camera = Camera(200, 150, 160.0, 150.0, 103.0, 70.0, 'plumb_bob', (-0.2, 0.05, 0, 0, 0))
    mounts = (mounted(camera, 0, 0, 1.5, yaw_deg=90), mounted(camera, 0, 0, 1.5, yaw_deg=-90))
    frame = SyntheticSource(source.spec, tmp_path, mounts).frame(0)
    assert [v.image.shape for v in frame.views] == [(150, 200, 3)] * 2
    assert frame.views[1].camera == camera
    assert not np.array_equal(frame.views[0].image, frame.views[1].image)
