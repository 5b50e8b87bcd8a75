"""Transforms and pose files that are wrong: no pose is made of them, and it is told."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions


def with_tf(kit: Any, change: Callable[[int, Any], Any], n: int = 8) -> Path:
    """The good bag without truth, its odom->base_link transforms changed (None drops)."""
    messages, i = [], 0
    for m in kit.without(kit.standard(n), '/ground_truth/pose', '/odom'):
        if m.topic == '/tf' and m.body.transforms[0].child_frame_id == 'base_link':
            body = change(i, m.body)
            i += 1
            if body is None:
                continue
            m.body = body
        messages.append(m)
    return kit.write(messages)


@pytest.mark.parametrize('w', [math.nan, 0.0, 2.0])
def test_bad_quaternions_never_make_a_pose(kit: Any, w: float) -> None:
    def change(i: int, body: Any) -> Any:
        if i == 3:
            r = body.transforms[0].transform.rotation
            r.x, r.y, r.z, r.w = 0.0, 0.0, 0.0, w
        return body

    path = with_tf(kit, change)
    reader = BagReader(path)
    poses = reader.trajectory()  # interpolated between the neighbours
    np.testing.assert_allclose(poses.T_map_body[3], kit.matrix(*kit.truth(3)), atol=1e-9)
    assert any('left out a transform with' in note for note in reader.notes)
    kit.surveyed(path, 'left out a transform with')


def test_tf_gap(kit: Any) -> None:
    path = with_tf(kit, lambda i, body: None if 10 <= i < 20 else body, 30)
    reader = BagReader(path)
    frames = list(reader.frames())
    assert len(frames) == 30
    assert [i for i, f in enumerate(frames) if f.T_map_base is None] == list(range(10, 20))
    assert '10 of 30 frames are without a pose' in reader.notes
    assert len(reader.trajectory()) == 20
    assert len(BagReader(path, BagOptions(max_gap_s=2)).trajectory()) == 30


def test_tf_loop(kit: Any) -> None:
    b, messages = kit.Builder(), kit.without(kit.standard(), '/ground_truth/pose', '/odom')
    for i in range(8):
        t = kit.START + i * kit.STEP
        messages.append(kit.Msg('/tf', t, b.tf(b.edge(t, 'base_link', 'map'))))
    path = kit.write(messages)
    kit.refused(path, 'tf: loop base_link -> map -> odom -> base_link', BagOptions(poses='tf'))
    kit.surveyed(path, 'loop')


def test_two_parents(kit: Any) -> None:
    b, messages = kit.Builder(), kit.without(kit.standard(), '/ground_truth/pose', '/odom')
    t = kit.START
    messages.append(kit.Msg('/tf', t, b.tf(b.edge(t, 'vio', 'base_link'))))
    path = kit.write(messages)
    kit.refused(path, 'base_link has more than one parent: odom and vio')
    kit.surveyed(path, 'more than one parent')


def test_unconnected_trees(kit: Any) -> None:
    path = with_tf(kit, lambda i, body: None)
    kit.refused(path, 'no poses', BagOptions(poses='auto'))
    kit.refused(path, "no frame 'base_link'|not connected", BagOptions(poses='tf'))


def test_tum_file_of_another_clock(kit: Any) -> None:
    tum = kit.folder / 'poses.txt'
    tum.write_text('1 0 0 0 0 0 0 1\n2 1 0 0 0 0 0 1\n')
    kit.refused(kit.write(kit.standard()), 'no poses in the map', BagOptions(poses=str(tum)))
