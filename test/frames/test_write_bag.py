"""Frames written as a bag are read back as they were."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vloc_models.errors import BagError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.frames.survey import survey
from vloc_models.frames.write_bag import WriteOptions, write_bag
from vloc_models.geometry.camera import Camera
from vloc_models.records import Frame, Trajectory, View

S = 10**9
START = 1_700_000_000 * S
LOSSLESS = WriteOptions(jpeg_quality=None)
CAMERAS = (
    Camera(32, 24, 30, 31, 15.5, 11.5),
    Camera(32, 24, 30, 31, 15.5, 11.5, 'plumb_bob', (0.1, -0.02, 0.001, 0.002, 0.003)),
    Camera(32, 24, 30, 31, 15.5, 11.5, 'fisheye', (0.1, -0.02, 0.01, 0.002)),
    Camera(32, 24, 30, 31, 15, 11, 'rational_polynomial', (1, 2, 0.1, 0.1, 3, 1, 2, 3)),
)


def close(actual: Any, expected: Any, **tolerance: Any) -> None:
    np.testing.assert_allclose(actual, expected, **tolerance)


def random_transform(rng: np.random.Generator) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
    T[:3, 3] = rng.normal(size=3)
    return T


def some_frames(n: int = 6, cameras: tuple[Camera, ...] = CAMERAS[:1]) -> Iterator[Frame]:
    rng = np.random.default_rng(0)
    mounts = [random_transform(rng) for _ in cameras]
    for i in range(n):
        views = []
        for camera, T in zip(cameras, mounts, strict=True):
            image = rng.integers(0, 255, (24, 32, 3), np.uint8)
            depth = (rng.integers(0, 9000, (24, 32)) / 1000).astype(np.float32)
            depth[depth == 0] = np.nan
            labels = rng.integers(0, 255, (24, 32), np.uint8)
            views.append(View(image, camera, T, depth, labels))
        T_map_base, T_odom_base = random_transform(rng), random_transform(rng)
        yield Frame(START + i * S // 15, tuple(views), T_odom_base, T_map_base)


def check(path: Path, frames: list[Frame], options: BagOptions | None = None) -> BagReader:
    reader = BagReader(path, options)
    got = list(reader.frames())
    assert [f.stamp_ns for f in got] == [f.stamp_ns for f in frames]
    for a, b in zip(frames, got, strict=True):
        close(b.T_map_base, a.T_map_base, atol=1e-9)
        close(b.T_odom_base, a.T_odom_base, atol=1e-9)
        for v, w in zip(a.views, b.views, strict=True):
            np.testing.assert_array_equal(w.image, v.image)
            close(w.depth, v.depth, rtol=1e-6)
            np.testing.assert_array_equal(w.labels, v.labels)
            close(w.T_base_cam, v.T_base_cam, atol=1e-9)
            assert w.camera == v.camera
    assert reader.notes == []
    return reader


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('camera', CAMERAS)
def test_round_trip(tmp_path: Path, storage: Any, camera: Camera) -> None:
    options = WriteOptions(storage=storage, jpeg_quality=None)
    frames = list(some_frames(cameras=(camera,)))
    assert write_bag(tmp_path / 'out' / 'bag', some_frames(cameras=(camera,)), options) == 6
    check(tmp_path / 'out' / 'bag', frames)
    truth = BagOptions(poses='truth', odom='tf')
    assert '/ground_truth/pose' in check(tmp_path / 'out' / 'bag', frames, truth).poses_source
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['bag']


def test_rig(tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', some_frames(cameras=CAMERAS), LOSSLESS)
    reader = check(tmp_path / 'bag', list(some_frames(cameras=CAMERAS)))
    assert [c.name for c in reader.cameras] == [f'/camera_{i}/color/image_raw' for i in range(4)]


def test_topics_are_those_of_the_real_bag(tmp_path: Path, real_bag: Callable[[str], Path]) -> None:
    real = survey(real_bag('redkitchen_map'))
    reader = BagReader(real_bag('redkitchen_map'), BagOptions(every=20))
    write_bag(tmp_path / 'bag', reader.frames())
    ours = survey(tmp_path / 'bag')
    assert {(t.name, t.msgtype) for t in ours.topics} == {(t.name, t.msgtype) for t in real.topics}
    assert ours.tf_frames == real.tf_frames
    assert ours.problems == ()
    a, b = (next(BagReader(p).frames()) for p in (real.path, ours.path))
    assert np.abs(a.views[0].image.astype(int) - b.views[0].image).mean() < 2
    np.testing.assert_array_equal(a.views[0].depth, b.views[0].depth)


def test_a_run_to_be_localized_has_no_map_tf(tmp_path: Path) -> None:
    options = WriteOptions(map_tf=False)
    write_bag(tmp_path / 'bag', some_frames(), options)
    reader = BagReader(tmp_path / 'bag')
    assert '/ground_truth/pose' in reader.poses_source
    assert 'map' not in reader.index.tree.frames
    write_bag(tmp_path / 'blind', some_frames(), WriteOptions(map_tf=False, truth=False))
    with pytest.raises(BagError, match='no poses'):
        BagReader(tmp_path / 'blind', BagOptions(poses='truth')).trajectory()


def test_odometry_at_its_own_rate(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    stamps = START - 5 + np.arange(60, dtype=np.int64) * S // 90
    odometry = Trajectory.of(stamps.tolist(), [random_transform(rng) for _ in stamps])
    write_bag(tmp_path / 'bag', some_frames(), LOSSLESS, odometry)
    frames = list(some_frames())
    reader = BagReader(tmp_path / 'bag')
    assert reader.odometry().stamps_ns.tolist() == stamps.tolist()
    close(reader.odometry().T_map_body, odometry.T_map_body, atol=1e-9)
    for frame, got in zip(frames, reader.frames(), strict=True):
        close(got.T_map_base, frame.T_map_base, atol=1e-9)
        T = odometry.at(frame.stamp_ns, S)
        close(got.T_odom_base, T, atol=1e-9)


def test_refuses_to_overwrite_unless_told(tmp_path: Path) -> None:
    write_bag(tmp_path / 'bag', some_frames(3))
    with pytest.raises(BagError, match='exists already'):
        write_bag(tmp_path / 'bag', some_frames())
    assert len(BagReader(tmp_path / 'bag')) == 3
    write_bag(tmp_path / 'bag', some_frames(5), WriteOptions(overwrite=True))
    assert len(BagReader(tmp_path / 'bag')) == 5


def test_overwrites_nothing_but_a_bag(tmp_path: Path) -> None:
    work = tmp_path / 'work'
    work.mkdir()
    write_bag(work, some_frames(2), WriteOptions(overwrite=True))  # an empty folder
    (work / 'thesis.txt').write_text('years')
    (tmp_path / 'file').write_text('x')
    for path, words in ((work, 'thesis.txt'), (tmp_path / 'file', 'file')):
        with pytest.raises(BagError, match=rf'is not only a bag: {words}'):
            write_bag(path, some_frames(3), WriteOptions(overwrite=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ['file', 'work']
    assert (work / 'thesis.txt').read_text() == 'years'


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('x')
    with pytest.raises(BagError, match=r'bag cannot be written: (Not a dir|File exists)'):
        write_bag(tmp_path / 'file' / 'bag', some_frames())


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_full_disk(tmp_path: Path, storage: Any) -> None:
    script = (
        'import resource, sys; from pathlib import Path; import signal\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))\n'
        'import numpy as np; from vloc_models.errors import BagError\n'
        'from vloc_models.frames.write_bag import WriteOptions, write_bag\n'
        'from vloc_models.geometry.camera import Camera; from vloc_models.records import *\n'
        'view = View(np.zeros((120, 160, 3), np.uint8), Camera(160, 120, 9, 9, 9, 9), np.eye(4))\n'
        f'options = WriteOptions({storage!r}, None)\n'
        'try: write_bag(Path(sys.argv[1]), (Frame(i, (view,)) for i in range(1, 99)), options)\n'
        'except BagError as e: print(e.what)\n'
    )
    command = [sys.executable, '-c', script, str(tmp_path / 'bag')]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f'{tmp_path}/bag cannot be written: ' in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('given', [True, False])
def test_odometry_that_does_not_span_the_frames(tmp_path: Path, given: bool) -> None:
    """The frames beyond it have no TF pose, and base_link still has one parent."""
    frames = list(some_frames(6))
    middle = Trajectory.of([START + i * S // 15 for i in range(1, 5)], [np.eye(4)] * 4)
    if not given:
        frames = [replace(f, T_odom_base=middle.at(f.stamp_ns, S)) for f in frames]
    write_bag(tmp_path / 'bag', frames, LOSSLESS, middle if given else None)
    reader = BagReader(tmp_path / 'bag', BagOptions(poses='tf'))
    assert reader.notes == []
    assert reader.odom_source.startswith('/odom')
    for stamp, T in zip(
        reader.trajectory().stamps_ns, reader.trajectory().T_map_body, strict=True
    ):
        close(T, next(f.T_map_base for f in frames if f.stamp_ns == stamp), atol=1e-9)
    assert len(reader.trajectory()) == (4 if given else 6)


def test_a_failure_leaves_the_old_bag_and_no_rest(tmp_path: Path) -> None:
    def failing() -> Iterator[Frame]:
        yield from some_frames(3)
        raise RuntimeError('the world ends')

    write_bag(tmp_path / 'bag', some_frames(4))
    with pytest.raises(RuntimeError, match='the world ends'):
        write_bag(tmp_path / 'bag', failing(), WriteOptions(overwrite=True))
    assert [p.name for p in tmp_path.iterdir()] == ['bag']
    assert len(BagReader(tmp_path / 'bag')) == 4


def test_what_cannot_be_written(tmp_path: Path) -> None:
    frames = list(some_frames(3))
    with pytest.raises(BagError, match='no frames'):
        write_bag(tmp_path / 'bag', [])
    with pytest.raises(BagError, match='does not rise'):
        write_bag(tmp_path / 'bag', [*frames, frames[0]])
    two = next(some_frames(1, CAMERAS[:2]))
    with pytest.raises(BagError, match='2 views, the first 1'):
        write_bag(tmp_path / 'bag', [frames[0], Frame(START + S, two.views)])
    assert list(tmp_path.iterdir()) == []


def test_frames_without_poses_or_depth(tmp_path: Path) -> None:
    bare = [
        Frame(f.stamp_ns, (View(f.views[0].image, CAMERAS[0], np.eye(4)),)) for f in some_frames()
    ]
    write_bag(tmp_path / 'bag', iter(bare))
    found = survey(tmp_path / 'bag')
    assert {t.name for t in found.topics} == {
        '/tf_static',
        '/camera/color/camera_info',
        '/camera/color/image_raw/compressed',
    }
    assert any('no poses' in p.what for p in found.problems)
