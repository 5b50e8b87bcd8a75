"""Good bags of every kind, read as frames."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from vloc_models.errors import BagError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source

S = 10**9
KINDS = [
    ('mcap', ''),
    ('mcap', 'storage'),
    ('mcap', 'file'),
    ('mcap', 'message'),
    ('sqlite3', ''),
    ('sqlite3', 'file'),
    ('sqlite3', 'message'),
    ('ros1', ''),
    ('ros1', 'lz4'),
    ('ros1', 'bz2'),
]


def close(actual: Any, expected: Any, **tolerance: Any) -> None:
    np.testing.assert_allclose(actual, expected, **tolerance)


@pytest.mark.parametrize(('storage', 'compression'), KINDS)
def test_every_kind_of_bag(kit: Any, storage: str, compression: str) -> None:
    messages = kit.standard(ros1=storage == 'ros1')
    path = kit.write(messages, storage=storage, compression=compression)
    with BagReader(path) as reader:
        assert len(reader) == 8
        kit.check_standard(list(reader.frames()))
        kit.check_standard(list(reader.frames()))  # again
        assert reader.notes == []
        assert reader.poses_source == 'TF map->base_link'
        assert '/odom' in reader.odom_source


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_lone_file_and_metadata_and_no_metadata(kit: Any, storage: str) -> None:
    path = kit.write(kit.standard(), storage=storage)
    (file,) = (f for f in path.iterdir() if f.suffix in ('.mcap', '.db3'))
    kit.check_standard(list(BagReader(file).frames()))
    kit.check_standard(list(BagReader(path / 'metadata.yaml').frames()))
    (path / 'metadata.yaml').unlink()
    kit.check_standard(list(BagReader(path).frames()))


def split(kit: Any, compression: str) -> Path:
    """A bag of two files, as the recorder writes it with a size limit."""
    messages = kit.standard()
    half = 1 + 4 * 7
    a = kit.write(messages[:half], 'run_0', compression=compression)
    b = kit.write(messages[half:], 'run_1', compression=compression)
    folder = kit.folder / 'run'
    folder.mkdir()
    metas = [yaml.safe_load((p / 'metadata.yaml').read_text()) for p in (a, b)]
    first, second = (m['rosbag2_bagfile_information'] for m in metas)
    first['relative_file_paths'] += second['relative_file_paths']
    for topic in first['topics_with_message_count']:
        for more in second['topics_with_message_count']:
            if more['topic_metadata']['name'] == topic['topic_metadata']['name']:
                topic['message_count'] += more['message_count']
    first['message_count'] += second['message_count']
    first['duration']['nanoseconds'] = 7 * kit.STEP
    (folder / 'metadata.yaml').write_text(yaml.safe_dump(metas[0]))
    for part in (a, b):
        for file in part.iterdir():
            if file.name != 'metadata.yaml':
                shutil.copy(file, folder)
    return folder


@pytest.mark.parametrize('compression', ['', 'file', 'message'])
def test_split_bag(kit: Any, compression: str) -> None:
    reader = BagReader(split(kit, compression))
    kit.check_standard(list(reader.frames()))
    assert reader.notes == []


def test_parts_given_one_by_one_share_what_is_static(kit: Any) -> None:
    split(kit, '')
    parts = [kit.folder / 'run_0', kit.folder / 'run_1']
    kit.check_standard(list(open_source(parts).frames()))
    kit.check_standard(list(open_source(parts[::-1]).frames())[:4], 4)


def test_several_bags_whose_clocks_overlap_follow_one_another(kit: Any) -> None:
    a, b = (kit.write(kit.standard(), name) for name in 'ab')
    with open_source([a, b]) as both:
        stamps = [f.stamp_ns for f in both.frames()]
        assert len(both) == len(stamps) == len(both.trajectory()) == len(both.odometry()) == 16
        assert stamps == both.trajectory().stamps_ns.tolist()
        assert both.span_ns == (stamps[0], stamps[-1])
        assert 'recording 2 is moved by' in both.notes[0]
        assert both.poses_source == 'TF map->base_link'


def test_several_bags_may_have_different_mounts(kit: Any) -> None:
    b, later = kit.Builder(), 100 * S
    moved = [m for m in kit.standard() if m.topic != '/tf_static']
    edge = b.edge(kit.START, 'base_link', 'camera', (9, 0, 0))
    second = [kit.Msg('/tf_static', kit.START, b.tf(edge)), *moved]
    paths = [kit.write(kit.standard(), 'a'), kit.write(second, 'b')]
    frames = list(open_source(paths).frames())
    assert [f.views[0].T_base_cam[0, 3] for f in (frames[0], frames[-1])] == [0.2, 9]
    assert frames[-1].stamp_ns < kit.START + later


def test_trajectory_needs_no_image(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = BagReader(kit.write(kit.standard()))
    monkeypatch.setattr('vloc_models.frames.views.decode_image', None)
    poses = reader.trajectory()
    assert len(poses) == 8
    close(poses.T_map_body[5], kit.matrix(*kit.truth(5)), atol=1e-12)


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    reader = BagReader(tmp_path / 'missing')
    with pytest.raises(BagError, match='no such bag'):
        len(reader)


# --- which images -------------------------------------------------------------------------------


def rig(kit: Any, offset_ns: int = 0) -> list[Any]:
    """Two cameras; the second misses its third image and is a little late."""
    b, out = kit.Builder(), kit.standard()
    edge = b.edge(kit.START, 'base_link', 'camera2', (-0.2, 0, 0.5))
    out.append(kit.Msg('/tf_static', kit.START, b.tf(edge)))
    for i in range(8):
        t = kit.START + i * kit.STEP + offset_ns
        out.append(kit.Msg('/cam2/camera_info', t, b.info(t, 'camera2', f=40.0)))
        if i != 2:
            image = b.image(t, kit.picture(100 + i), frame='camera2')
            out.append(kit.Msg('/cam2/image_raw', t, image))
    return sorted(out, key=lambda m: m.log_ns)


def test_rig_of_two_cameras(kit: Any) -> None:
    reader = BagReader(kit.write(rig(kit, 5_000_000)))
    frames = list(reader.frames())
    assert [len(f.views) for f in frames] == [2, 2, 1, 2, 2, 2, 2, 2]
    assert frames[3].stamp_ns == kit.START + 3 * kit.STEP
    assert (frames[3].views[1].image == kit.picture(103)).all()
    assert [v.camera.fx for v in frames[3].views] == [30, 40]
    assert frames[3].views[1].T_base_cam[0, 3] == -0.2
    assert frames[3].views[1].depth is None
    assert '1 of 8 frames lack /cam2/image_raw' in reader.notes
    assert [m.frame_id for m in reader.cameras] == ['camera', 'camera2']


def test_rig_whose_first_camera_misses_one(kit: Any) -> None:
    messages = [
        m
        for m in rig(kit)
        if not (m.topic == '/cam/image_raw' and m.log_ns == kit.START + 5 * kit.STEP)
    ]
    frames = list(BagReader(kit.write(messages)).frames())
    assert [len(f.views) for f in frames] == [2, 2, 1, 2, 2, 1, 2, 2]
    assert frames[5].views[0].camera.fx == 40


@pytest.mark.parametrize(('dead', 'count'), [('/cam', 7), ('/cam2', 8)])
def test_rig_with_a_camera_whose_pictures_are_damaged(kit: Any, dead: str, count: int) -> None:
    messages = rig(kit)
    for m in messages:
        if m.topic == f'{dead}/image_raw':
            m.body.data = m.body.data[:50]
    reader = BagReader(kit.write(messages))
    frames = list(reader.frames())
    assert len(frames) == count  # the other camera misses one
    assert {len(f.views) for f in frames} == {1}
    assert any(f'without a view that is damaged ({dead}/image_raw' in n for n in reader.notes)


def test_named_image_topic(kit: Any) -> None:
    path = kit.write(rig(kit))
    options = BagOptions(image_topics=('/cam2/image_raw',))
    frames = list(BagReader(path, options).frames())
    assert len(frames) == 7
    assert all(len(f.views) == 1 and f.views[0].camera.fx == 40 for f in frames)
    swapped = BagOptions(
        image_topics=('/cam2/image_raw', '/cam/image_raw'), depth_topics=('none', 'none')
    )
    frame = next(BagReader(path, swapped).frames())
    assert [v.camera.fx for v in frame.views] == [40, 30]
    assert all(v.depth is None for v in frame.views)


def test_raw_and_compressed_of_one_camera_are_one_camera(kit: Any) -> None:
    b, messages = kit.Builder(), kit.standard()
    for i in range(8):
        t = kit.START + i * kit.STEP
        data = cv2.imencode('.jpg', kit.picture(i)[..., ::-1])[1].tobytes()
        body = b.compressed(t, data, 'rgb8; jpeg compressed bgr8')
        messages.append(kit.Msg('/cam/image_raw/compressed', t, body))
        body = b.image(t, kit.picture(i)[..., 0], 'mono8', frame='infra')
        messages.append(kit.Msg('/cam/infra1/image_rect_raw', t, body))
    reader = BagReader(kit.write(messages))
    assert [c.name for c in reader.cameras] == ['/cam/image_raw']
    assert any('/cam/image_raw/compressed is not used' in note for note in reader.notes)
    assert any('infra1/image_rect_raw is not used' in note for note in reader.notes)


def test_labels(kit: Any) -> None:
    b, messages = kit.Builder(), kit.standard()
    for i in range(8):
        t = kit.START + i * kit.STEP
        data = cv2.imencode('.png', np.full((24, 32), i, np.uint8))[1].tobytes()
        body = b.compressed(t, data, 'mono8; png compressed mono8')
        messages.append(kit.Msg('/cam/labels/image_raw/compressed', t, body))
    frames = list(BagReader(kit.write(messages)).frames())
    assert len(frames[0].views) == 1
    assert all(np.all(f.views[0].labels == i) for i, f in enumerate(frames))


def test_window_and_every(kit: Any) -> None:
    path = kit.write(kit.standard(20))
    reader = BagReader(path, BagOptions(start_s=0.5, duration_s=1.0, every=3))
    expected = [kit.START + i * kit.STEP for i in (5, 8, 11, 14)]
    assert [f.stamp_ns for f in reader.frames()] == expected
    assert reader.trajectory().stamps_ns.tolist() == expected
    with pytest.raises(BagError, match=r'no images after 99 s of 1\.9 s'):
        len(BagReader(path, BagOptions(start_s=99)))


def test_options_that_make_no_sense() -> None:
    with pytest.raises(BagError, match='every=0'):
        BagOptions(every=0)
    with pytest.raises(BagError, match='max_gap_s=nan'):
        BagOptions(max_gap_s=float('nan'))
    for name in ('start_s', 'duration_s', 'sync_s', 'max_gap_s', 'focal_px'):
        with pytest.raises(BagError, match=f'{name}=inf makes no sense'):
            replace(BagOptions(), **{name: float('inf')})


def test_header_stamps_not_log_times(kit: Any) -> None:
    messages = kit.standard()
    for m in messages:
        m.log_ns += 5 * S
    kit.check_standard(list(BagReader(kit.write(messages)).frames()))


def test_a_little_out_of_order_is_put_right(kit: Any) -> None:
    messages = kit.standard()
    images = [m for m in messages if m.topic == '/cam/image_raw']
    images[2].log_ns, images[5].log_ns = images[5].log_ns, images[2].log_ns
    messages.sort(key=lambda m: m.log_ns)
    reader = BagReader(kit.write(messages))
    kit.check_standard(list(reader.frames()))
    assert reader.notes == []


# --- the real bags ------------------------------------------------------------------------------


def independent_truth(path: Path) -> tuple[list[int], np.ndarray]:
    """Stamps and T_map_base of the truth topic, read with nothing of ours."""
    store, stamps, poses = get_typestore(Stores.LATEST), [], []
    with Reader(path) as reader:
        wanted = [c for c in reader.connections if c.topic == '/ground_truth/pose']
        for c, _, raw in reader.messages(wanted):
            m: Any = store.deserialize_cdr(raw, c.msgtype)
            p, q = m.pose.position, m.pose.orientation
            T = np.eye(4)
            T[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
            T[:3, 3] = p.x, p.y, p.z
            stamps.append(m.header.stamp.sec * S + m.header.stamp.nanosec)
            poses.append(T)
    return stamps, np.array(poses)


@pytest.mark.parametrize(
    ('name', 'count', 'poses'),
    [
        ('redkitchen_map', 225, 'auto'),
        ('redkitchen_map', 225, 'truth'),
        ('redkitchen_dev', 100, 'auto'),
    ],
)
def test_the_real_bag(real_bag: Callable[[str], Path], name: str, count: int, poses: str) -> None:
    path = real_bag(name)
    stamps, truths = independent_truth(path)
    reader = BagReader(path, BagOptions(poses=poses))
    assert len(reader) == count
    trajectory = reader.trajectory()
    assert trajectory.stamps_ns.tolist() == stamps
    close(trajectory.T_map_body, truths, atol=1e-6)
    (mount,) = reader.cameras
    assert (mount.camera.width, mount.camera.height, mount.camera.model) == (640, 480, 'pinhole')
    assert (mount.camera.fx, mount.camera.cx, mount.camera.cy) == (525.505, 320, 240)
    T = [[0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 0.25], [0, 0, 0, 1]]
    close(mount.T_base_cam, T, atol=1e-9)
    assert reader.notes == []
    seen = 0
    for frame, truth in zip(reader.frames(), truths, strict=True):
        seen += 1
        close(frame.T_map_base, truth, atol=1e-6)
        assert frame.T_odom_base is not None
        assert frame.views[0].image.shape == (480, 640, 3)
        assert (frame.views[0].depth is not None) == (name == 'redkitchen_map')
    assert seen == count
