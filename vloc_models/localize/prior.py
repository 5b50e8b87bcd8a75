"""The map's pose prior: one picture, at once a coarse pose of the camera. No torch.

It always answers, also in front of what is no part of the map: its pose is a guess to begin with,
or to be checked, and never one to drive by.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import Engine, check_probe
from vloc_models.errors import MapError
from vloc_models.frames.rectify import Rectified
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.maps import Map, PriorUse
from vloc_models.records import PoseEstimate, View

Array = NDArray[np.float64]
_LEAST_SEEN = 0.6  # of what the prior's camera saw; a narrower one sees too little of it
_REBUILD = 'build the map again with "vloc map"'


@dataclass(frozen=True, eq=False)
class Prior:
    """A pose prior, ready to be asked."""

    engine: Engine
    use: PriorUse
    T_frame_map: Array  # [4, 4] into the frame of the answers

    @staticmethod
    def load(site: Map, threads: int) -> 'Prior | None':
        """The map's, verified against torch's outputs; None if it has none.

        Raises:
            MapError: if it is damaged, or wants what this vloc cannot give.
        """
        info, name = site.info, f'{site.folder}: pose prior'
        if info.prior is None:
            return None
        if info.prior_probe is None or info.prior_use is None:
            raise MapError(f'{name}: has no probe or no camera', _REBUILD)
        scale, model = info.prior_use.sigma_scale, info.prior_use.camera.model
        if model != 'pinhole' or not all(0.01 < x < 1e3 for x in scale):
            raise MapError(f'{name}: a {model} camera, sigmas times {list(scale)}', _REBUILD)
        engine = OnnxEngine(site.read_bytes(info.prior), name, threads)
        check_probe(engine, site.read_arrays(info.prior_probe), name)
        if engine.inputs != ('image',) or set(engine.outputs) != {'pose', 'sigma'}:
            asked, told = sorted(engine.inputs), sorted(engine.outputs)
            raise MapError(f'{name}: tells {told} of {asked}', 'update vloc')
        return Prior(engine, info.prior_use, np.array(info.T_frame_map))

    def told(self, view: View) -> PoseEstimate | None:
        """A coarse pose of one picture, with its calibrated covariance; no inliers support it.

        Returns:
            None if the camera sees too little of what the prior's saw, or the answer is no pose.
        """
        through = _through(view.camera, self.use.camera)
        if through.seen < _LEAST_SEEN:
            return None
        found = self.engine({'image': through.image(view.image)[None]})
        pose, sigma = (found[key].astype(np.float64).ravel() for key in ('pose', 'sigma'))
        if pose.shape != (7,) or sigma.shape != (2,):
            return None
        length = np.linalg.norm(pose[3:])
        if not np.isfinite([*pose, *sigma]).all() or length < 0.5 or (sigma <= 0).any():
            return None
        T_map_cam = self.T_frame_map @ se3.from_quat_xyzw(pose[:3], pose[3:] / length)
        T_map_base = T_map_cam @ se3.inverse(view.T_base_cam)
        variance = np.repeat((sigma * self.use.sigma_scale) ** 2, 3)
        arm = T_map_base[:3, 3] - T_map_cam[:3, 3]  # turning the camera swings the base
        return PoseEstimate(T_map_base, _swung(variance, arm), 0, 0.0, 0.0, math.nan)


@lru_cache(maxsize=16)  # cameras of a robot
def _through(camera: Camera, pinhole: Camera) -> Rectified:
    return Rectified(camera, pinhole)


def _swung(variance: Array, arm: Array) -> Array:
    """The covariance [6, 6] of a point at ``arm`` [3] from one of the variances [6], in map."""
    J = np.eye(6)
    J[:3, 3:] = -se3.hat(arm)
    return J @ np.diag(variance) @ J.T
