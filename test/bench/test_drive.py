"""bench/drive.py on a short drive: the track beats its parts, and what goes wrong shows."""

from typing import Any

import numpy as np
import pytest

from vloc_models.frames.synthetic import WorldSpec
from vloc_models.frames.synthetic.world import Floor, build_world


@pytest.fixture(scope='module')
def floor() -> Floor:
    return build_world(WorldSpec(100, rooms=1)).floor


def driven(drive: Any, floor: Floor, **odd: float) -> tuple[Any, Any, dict[str, float]]:
    course = drive.simulate(floor, drive.Scenario(**odd), seed=1, stops=2)
    log = drive.follow(course)
    return course, log, drive.figures([(course, log)])


def test_the_fused_pose_is_better_than_fixes_and_odometry_alone(drive: Any, floor: Floor) -> None:
    _, log, told = driven(drive, floor)
    assert told['fused_median_cm'] < 0.5 * told['fixes_median_cm']
    assert told['fused_median_cm'] < 0.5 * told['odometry_median_cm']
    assert told['localized'] > 0.95
    assert told['wrong_while_localized'] == told['extrapolations'] == 0
    assert told['lookups'] > 1000
    assert told['nees'] < 8
    assert told['recovery_s'] is None
    assert drive.plot('x', _, log).axes


def test_wrong_and_late_fixes_do_no_harm(drive: Any, floor: Floor) -> None:
    _, _, told = driven(drive, floor, wrong=0.2, latency_s=0.3, jitter_s=0.25)
    assert told['fixes_p99_cm'] > 100
    assert told['fused_p99_cm'] < 5
    assert told['wrong_while_localized'] == 0


def test_a_robot_that_is_carried_away_is_found_within_two_seconds(
    drive: Any, floor: Floor
) -> None:
    course, log, told = driven(drive, floor, carried_every_s=8.0)
    assert len(course.carried_ns) >= 2
    assert told['recovery_s'] < 2
    assert told['wrong_while_localized'] < 0.1
    assert 0 < drive.unseen(course, log).mean() < 0.2


def test_errors_of_simulated_fixes_are_as_large_as_told(drive: Any, floor: Floor) -> None:
    course = drive.simulate(floor, drive.Scenario(refused=0), seed=3, stops=4)
    squared = []
    for fix in course.fixes:
        off = drive.difference(course.truth.at(fix.stamp_ns, 1), fix.estimate.T_map_base)
        squared.append(off @ np.linalg.solve(fix.estimate.covariance, off))
    assert np.mean(squared) == pytest.approx(6, rel=0.35)
