"""A map that is aligned to another frame answers in that frame, and else as before."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.geometry import se3
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.mapping.realign import realign
from vloc_models.maps import open_map
from vloc_models.records import PoseEstimate, Verdict

T_frame_map = se3.from_xyz_rpy([30.0, -4.0, 1.5], [0.1, -0.2, 2.5])


@pytest.fixture(scope='module')
def aligned(tiny_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('aligned') / 'site'
    shutil.copytree(tiny_site, path)
    realign(open_map(path), T_frame_map)
    return path


def carried(old: PoseEstimate, new: PoseEstimate) -> None:
    """Check that one is the other, seen from the other frame."""
    np.testing.assert_allclose(new.T_map_base, T_frame_map @ old.T_map_base, atol=1e-6)
    turn = np.kron(np.eye(2), T_frame_map[:3, :3])
    told = turn @ old.covariance @ turn.T
    np.testing.assert_allclose(new.covariance, told, rtol=1e-3, atol=1e-3 * np.abs(told).max())
    assert new.inliers == old.inliers


def test_poses_and_their_covariance_are_told_in_the_frame(
    gallery: Any, tiny_site: Path, aligned: Path
) -> None:
    old, new = Localizer.load(tiny_site), Localizer.load(aligned)
    for frame in gallery.drawn[::8]:
        was, is_ = old.locate(frame.views), new.locate(frame.views)
        assert is_.verdict is was.verdict is Verdict.ACCEPTED
        assert was.estimate is not None
        assert is_.estimate is not None
        carried(was.estimate, is_.estimate)


def test_the_heads_points_are_told_in_the_frame(
    gallery: Any, tiny_site: Path, aligned: Path
) -> None:
    was, is_ = (
        Localizer.load(path, LocalizerConfig('head')).explain(gallery.drawn[9].views)
        for path in (tiny_site, aligned)
    )
    (old,), (new,) = was.observations, is_.observations
    told = se3.apply(T_frame_map, old.coordinates.points)
    np.testing.assert_allclose(new.coordinates.points, told, atol=1e-9)


def test_what_a_viewer_is_shown_lies_in_the_frame(
    gallery: Any, tiny_site: Path, aligned: Path
) -> None:
    old, new = Localizer.load(tiny_site), Localizer.load(aligned)
    assert len(old.parts.points) > 100
    told = se3.apply(T_frame_map, old.parts.points.astype(np.float64))
    np.testing.assert_allclose(new.parts.points, told, atol=1e-4)
    seen = new.explain(gallery.drawn[9].views)
    assert seen.T_map_base is not None
    (observation,) = seen.observations
    in_cam = se3.apply(
        se3.inverse(seen.T_map_base @ observation.T_base_cam), observation.coordinates.points
    )
    assert 2.0 < np.median(in_cam[:, 2]) < 4.0  # metres from the camera to the wall


def test_a_prior_is_meant_in_the_frame(gallery: Any, aligned: Path) -> None:
    localizer, frame = Localizer.load(aligned), gallery.drawn[9]
    truth = T_frame_map @ frame.T_map_base
    fix = localizer.locate(frame.views, prior=truth)
    assert fix.estimate is not None
    assert np.linalg.norm(fix.estimate.T_map_base[:3, 3] - truth[:3, 3]) < 0.05
