"""A coarse pose: carried into the frame of the answers and to the base, with its covariance."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vloc_models.errors import MapError
from vloc_models.export.parity import prior_probe
from vloc_models.export.to_onnx import prior_graph, round_to_half
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.localize.prior import Prior
from vloc_models.maps import Map, MapInfo, MapWriter, PriorUse, open_map
from vloc_models.networks.color_apr import ColorApr, ColorAprConfig, PoseScale
from vloc_models.records import Array, View

SMALL = Camera(64, 32, 50.0, 50.0, 31.5, 15.5)
USE = PriorUse(SMALL, (2.0, 3.0), 20)
T_base_cam = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.2, 0, 0.5])
T_frame_map = se3.from_xyz_rpy([30.0, -4.0, 1.5], [0.1, -0.2, 2.5])
T_map_cam = se3.exp([4, -3, 1, 0.1, -0.2, 2.5])


class Net:
    """Tells a pose and sigmas; keeps what it was asked."""

    inputs, outputs = ('image',), ('pose', 'sigma')

    def __init__(self, pose: Array, *sigma: float) -> None:
        self.pose, self.sigma, self.asked = pose, sigma, list[NDArray[np.uint8]]()

    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.asked.append(arrays['image'])
        told = {'pose': self.pose[None], 'sigma': np.array([self.sigma])}
        return {name: x.astype(np.float32) for name, x in told.items()}


def pose(T: Array = T_map_cam, sign: float = 1) -> Array:
    return np.concatenate([T[:3, 3], sign * se3.to_quat_xyzw(T)])


def view(camera: Camera = SMALL) -> View:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (camera.height, camera.width, 3), np.uint8)
    return View(image, camera, T_base_cam)


@pytest.mark.parametrize('sign', [1, -1])
def test_the_base_in_the_frame_of_the_answers(sign: float) -> None:
    told = Prior(Net(pose(sign=sign), 0.1, 0.05), USE, T_frame_map).told(view())
    assert told is not None
    wanted = T_frame_map @ T_map_cam @ se3.inverse(T_base_cam)
    np.testing.assert_allclose(told.T_map_base, wanted, atol=1e-5)
    assert told.inliers == 0
    assert told.inlier_ratio == 0


def test_its_covariance_is_that_of_the_base() -> None:
    """Drawn: the camera's pose errs as told, so the base's is swung about it."""
    told = Prior(Net(pose(), 0.005, 0.01), USE, np.eye(4)).told(view())
    assert told is not None
    sigma = np.repeat([0.005 * 2, 0.01 * 3], 3)
    noise = np.random.default_rng(0).normal(size=(3000, 6)) * sigma
    turn = Rotation.from_rotvec(noise[:, 3:]).as_matrix() @ T_map_cam[:3, :3]
    base = turn @ se3.inverse(T_base_cam)[:3, 3] + T_map_cam[:3, 3] + noise[:, :3]
    errors = np.concatenate([base - told.T_map_base[:3, 3], noise[:, 3:]], 1)
    np.testing.assert_allclose(told.covariance, np.cov(errors.T), atol=0.15 * sigma[3] ** 2)
    off = told.covariance[:3, 3:]
    np.testing.assert_allclose(np.cov(errors.T)[:3, 3:], off, atol=0.1 * np.abs(off).max())
    assert np.linalg.eigvalsh(told.covariance).min() > 0


def test_it_is_shown_what_its_camera_would_have_seen() -> None:
    net = Net(pose(), 0.1, 0.1)
    prior = Prior(net, USE, np.eye(4))
    prior.told(view())
    np.testing.assert_array_equal(net.asked[0][0], view().image)
    wide = view(Camera(640, 480, 300.0, 300.0, 320.0, 240.0))
    prior.told(wide)
    assert net.asked[1].shape == (1, 32, 64, 3)


def test_a_camera_that_sees_too_little_of_it_is_not_asked() -> None:
    net = Net(pose(), 0.1, 0.1)
    narrow = view(Camera(640, 480, 2000.0, 2000.0, 320.0, 240.0))
    assert Prior(net, USE, np.eye(4)).told(narrow) is None
    assert not net.asked


@pytest.mark.parametrize(
    ('bad', 'sigma'),
    [
        (pose() * np.nan, (0.1, 0.1)),
        (pose() * [1, 1, np.inf, 1, 1, 1, 1], (0.1, 0.1)),
        (pose() * [1, 1, 1, 0, 0, 0, 0], (0.1, 0.1)),
        (pose()[:6], (0.1, 0.1)),
        (pose(), (0.1, np.nan)),
        (pose(), (0.0, 0.1)),
        (pose(), (0.1,)),
    ],
)
def test_no_pose_is_an_answer(bad: Array, sigma: tuple[float, ...]) -> None:
    assert Prior(Net(bad, *sigma), USE, np.eye(4)).told(view()) is None


@pytest.fixture(scope='module')
def files() -> tuple[bytes, dict[str, NDArray[Any]]]:
    torch.manual_seed(0)
    config = ColorAprConfig(widths=(4, 4, 8, 8), fused=16, hidden=16)
    turn = torch.tensor([0.5, -0.5, 0.5, -0.5])
    network = ColorApr(config, PoseScale(torch.zeros(3), torch.ones(3), turn)).eval()
    round_to_half(network)
    size = 32, 64
    return prior_graph(network, size), prior_probe(network, size, np.random.default_rng(0))


def site_of(path: Path, files: tuple[bytes, dict[str, NDArray[Any]]], info: MapInfo) -> Map:
    with MapWriter(path) as writer:
        writer.add_bytes('prior.onnx', files[0])
        writer.add_arrays('prior.probe.npz', **files[1])
        writer.finish(info)
    return open_map(path)


def with_prior(info: MapInfo) -> MapInfo:
    return replace(info, prior='prior.onnx', prior_probe='prior.probe.npz', prior_use=USE)


def test_a_map_carries_it(files: Any, tmp_path: Path, sites: Any) -> None:
    rows: Any = tuple(map(tuple, T_frame_map.tolist()))
    info = replace(with_prior(sites.SMALL), T_frame_map=rows)
    site = site_of(tmp_path / 'site', files, info)
    assert site.info.prior_use == USE
    prior = Prior.load(site, 1)
    assert prior is not None
    told = prior.told(view())
    assert told is not None
    plain = replace(prior, T_frame_map=np.eye(4)).told(view())
    assert plain is not None
    np.testing.assert_allclose(told.T_map_base, T_frame_map @ plain.T_map_base, atol=1e-6)


def test_a_map_without_one_has_none(files: Any, tmp_path: Path, sites: Any) -> None:
    assert Prior.load(site_of(tmp_path / 'site', files, sites.SMALL), 1) is None


def test_a_map_of_before_there_were_priors_opens(site: Path, sites: Any) -> None:
    sites.edit(site, lambda info: [info.pop(key) for key in ('prior', 'prior_probe', 'prior_use')])
    assert Prior.load(open_map(site), 1) is None


def test_a_damaged_one_is_refused(files: Any, tmp_path: Path, sites: Any) -> None:
    whole = with_prior(sites.SMALL)
    for number, lost in enumerate(({'prior_probe': None}, {'prior_use': None})):
        info: Any = replace(whole, **lost)
        site = site_of(tmp_path / str(number), files, info)
        with pytest.raises(MapError, match='no probe or no camera'):
            Prior.load(site, 1)
    wrong = {k: v + 1 if k == 'output_pose' else v for k, v in files[1].items()}
    site = site_of(tmp_path / 'wrong', (files[0], wrong), whole)
    with pytest.raises(MapError, match='differs by'):
        Prior.load(site, 1)


@pytest.mark.parametrize(
    'wrong',
    [
        {'sigma_scale': (0.0, 1.0)},
        {'sigma_scale': (1.0, np.nan)},
        {'camera': replace(SMALL, model='fisheye', distortion=(0.0, 0.0, 0.0, 0.0))},
    ],
)
def test_senseless_use_is_refused(
    files: Any, tmp_path: Path, sites: Any, wrong: dict[str, Any]
) -> None:
    info = replace(with_prior(sites.SMALL), prior_use=replace(USE, **wrong))
    site = site_of(tmp_path / 'site', files, info)
    with pytest.raises(MapError, match='sigmas times'):
        Prior.load(site, 1)
