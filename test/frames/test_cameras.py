"""Cameras of a bag: calibration, mount, rectified images, rigs."""

from typing import Any

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions

S = 10**9


def close(actual: Any, expected: Any, **tolerance: Any) -> None:
    np.testing.assert_allclose(actual, expected, **tolerance)


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
    with pytest.raises(VlocError, match=r'camera\.yaml'):
        len(BagReader(path, BagOptions(camera=file)))
