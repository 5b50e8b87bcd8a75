"""A camera of a running robot: what it needs, what it says while that is missing."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.live import LiveCamera
from vloc_models.frames.transforms import TransformTree

S = 10**9
IMAGE, INFO = '/cam/image_raw', '/cam/camera_info'
MOUNT = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, 0, 1]])


@pytest.fixture
def tree() -> TransformTree:
    tree = TransformTree()
    tree.add_static('base_link', 'camera', MOUNT)
    return tree


def live(base_frame: str = 'base_link', topic: str = IMAGE, file: str = '') -> LiveCamera:
    return LiveCamera(topic, INFO, base_frame, file)


def focal(camera: LiveCamera, stamp_ns: int) -> float:
    """Of the camera of an image at that stamp."""
    return camera.place(TransformTree(), camera.base_frame, stamp_ns)[0].fx


def test_without_camera_info_it_says_so(tree: TransformTree) -> None:
    camera = live()
    camera.restart()  # makes no camera
    with pytest.raises(BagError, match='no camera_info on /cam/camera_info') as caught:
        camera.place(tree, 'camera', S)
    assert 'camera_file' in caught.value.fix


def test_a_camera_that_is_not_calibrated_is_told_until_it_is(kit: Any) -> None:
    camera, b = live(), kit.Builder()
    camera.add_info(b.info(S))
    with pytest.raises(BagError, match='/cam/camera_info: K is all zeros'):
        camera.add_info(b.info(2 * S, f=0.0))
    with pytest.raises(BagError, match='/cam/camera_info: K is all zeros'):
        focal(camera, 3 * S)
    camera.add_info(b.info(4 * S, f=40.0))
    assert focal(camera, 3 * S) == 40


def test_the_stamp_of_the_image_decides_which_camera_info_holds(kit: Any) -> None:
    camera, b = live(), kit.Builder()
    camera.add_info(b.info(10 * S, f=30.0))
    for k in range(20):  # the same one again and again
        camera.add_info(b.info((20 + k) * S, f=40.0))
    camera.add_info(b.info(50 * S, f=30.0))
    asked = {5: 30, 10: 30, 19.999: 30, 20: 40, 49.999: 40, 50: 30, 99: 30}
    assert {s: focal(camera, round(s * S)) for s in asked} == asked


def test_camera_info_without_a_stamp_holds_for_every_image(kit: Any) -> None:
    camera, b = live(), kit.Builder()
    camera.add_info(b.info(10 * S, f=30.0))
    camera.add_info(b.info(0, f=40.0))
    assert [focal(camera, s * S) for s in (5, 15)] == [40, 40]


def test_after_the_clock_was_set_back_the_last_camera_info_holds(kit: Any) -> None:
    camera, b = live(), kit.Builder()
    camera.add_info(b.info(100 * S, f=30.0))
    camera.add_info(b.info(200 * S, f=40.0))
    camera.restart()
    assert [focal(camera, s * S) for s in (5, 150, 250)] == [40, 40, 40]
    camera.add_info(b.info(10 * S, f=50.0))
    assert [focal(camera, s * S) for s in (5, 15, 150)] == [40, 50, 50]


def test_an_image_of_another_size_names_both_topics(kit: Any, tree: TransformTree) -> None:
    camera, b = live(), kit.Builder()
    camera.add_info(b.info(S))
    place = camera.place(tree, 'camera', S)
    words = '/cam/image_raw: images are 16x12, but /cam/camera_info says 32x24'
    with pytest.raises(BagError, match=words):
        camera.view(b.image(S, np.zeros((12, 16, 3), np.uint8)), place)


def test_an_image_that_cannot_be_read_names_its_topic(kit: Any, tree: TransformTree) -> None:
    camera, b = live(), kit.Builder()
    camera.add_info(b.info(S))
    place = camera.place(tree, 'camera', S)
    with pytest.raises(BagError, match=r"^/cam/image_raw: image encoding 'rgb9' is not supp"):
        camera.view(b.image(S, kit.picture(0), 'rgb9'), place)


@pytest.mark.parametrize(
    ('base_frame', 'frame_id'),
    [
        ('', 'camera'),
        ('', 'nobody_knows_it'),
        ('camera', 'camera'),
        ('camera', '/camera'),
    ],
)
def test_the_camera_may_be_the_body(kit: Any, base_frame: str, frame_id: str) -> None:
    camera = live(base_frame)
    camera.add_info(kit.Builder().info(S))
    T_base_cam = camera.place(TransformTree(), frame_id, S)[1]
    np.testing.assert_array_equal(T_base_cam, np.eye(4))


def test_the_body_is_one_camera_and_has_a_name(kit: Any) -> None:
    camera = live('')
    camera.add_info(kit.Builder().info(S))
    with pytest.raises(BagError, match='no frame_id'):
        camera.place(TransformTree(), '', S)
    camera.place(TransformTree(), 'left', S)
    with pytest.raises(BagError, match="was 'left' and is 'right' now"):
        camera.place(TransformTree(), 'right', 2 * S)


def test_after_a_restart_the_camera_is_the_last_that_came(kit: Any) -> None:
    camera, builder = live(''), kit.Builder()
    first, second = builder.info(9 * S), builder.info(S)
    second.k[0] *= 2
    for info in (first, second):  # the second is of the next round already
        camera.add_info(info)
    camera.restart()
    assert camera.place(TransformTree(), 'camera', 2 * S)[0].fx == second.k[0]


@pytest.mark.parametrize('frame_id', ['camera', '/camera'])
def test_the_mount_is_looked_up(kit: Any, tree: TransformTree, frame_id: str) -> None:
    camera = live()
    camera.add_info(kit.Builder().info(S))
    np.testing.assert_allclose(camera.place(tree, frame_id, 7 * S)[1], MOUNT, atol=1e-12)


def test_a_moving_mount_is_taken_at_the_stamp_of_the_image(kit: Any) -> None:
    camera, tree = live(), TransformTree()
    camera.add_info(kit.Builder().info(S))
    for k in range(3):
        tree.add_quat('base_link', 'camera', S + k * S // 2, (k, 0, 0), (0, 0, 0, 1))
    T_base_cam = camera.place(tree, 'camera', S + 3 * S // 4)[1]
    np.testing.assert_allclose(T_base_cam[:3, 3], [1.5, 0, 0])
    with pytest.raises(BagError, match=r'not known: tf base_link->camera: nothing at 3\.00 s'):
        camera.place(tree, 'camera', 3 * S)  # not yet


def refusal(kit: Any, tree: TransformTree, frame_id: str = 'camera') -> BagError:
    camera = live()
    camera.add_info(kit.Builder().info(S))
    with pytest.raises(BagError) as caught:
        camera.place(tree, frame_id, S)
    return caught.value


def test_images_without_a_frame_are_told(kit: Any, tree: TransformTree) -> None:
    error = refusal(kit, tree, '')
    assert error.what == '/cam/image_raw: its images have no frame_id'
    assert 'driver' in error.fix


@pytest.mark.parametrize('known', [True, False])
def test_a_frame_that_nobody_published_says_how_to_publish_it(
    kit: Any, tree: TransformTree, known: bool
) -> None:
    error = refusal(kit, tree if known else TransformTree(), 'cam_2')
    assert 'where /cam/image_raw sits on the robot is not known' in error.what
    assert "no frame '" in error.what
    assert 'static_transform_publisher' in error.fix
    assert 'base_frame' in error.fix


def test_a_loop_says_that_one_node_is_to_publish(kit: Any) -> None:
    tree = TransformTree()
    for parent, child in (('base_link', 'b'), ('b', 'base_link'), ('a', 'camera')):
        tree.add_static(parent, child, np.eye(4))
    error = refusal(kit, tree)
    assert 'tf: loop b -> base_link -> b' in error.what
    assert 'only one node publish' in error.fix


def test_rival_parents_say_that_one_node_is_to_publish(kit: Any, tree: TransformTree) -> None:
    tree.add_static('gripper', 'camera', np.eye(4))
    error = refusal(kit, tree)
    assert 'camera has more than one parent: base_link and gripper' in error.what
    assert 'only one node publish' in error.fix


def calibration(folder: Path) -> Path:
    """As camera_calibration writes it."""
    data = {
        'image_width': 32,
        'image_height': 24,
        'camera_matrix': {'data': [44, 0, 16, 0, 44, 12, 0, 0, 1]},
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'data': [0.1, 0, 0, 0, 0]},
        'projection_matrix': {'data': [55, 0, 16, 0, 0, 55, 12, 0, 0, 0, 1, 0]},
    }
    path = folder / 'camera.yaml'
    path.write_text(yaml.safe_dump(data))
    return path


def test_a_calibration_file_wins_over_camera_info(kit: Any, tmp_path: Path) -> None:
    path, b = calibration(tmp_path), kit.Builder()
    camera = live(file=str(path))
    camera.add_info(b.info(S, f=30.0))
    camera.add_info(b.info(S, f=0.0))  # not even a bad one
    camera.restart()
    assert focal(camera, 2 * S) == 44
    place = camera.place(TransformTree(), 'base_link', S)
    with pytest.raises(BagError, match=f'but {re.escape(str(path))} says 32x24'):
        camera.view(b.image(S, np.zeros((12, 16, 3), np.uint8)), place)


@pytest.mark.parametrize('text', [None, 'image_width: 3', '[', 'width: 3\nheight: 2\nk: [0]'])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / 'camera.yaml'
    if text is not None:
        path.write_text(text)
    with pytest.raises(VlocError, match=re.escape(str(path))):
        live(file=str(path))


@pytest.mark.parametrize('topic', ['/cam/image_rect', '/cam/image_rect_color/compressed'])
def test_rectified_images_are_seen_by_the_projection_matrix(
    kit: Any, tmp_path: Path, topic: str
) -> None:
    p = [50, 0, 16, 0, 0, 50, 12, 0, 0, 0, 1, 0]
    info = kit.Builder().info(S, d=(0.1, 0, 0, 0, 0), p=p)
    found = []
    for camera in (live(topic=topic), live()):
        camera.add_info(info)
        found.append(camera.place(TransformTree(), 'base_link', S)[0])
    assert [(c.fx, c.cx, c.model) for c in found] == [(50, 16, 'pinhole'), (30, 15.5, 'plumb_bob')]
    assert focal(live(topic=topic, file=str(calibration(tmp_path))), S) == 55


@pytest.mark.parametrize('packed', [False, True])
def test_a_live_image_becomes_the_view_that_a_bag_gives(kit: Any, packed: bool) -> None:
    messages = kit.without(kit.standard(), '/cam/depth/image')
    topic = f'{IMAGE}/compressed' if packed else IMAGE
    for k, message in enumerate(m for m in messages if m.topic == IMAGE and packed):
        data = cv2.imencode('.jpg', kit.picture(k)[..., ::-1])[1].tobytes()
        message.topic = topic
        message.body = kit.Builder().compressed(message.log_ns, data, 'rgb8; jpeg compressed bgr8')
    tree, camera, views = TransformTree(), live(topic=topic), []
    for m in messages:
        if m.topic in ('/tf', '/tf_static'):
            tree.add_message(m.body, m.topic == '/tf_static')
        elif m.topic == INFO:
            camera.add_info(m.body)
        elif m.topic == topic:
            place = camera.place(tree, m.body.header.frame_id, m.log_ns)
            views.append(camera.view(m.body, place))
    with BagReader(kit.write(messages)) as reader:
        assert [c.name for c in reader.cameras] == [topic]
        for view, frame in zip(views, reader.frames(), strict=True):
            np.testing.assert_array_equal(view.image, frame.views[0].image)
            np.testing.assert_array_equal(view.T_base_cam, frame.views[0].T_base_cam)
            assert view.camera == frame.views[0].camera
