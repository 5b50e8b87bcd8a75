"""Good bags of every kind, read as frames."""

import shutil
from collections.abc import Callable
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
from vloc_models.records import Frame

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


def check_standard(kit: Any, frames: list[Frame], n: int = 8) -> None:
    """The frames of ``kit.standard()``, to the last digit."""
    assert [f.stamp_ns for f in frames] == [kit.START + i * kit.STEP for i in range(n)]
    for i, frame in enumerate(frames):
        (view,) = frame.views
        assert (view.image == kit.picture(i)).all()
        assert view.depth is not None
        expected = kit.depth_mm(i) / 1000
        expected[expected == 0] = np.nan
        close(view.depth, expected, rtol=1e-6)
        close(frame.T_map_base, kit.matrix(*kit.truth(i)), atol=1e-12)
        t, q = kit.truth(i)
        close(frame.T_odom_base, kit.matrix(t - [0, 1, 0], q), atol=1e-12)
        T = [[0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, 0, 1]]
        close(view.T_base_cam, T, atol=1e-12)
        assert (view.camera.fx, view.camera.cx, view.camera.model) == (30, 15.5, 'pinhole')


@pytest.mark.parametrize(('storage', 'compression'), KINDS)
def test_every_kind_of_bag(kit: Any, storage: str, compression: str) -> None:
    messages = kit.standard(ros1=storage == 'ros1')
    path = kit.write(messages, storage=storage, compression=compression)
    with BagReader(path) as reader:
        assert len(reader) == 8
        check_standard(kit, list(reader.frames()))
        check_standard(kit, list(reader.frames()))  # again
        assert reader.notes == []
        assert reader.poses_source == 'TF map->base_link'
        assert '/odom' in reader.odom_source


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_lone_file_and_metadata_and_no_metadata(kit: Any, storage: str) -> None:
    path = kit.write(kit.standard(), storage=storage)
    (file,) = (f for f in path.iterdir() if f.suffix in ('.mcap', '.db3'))
    check_standard(kit, list(BagReader(file).frames()))
    check_standard(kit, list(BagReader(path / 'metadata.yaml').frames()))
    (path / 'metadata.yaml').unlink()
    check_standard(kit, list(BagReader(path).frames()))


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
    check_standard(kit, list(reader.frames()))
    assert reader.notes == []


def test_parts_given_one_by_one_share_what_is_static(kit: Any) -> None:
    split(kit, '')
    parts = [kit.folder / 'run_0', kit.folder / 'run_1']
    check_standard(kit, list(open_source(parts).frames()))
    check_standard(kit, list(open_source(parts[::-1]).frames())[:4], 4)


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


# --- poses --------------------------------------------------------------------------------------


def poses_only(kit: Any, make: Callable[[Any, int, Any, Any], Any], topic: str) -> Path:
    """The good bag with TF and truth replaced by one topic of poses."""
    b = kit.Builder()
    messages = kit.without(kit.standard(), '/tf', '/odom', '/ground_truth/pose')
    for i in range(8):
        t = kit.START + i * kit.STEP
        messages.append(kit.Msg(topic, t, make(b, t, *kit.truth(i))))
    return kit.write(messages)


def test_pose_with_covariance_in_the_map(kit: Any) -> None:
    path = poses_only(kit, lambda b, t, p, q: b.pose_with_covariance(t, 'map', p, q), '/slam')
    reader = BagReader(path)
    assert reader.poses_source.startswith(
        '/slam (PoseWithCovarianceStamped, the pose of base_link'
    )
    close(reader.trajectory().T_map_body[3], kit.matrix(*kit.truth(3)), atol=1e-12)
    assert reader.odometry_source is None
    assert next(reader.frames()).T_odom_base is None


def test_odometry_in_the_map(kit: Any) -> None:
    path = poses_only(kit, lambda b, t, p, q: b.odometry(t, 'map', 'base_link', p, q), '/lio')
    reader = BagReader(path)
    assert '/lio (Odometry' in reader.poses_source
    assert not any('bent' in note for note in reader.notes)


def test_plain_odometry_comes_last_and_is_told(kit: Any) -> None:
    path = poses_only(kit, lambda b, t, p, q: b.odometry(t, 'odom', 'base_link', p, q), '/odom')
    reader = BagReader(path)
    assert len(reader.trajectory()) == 8
    assert any('drifts: the map will be bent' in note for note in reader.notes)
    with pytest.raises(BagError, match='no poses'):
        BagReader(path, BagOptions(poses='truth')).trajectory()


def test_pose_of_the_camera_is_carried_to_the_base(kit: Any) -> None:
    T_base_cam = kit.matrix((0.2, 0, 0.5), (-0.5, 0.5, -0.5, 0.5))

    def make(b: Any, t: int, p: Any, q: Any) -> Any:
        T = kit.matrix(p, q) @ T_base_cam
        return b.pose_stamped(t, 'map', T[:3, 3], Rotation.from_matrix(T[:3, :3]).as_quat())

    reader = BagReader(poses_only(kit, make, '/camera_pose'))
    assert 'the pose of camera by its name' in reader.poses_source
    close(reader.trajectory().T_map_body[3], kit.matrix(*kit.truth(3)), atol=1e-9)
    path = poses_only_named(kit, make)
    reader = BagReader(path, BagOptions(pose_frame='camera'))
    close(reader.trajectory().T_map_body[3], kit.matrix(*kit.truth(3)), atol=1e-9)


def poses_only_named(kit: Any, make: Callable[[Any, int, Any, Any], Any]) -> Path:
    kit.folder = kit.folder / 'second'
    return poses_only(kit, make, '/pose')


def test_truth_before_tf_when_asked_and_both_agree(kit: Any) -> None:
    path = kit.write(kit.standard())
    tf, truth = (BagReader(path, BagOptions(poses=p)) for p in ('tf', 'truth'))
    assert truth.poses_source.startswith('/ground_truth/pose')
    close(tf.trajectory().T_map_body, truth.trajectory().T_map_body, atol=1e-12)
    named = BagReader(path, BagOptions(poses='/ground_truth/pose'))
    assert named.poses_source == truth.poses_source
    none = BagReader(path, BagOptions(poses='none', odom='none'))
    frame = next(none.frames())
    assert frame.T_map_base is None
    assert frame.T_odom_base is None
    assert len(none.trajectory()) == len(none.odometry()) == 0


def test_poses_are_interpolated_at_the_image_stamp(kit: Any) -> None:
    messages = kit.standard()
    for m in messages:
        if m.topic == '/cam/image_raw':
            m.body.header.stamp.nanosec += kit.STEP // 4
    reader = BagReader(kit.write(messages), BagOptions(sync_s=0.05))
    frames = list(reader.frames())
    close(frames[2].T_map_base, kit.matrix(*kit.truth(2.25)), atol=1e-9)
    assert frames[-1].T_map_base is None  # after the last transform
    assert frames[2].views[0].depth is not None
    assert '1 of 8 frames are without a pose' in reader.notes
    assert len(reader.trajectory()) == 7


def test_tum_file(kit: Any) -> None:
    path = kit.write(kit.standard())
    lines = ['# a remark', '']
    for i in range(8):
        p, q = kit.truth(i)
        stamp = kit.START + i * kit.STEP
        row = ' '.join(repr(float(x)) for x in [*p, *q])
        lines.append(f'{stamp // S}.{stamp % S:09d} {row}  # {i}')
    tum = kit.folder / 'poses.txt'
    tum.write_text('\n'.join(lines))
    reader = BagReader(path, BagOptions(poses=str(tum)))
    check_standard(kit, list(reader.frames()))
    assert reader.poses_source == 'poses.txt (TUM, the pose of base_link)'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('1 2 3', r'line 1: 3 numbers, not 8'),
        ('\n1 0 0 0 0 0 0 x', r'line 2: not numbers'),
        ('1 0 0 0 0 0 0 2', r'line 1: a quaternion of length 2'),
        ('1 0 nan 0 0 0 0 1', r'line 1: NaN'),
        ('# nothing', r'no poses in it'),
    ],
)
def test_bad_tum_file(kit: Any, text: str, words: str) -> None:
    tum = kit.folder / 'poses.txt'
    tum.write_text(text)
    path = kit.write(kit.standard())
    with pytest.raises(BagError, match=words):
        BagReader(path, BagOptions(poses=str(tum))).trajectory()


def test_odometry_at_its_own_rate(kit: Any) -> None:
    b, messages = kit.Builder(), kit.without(kit.standard(), '/odom', '/tf')
    for i in range(80):
        t = kit.START + i * kit.STEP // 10
        messages.append(
            kit.Msg('/odom', t, b.odometry(t, 'odom', 'base_link', *kit.truth(i / 10)))
        )
    reader = BagReader(kit.write(messages))
    assert len(reader.odometry()) == 80
    close(reader.odometry().T_map_body[15], kit.matrix(*kit.truth(1.5)), atol=1e-12)
    tf = BagReader(kit.write(kit.without(kit.standard(), '/odom'), 'tf'))
    assert tf.odom_source == 'TF odom->base_link'
    assert len(tf.odometry()) == 8


# --- cameras ------------------------------------------------------------------------------------


def test_no_base_frame_makes_the_camera_the_body(kit: Any) -> None:
    b = kit.Builder()
    messages = kit.without(kit.standard(), '/tf', '/tf_static', '/odom', '/ground_truth/pose')
    for i in range(8):
        t = kit.START + i * kit.STEP
        messages.append(kit.Msg('/tf', t, b.tf(b.edge(t, 'map', 'camera', *kit.truth(i)))))
    reader = BagReader(kit.write(messages))
    frame = next(reader.frames())
    np.testing.assert_array_equal(frame.views[0].T_base_cam, np.eye(4))
    close(frame.T_map_base, kit.matrix(*kit.truth(0)), atol=1e-12)
    assert any('(camera) is taken as the body' in note for note in reader.notes)


def test_empty_base_frame_makes_the_camera_the_body(kit: Any) -> None:
    reader = BagReader(kit.write(kit.standard()), BagOptions(base_frame='', poses='tf'))
    T_base_cam = kit.matrix((0.2, 0, 0.5), (-0.5, 0.5, -0.5, 0.5))
    close(reader.trajectory().T_map_body[2], kit.matrix(*kit.truth(2)) @ T_base_cam, atol=1e-9)


def test_a_moving_mount_is_looked_up_at_each_image(kit: Any) -> None:
    b, messages = kit.Builder(), kit.without(kit.standard(), '/tf_static')
    for i in range(8):
        t = kit.START + i * kit.STEP
        messages.append(kit.Msg('/tf', t, b.tf(b.edge(t, 'base_link', 'camera', (i, 0, 0)))))
    frames = BagReader(kit.write(messages)).frames()
    assert [f.views[0].T_base_cam[0, 3] for f in frames] == list(range(8))
    late = [m for m in messages if m.topic != '/tf' or m.log_ns >= kit.START + 3 * kit.STEP]
    reader = BagReader(kit.write(late, 'late'), BagOptions(poses='truth'))
    assert [f.views[0].T_base_cam[0, 3] for f in reader.frames()] == list(range(3, 8))
    assert any('3 of 8 frames are without /cam/image_raw, whose place' in n for n in reader.notes)


def with_info(kit: Any, **fields: Any) -> list[Any]:
    def change(i: int, body: Any) -> Any:
        stamp = body.header.stamp.sec * S + body.header.stamp.nanosec
        return kit.Builder().info(stamp, **fields)

    return kit.changed('/cam/camera_info', change)


def test_region_and_binning(kit: Any) -> None:
    messages = with_info(kit, size=(200, 100), binning=2, roi=(100, 20, 64, 48))
    camera = BagReader(kit.write(messages)).cameras[0].camera
    assert (camera.width, camera.height, camera.fx) == (32, 24, 15)
    assert camera.cx == (15.5 - 100 + 0.5) / 2 - 0.5


def test_rectified_images_use_p(kit: Any) -> None:
    p = (20, 0, 16, 0, 0, 21, 12, 0, 0, 0, 1, 0)
    messages = with_info(kit, d=(0.1, 0, 0, 0, 0), p=p)
    raw = BagReader(kit.write(messages, 'raw')).cameras[0].camera
    assert (raw.model, raw.fx) == ('plumb_bob', 30)
    for m in messages:
        if m.topic == '/cam/image_raw':
            m.topic = '/cam/image_rect'
    camera = BagReader(kit.write(messages, 'rect')).cameras[0].camera
    assert (camera.model, camera.fx, camera.fy, camera.cx) == ('pinhole', 20, 21, 16)


def test_camera_info_that_changes(kit: Any) -> None:
    def change(i: int, body: Any) -> Any:
        return kit.Builder().info(kit.START + i * kit.STEP, f=30.0 if i < 4 else 40.0)

    frames = BagReader(kit.write(kit.changed('/cam/camera_info', change))).frames()
    assert [f.views[0].camera.fx for f in frames] == [30] * 4 + [40] * 4


def test_one_camera_info_is_enough(kit: Any) -> None:
    messages = kit.changed('/cam/camera_info', lambda i, body: body if i == 5 else None)
    assert len(list(BagReader(kit.write(messages)).frames())) == 8


CALIBRATION = """
image_width: 32
image_height: 24
camera_name: cam
camera_matrix: {rows: 3, cols: 3, data: [50, 0, 16, 0, 51, 12, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [49, 0, 16, 0, 0, 49, 12, 0, 0, 0, 1, 0]}
"""


def test_calibration_file_replaces_camera_info(kit: Any) -> None:
    file = kit.folder / 'camera.yaml'
    file.write_text(CALIBRATION)
    path = kit.write(kit.without(kit.standard(), '/cam/camera_info'))
    camera = BagReader(path, BagOptions(camera=file)).cameras[0].camera
    assert (camera.fx, camera.fy, camera.model, camera.distortion[0]) == (50, 51, 'plumb_bob', 0.1)
    file.write_text('height: 24\nwidth: 32\nk: [50, 0, 16, 0, 51, 12, 0, 0, 1]\n')
    assert BagReader(path, BagOptions(camera=file)).cameras[0].camera.fy == 51


@pytest.mark.parametrize('text', ['', '[', 'a: 1', 'width: x\nheight: 1\nk: [1]', 'k: 3'])
def test_bad_calibration_file(kit: Any, text: str) -> None:
    file = kit.folder / 'camera.yaml'
    file.write_text(text)
    path = kit.write(kit.standard())
    with pytest.raises(BagError, match=r'camera\.yaml'):
        len(BagReader(path, BagOptions(camera=file)))


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


def test_header_stamps_not_log_times(kit: Any) -> None:
    messages = kit.standard()
    for m in messages:
        m.log_ns += 5 * S
    check_standard(kit, list(BagReader(kit.write(messages)).frames()))


def test_a_little_out_of_order_is_put_right(kit: Any) -> None:
    messages = kit.standard()
    images = [m for m in messages if m.topic == '/cam/image_raw']
    images[2].log_ns, images[5].log_ns = images[5].log_ns, images[2].log_ns
    messages.sort(key=lambda m: m.log_ns)
    reader = BagReader(kit.write(messages))
    check_standard(kit, list(reader.frames()))
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
