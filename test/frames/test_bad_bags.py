"""Bags that are damaged, incomplete or wrong: one line that says what, where, and how to fix."""

import contextlib
import math
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from vloc_models.errors import BagError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.frames.survey import check_mapping, survey

S = 10**9


# --- the file -----------------------------------------------------------------------------------


def read_all(path: Path) -> BagError | None:
    """Read a bag to its end; the error, if it was one of ours (any other fails the test)."""
    try:
        with BagReader(path) as reader:
            assert sum(1 for _ in reader.frames()) <= 8
    except BagError as e:
        return e
    return None


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3', 'ros1'])
def test_truncated_anywhere(kit: Any, storage: str) -> None:
    path = kit.write(kit.standard(ros1=storage == 'ros1'), storage=storage)
    file = (
        next((f for f in path.iterdir() if f.suffix != '.yaml'), path) if path.is_dir() else path
    )
    whole = file.read_bytes()
    sizes = {0, 1, 7, 8, 9, 100, len(whole) - 1, len(whole) - 8, len(whole) - 40}
    sizes |= {int(s) for s in np.linspace(0, len(whole) - 2, 40)}
    refusals = 0
    for size in sorted(sizes):
        file.write_bytes(whole[:size])
        for target in {file, path}:
            error = read_all(target)
            if error is not None:
                refusals += 1
                assert '\n' not in str(error)
                helps = ('repair', 'again', 'record', 'reindex')
                assert any(word in error.fix for word in helps), str(error)
    assert refusals >= len(sizes) * 0.9


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3', 'ros1'])
@pytest.mark.parametrize('compression', ['', 'packed'])
def test_flipped_bytes(kit: Any, storage: str, compression: str) -> None:
    how = {'mcap': 'storage', 'sqlite3': 'message', 'ros1': 'lz4'}[storage] if compression else ''
    path = kit.write(kit.standard(ros1=storage == 'ros1'), storage=storage, compression=how)
    file = (
        next((f for f in path.iterdir() if f.suffix != '.yaml'), path) if path.is_dir() else path
    )
    whole, rng = file.read_bytes(), np.random.default_rng(5)
    for _ in range(60):
        broken = bytearray(whole)
        for at in rng.integers(0, len(whole), 4):
            broken[at] ^= int(rng.integers(1, 256))
        file.write_bytes(broken)
        assert '\n' not in str(read_all(path))


def test_empty_file_and_no_bag(kit: Any, tmp_path: Path) -> None:
    for name in ('a.mcap', 'a.db3', 'a.bag'):
        (tmp_path / name).touch()
        kit.refused(tmp_path / name, 'the file is empty')
    kit.refused(tmp_path / 'none', 'no such bag')
    (tmp_path / 'a.txt').touch()
    kit.refused(tmp_path / 'a.txt', r'not a \.mcap, \.db3 or \.bag file')
    (tmp_path / 'folder').mkdir()
    kit.refused(tmp_path / 'folder', r'without metadata\.yaml')


@pytest.mark.parametrize('text', ['', 'a: 1', '[', 'rosbag2_bagfile_information: {version: 99}'])
def test_bad_metadata(kit: Any, text: str) -> None:
    path = kit.write(kit.standard())
    (path / 'metadata.yaml').write_text(text)
    assert 'ros2 bag reindex' in kit.refused(path, 'damaged or not a bag').fix


def test_missing_part_of_a_bag(kit: Any) -> None:
    path = kit.write(kit.standard())
    (path / 'bag.mcap').unlink()
    kit.refused(path, 'files are missing')


def test_the_damaged_part_of_a_bag_is_named(kit: Any) -> None:
    """A recorder that lost power leaves a last part without its end."""
    path, other = kit.write(kit.standard()), kit.write(kit.standard(), 'other')
    part = path / 'last.mcap'
    part.write_bytes((other / 'other.mcap').read_bytes()[:-100])
    meta = yaml.safe_load((path / 'metadata.yaml').read_text())
    body = meta['rosbag2_bagfile_information']
    body['relative_file_paths'].append(part.name)
    body['files'].append({**body['files'][0], 'path': part.name})
    (path / 'metadata.yaml').write_text(yaml.safe_dump(meta))
    error = kit.refused(path, 'last.mcap: damaged')
    assert 'mcap recover' in error.fix
    assert 'last.mcap' in error.fix
    (path / 'metadata.yaml').unlink()
    kit.refused(path, 'last.mcap: damaged')


@pytest.mark.parametrize('change', ["timestamp = x'00'", 'timestamp = NULL', 'data = 3'])
def test_a_database_with_values_of_another_type(kit: Any, change: str) -> None:
    path = kit.write(kit.standard(), storage='sqlite3')
    with contextlib.closing(sqlite3.connect(path / 'bag.db3')) as database, database:
        database.execute('CREATE TABLE m AS SELECT * FROM messages')  # without NOT NULL
        database.execute(f'UPDATE m SET {change} WHERE id = 20')
        database.execute('DROP TABLE messages')
        database.execute('ALTER TABLE m RENAME TO messages')
    kit.refused(path, 'damaged')
    kit.surveyed(path, 'damaged')


def test_images_of_which_none_comes(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged index of a file hides its messages from the second pass."""
    monkeypatch.setattr(BagReader, 'frames', lambda _: iter(()))
    kit.surveyed(kit.write(kit.standard()), 'no frame can be read')


def test_a_damaged_message_is_told_by_its_topic(kit: Any) -> None:
    file = kit.write(kit.standard()) / 'bag.mcap'
    frame = b'\x05\0\0\0odom\0'  # a string and its length
    file.write_bytes(file.read_bytes().replace(frame, b'\xff\xff' + frame[2:]))
    notes = [p.what for p in survey(file).problems]
    assert any(re.match(r'/\w+: a damaged message: ', note) for note in notes), notes


def test_bag_without_messages(kit: Any) -> None:
    path = kit.write([])
    kit.refused(path, 'no colour or grey images; image topics are none')
    kit.surveyed(path, 'no colour or grey images')


def test_metadata_that_hides_messages_is_told(kit: Any) -> None:
    path = kit.write(kit.standard())
    text = (path / 'metadata.yaml').read_text()
    (path / 'metadata.yaml').write_text(text.replace('message_count: 8', 'message_count: 11'))
    reader = BagReader(path)
    assert len(reader) == 8
    assert any('says it has 11 messages, but 8 were found' in note for note in reader.notes)


# --- what is not there --------------------------------------------------------------------------


def test_no_images(kit: Any) -> None:
    path = kit.write(kit.without(kit.standard(), '/cam/image_raw'))
    error = kit.refused(path, r'no colour or grey images; image topics are /cam/depth/image')
    assert '--image-topics' in error.fix
    kit.surveyed(path, 'no colour or grey images')


def test_image_topic_that_is_not_there(kit: Any) -> None:
    path = kit.write(kit.standard())
    options = BagOptions(image_topics=('/front',))
    kit.refused(
        path, r'no images on /front; image topics are /cam/depth/image, /cam/image', options
    )
    kit.refused(path, 'no depth on /x', BagOptions(depth_topics=('/x',)))
    kit.refused(path, '2 depth topics for 1 image topics', BagOptions(depth_topics=('/x', '/y')))
    kit.refused(path, 'no camera_info on /x', BagOptions(camera_info_topics=('/x',)))
    kit.refused(
        path, 'neither a pose topic nor a TUM file; pose topics are /gro', BagOptions(poses='x')
    )
    kit.refused(path, 'no odometry on /x; pose topics are', BagOptions(odom='/x'))
    kit.refused(path, r"no frame 'world'; known are", BagOptions(poses='tf', map_frame='world'))


def test_no_camera_info(kit: Any) -> None:
    path = kit.write(kit.without(kit.standard(), '/cam/camera_info'))
    assert '--camera' in kit.refused(path, r'/cam/image_raw: no camera_info').fix
    kit.surveyed(path, 'no camera_info')


def test_no_poses(kit: Any) -> None:
    path = kit.write(kit.without(kit.standard(), '/tf', '/odom', '/ground_truth/pose'))
    assert '--poses' in kit.refused(path, r"no poses in 'map' at the image stamps").fix
    kit.surveyed(path, "no poses in 'map'")


def test_no_mount(kit: Any) -> None:
    path = kit.write(kit.without(kit.standard(), '/tf_static'))
    error = kit.refused(path, r"where /cam/image_raw sits on the robot is not known: .*'camera'")
    assert '/tf_static' in error.fix
    kit.surveyed(path, 'sits on the robot is not known')


def test_one_frame(kit: Any) -> None:
    path = kit.write(kit.standard(1))
    kit.refused(path, 'only one frame with a pose, of 1')
    kit.surveyed(path, 'only one frame')


def still(kit: Any) -> list[Any]:
    b = kit.Builder()
    messages = kit.without(kit.standard(), '/odom', '/ground_truth/pose')
    return [
        kit.Msg(m.topic, m.log_ns, b.tf(b.edge(m.log_ns, 'map', 'base_link')))
        if m.topic == '/tf'
        else m
        for m in messages
    ]


def test_poses_that_never_move(kit: Any) -> None:
    path = kit.write(still(kit))
    kit.refused(path, r'the poses never move: 0\.0 cm and 0\.0 deg over 8 frames')
    kit.surveyed(path, 'the poses never move')


def test_poses_that_jump_are_told(kit: Any) -> None:
    b, messages = kit.Builder(), kit.without(kit.standard(), '/tf', '/odom', '/ground_truth/pose')
    for i in range(8):
        t, x = kit.START + i * kit.STEP, i * 0.1 + (100 if i > 4 else 0)
        body = b.pose_stamped(t, 'map', (x, 0, 0), (0, 0, 0, 1))
        messages.append(kit.Msg('/pose', t, body))
    path = kit.write(messages)
    check_mapping(BagReader(path))
    kit.surveyed(path, 'the poses jump 1 times, first by 100.1 m')


# --- images -------------------------------------------------------------------------------------


def test_unknown_encoding(kit: Any) -> None:
    def change(i: int, body: Any) -> Any:
        body.encoding = 'jpeg2000'
        return body

    path = kit.write(kit.changed('/cam/image_raw', change))
    error = kit.refused(path, r"/cam/image_raw: image encoding 'jpeg2000' is not supported")
    assert 'rgb8' in error.fix
    kit.surveyed(path, 'jpeg2000')


def test_image_size_other_than_camera_info(kit: Any) -> None:
    def change(i: int, body: Any) -> Any:
        return kit.Builder().info(kit.START + i * kit.STEP, size=(640, 480))

    path = kit.write(kit.changed('/cam/camera_info', change))
    kit.refused(path, r'/cam/image_raw: images are 32x24, but /cam/camera_info says 640x480')
    kit.surveyed(path, 'images are 32x24')


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'f': 0.0}, 'not calibrated'),
        ({'f': math.nan}, 'not usable'),
        ({'f': -3.0}, 'not usable'),
        ({'d': (math.nan, 0, 0, 0, 0)}, 'not usable'),
        ({'d': (0.1,), 'model': 'thin_prism'}, "'thin_prism' is not supported"),
        ({'size': (0, 0)}, 'the image size is not positive'),
    ],
)
def test_bad_intrinsics(kit: Any, fields: dict[str, Any], words: str) -> None:
    def change(i: int, body: Any) -> Any:
        return kit.Builder().info(kit.START + i * kit.STEP, **fields)

    path = kit.write(kit.changed('/cam/camera_info', change))
    kit.refused(path, f'/cam/camera_info: .*{words}')
    kit.surveyed(path, words)


def test_a_damaged_picture_is_left_out(kit: Any) -> None:
    def change(i: int, body: Any) -> Any:
        if i == 3:
            body.data = body.data[:50]
        return body

    reader = BagReader(kit.write(kit.changed('/cam/image_raw', change)))
    assert len(list(reader.frames())) == 7
    assert any('one frame left out: /cam/image_raw: image 32x24' in n for n in reader.notes)


def test_damaged_depth_is_left_out(kit: Any) -> None:
    def change(i: int, body: Any) -> Any:
        if i == 3:
            body.data = body.data[:50]
        return body

    reader = BagReader(kit.write(kit.changed('/cam/depth/image', change)))
    assert [f.views[0].depth is None for f in reader.frames()] == [i == 3 for i in range(8)]
    assert any(
        '1 of 8 frames are without /cam/depth/image, which is dam' in n for n in reader.notes
    )


def test_only_damaged_pictures(kit: Any) -> None:
    def change(i: int, body: Any) -> Any:
        body.data = body.data[:50]
        return body

    kit.refused(kit.write(kit.changed('/cam/image_raw', change)), 'image 32x24 rgb8: 50 bytes')
    kit.refused(kit.write(kit.changed('/cam/image_raw', change, 30), 'long'), '50 bytes')


def test_truncated_jpegs(kit: Any) -> None:
    b, messages = kit.Builder(), kit.without(kit.standard(), '/cam/image_raw')
    for i in range(8):
        t = kit.START + i * kit.STEP
        data = cv2.imencode('.jpg', kit.picture(i))[1].tobytes()[:300]
        body = b.compressed(t, data, 'bgr8; jpeg compressed bgr8')
        messages.append(kit.Msg('/cam/image_raw/compressed', t, body))
    kit.refused(kit.write(messages), 'the jpeg is cut off after 300 bytes')


def test_depth_of_another_size_or_frame_is_not_used(kit: Any) -> None:
    def smaller(i: int, body: Any) -> Any:
        stamp = kit.START + i * kit.STEP
        return kit.Builder().image(stamp, np.ones((12, 16), np.uint16), '16UC1')

    reader = BagReader(kit.write(kit.changed('/cam/depth/image', smaller)))
    assert all(f.views[0].depth is None for f in reader.frames())
    assert '8 of 8 frames are without /cam/depth/image, which is 16x12' in reader.notes

    def elsewhere(i: int, body: Any) -> Any:
        body.header.frame_id = 'depth_camera'
        return body

    reader = BagReader(kit.write(kit.changed('/cam/depth/image', elsewhere), 'other'))
    assert all(f.views[0].depth is None for f in reader.frames())
    assert any("in frame 'depth_camera'" in note for note in reader.notes)


# --- stamps -------------------------------------------------------------------------------------


def restamped(kit: Any, stamp: Callable[[int], int], n: int = 40) -> Path:
    """The good bag, its images with other header stamps."""

    def change(i: int, body: Any) -> Any:
        body.header.stamp.sec, body.header.stamp.nanosec = divmod(stamp(i), S)
        return body

    return kit.write(kit.changed('/cam/image_raw', change, n))


def test_duplicate_stamps(kit: Any) -> None:
    reader = BagReader(restamped(kit, lambda i: kit.START + i // 2 * 2 * kit.STEP))
    assert len(reader) == len(list(reader.frames())) == 20
    assert any('20 images with the stamp of another' in note for note in reader.notes)


def test_backward_stamps(kit: Any) -> None:
    back = 25  # the clock jumps back by two seconds and half a step
    reader = BagReader(
        restamped(kit, lambda i: kit.START + i * kit.STEP - (2 * S + kit.STEP // 2) * (i >= back))
    )
    stamps = [f.stamp_ns for f in reader.frames()]
    assert stamps == sorted(set(stamps))
    assert len(stamps) == len(reader) < 40
    assert any('jump back' in note for note in reader.notes)


def test_zero_stamps_fall_back_on_the_log(kit: Any) -> None:
    reader = BagReader(restamped(kit, lambda i: 0, 8))
    assert [f.stamp_ns for f in reader.frames()] == [kit.START + i * kit.STEP for i in range(8)]
    assert any('8 images have no stamp' in note for note in reader.notes)
