"""What ``vloc info`` is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vloc_models.errors import BagError
from vloc_models.frames.survey import survey


def test_a_good_bag(kit: Any) -> None:
    messages = kit.standard()
    extra = kit.Builder().pose_stamped(kit.START, 'map', (0, 0, 0), (0, 0, 0, 1))
    found = survey(kit.write([*messages, kit.Msg('/goal_pose', kit.START, extra)]))
    assert found.problems == ()
    assert found.storage == 'rosbag2 mcap'
    assert found.frames == 8
    assert found.duration_s == pytest.approx(0.7)
    topics = {t.name: t for t in found.topics}
    assert topics['/cam/image_raw'].count == 8
    assert topics['/cam/image_raw'].rate_hz == pytest.approx(10)
    assert topics['/cam/image_raw'].longest_gap_s == pytest.approx(0.1)
    assert topics['/tf'].count == 16
    assert found.poses_source == 'TF map->base_link'
    words = [s.words for s in found.pose_sources]
    assert words[0] == 'TF map->base_link'
    assert words[1].startswith('/ground_truth/pose')
    assert words[-1] == 'TF odom->base_link'
    assert [s.drifts for s in found.pose_sources] == [False, False, True, True]
    assert found.tf_frames == ('base_link', 'camera', 'map', 'odom')
    assert found.length_m == pytest.approx(0.7)


def test_a_gap_in_a_topic(kit: Any) -> None:
    messages = kit.changed('/odom', lambda i, body: None if i in (3, 4) else body)
    found = survey(kit.write(messages, storage='sqlite3', compression='file'))
    assert found.storage == 'rosbag2 db3 zstd'
    (odom,) = (t for t in found.topics if t.name == '/odom')
    assert odom.longest_gap_s == pytest.approx(0.3)


def test_what_cannot_be_opened_raises(tmp_path: Path) -> None:
    (tmp_path / 'a.mcap').write_bytes(b'nonsense')
    with pytest.raises(BagError, match='damaged or not a bag'):
        survey(tmp_path / 'a.mcap')


def test_the_real_bags(real_bag: Callable[[str], Path]) -> None:
    found = survey(real_bag('redkitchen_map'))
    assert found.problems == ()
    assert (found.frames, len(found.topics), len(found.cameras)) == (225, 7, 1)
    found = survey(real_bag('redkitchen_dev'))
    assert found.problems == ()
    assert found.poses_source.startswith('/ground_truth/pose (PoseStamped')
