"""Where no pose is found, a guess is told in ~/status, and nowhere else: nothing drives by it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from vloc_models.geometry import se3
from vloc_models.localize.by_landmarks import Answer
from vloc_models.localize.localizer import Localizer
from vloc_models.records import PoseEstimate, Verdict, View

pytestmark = pytest.mark.flaky(reruns=2, only_rerun=['not within', 'is not served'])


class Prior:
    """Says where it is told to."""

    def __init__(self, estimate: PoseEstimate) -> None:
        self.estimate = estimate

    def told(self, view: View) -> PoseEstimate:
        return self.estimate


def spoilt(localizer: Localizer, view: View) -> tuple[View, Answer]:
    """So much of it covered that what is left is matched, but is no pose."""
    for share in np.arange(0.6, 0.96, 0.02):
        image = view.image.copy()
        image[:, : int(share * image.shape[1])] = 128
        harmed = replace(view, image=image)
        answer = localizer.explain([harmed])
        if answer.estimate is not None and answer.fix.estimate is None:
            return harmed, answer
    raise AssertionError('none is spoilt enough')


def test_a_coarse_pose(robot: Any, ros: Any, tiny_site: Path) -> None:
    node = robot.localizer(tiny_site)
    robot.ready()
    view, answer = spoilt(node._localizer, robot.view(5))
    assert answer.T_map_base is not None
    T = answer.T_map_base @ se3.exp([0.1, 0, 0, 0, 0, 0.1])
    prior: Any = Prior(PoseEstimate(T, 0.04 * np.eye(6), 0, 0.0, 0.0, np.nan))
    node._localizer = replace(node._localizer, pose_prior=prior)
    stamp = robot.now()
    picture = robot.picture(5, stamp)
    picture.data = view.image.tobytes()
    robot.move(5, stamp - 10**7)
    robot.image.publish(picture)
    robot.move(5, stamp + 10**7)
    status = robot.said(stamp, 'status')
    told = ros.values(status)
    assert told['verdict'] == Verdict.COARSE.value
    assert 'the pose prior' in status.status[0].message
    assert told['state'] == 'lost'
    guess = [float(told[f'guess_{key}']) for key in ('x_m', 'y_m', 'z_m', 'yaw_deg', 'sigma_m')]
    wanted = [*T[:3, 3], np.degrees(se3.to_rpy(T)[2]), 0.2]
    np.testing.assert_allclose(guess, wanted, atol=0.006)
    assert told['inliers'] == '0'
    robot.wait(0.5)
    assert not robot.heard['pose']
    assert not robot.heard['pose_raw']
    assert not robot.transforms()
    accepted = ros.values(robot.said(robot.show(5), 'status'))
    assert accepted['verdict'] == 'accepted'
    assert not any(key.startswith('guess') for key in accepted)
