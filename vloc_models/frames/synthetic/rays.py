"""Rays against a world's rectangles: embree finds which is hit, its plane says where."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames.synthetic.labels import VOID
from vloc_models.frames.synthetic.surfaces import SurfaceTable
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
Ids = NDArray[np.integer]
Floats = NDArray[np.float32]
Points = NDArray[np.floating]


class RayCaster:
    """First hits and shadows among the rectangles of ``surfaces``."""

    def __init__(self, surfaces: SurfaceTable) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as e:
            raise VlocError(
                'the synthetic world needs the ray caster embreex', 'pip install embreex'
            ) from e
        self.surfaces = surfaces
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, surfaces.triangles())

    def first_hit(self, origins: Points, directions: Points) -> Ids:
        """The rectangle [N] each ray meets first; -1 for none."""
        hit = self._scene.run(
            origins.astype(np.float32, copy=False), directions.astype(np.float32, copy=False)
        )
        return np.where(hit < 0, -1, hit // 2).astype(np.int32)

    def blocked(self, origins: Points, directions: Points, reach_m: Array) -> NDArray[np.bool_]:
        """Whether something stands within ``reach_m`` [N] along unit ``directions`` [N, 3]."""
        distance = self._scene.run(
            origins.astype(np.float32, copy=False),
            directions.astype(np.float32, copy=False),
            query='DISTANCE',
        )
        return distance < reach_m


@lru_cache(maxsize=16)
def camera_rays(camera: Camera) -> Floats:
    """Rays [H, W, 3] with z = 1 through all pixel centres; NaN where the model sees nothing."""
    rays = camera.unproject(camera.pixel_grid()).astype(np.float32)
    rays.flags.writeable = False  # shared by all callers
    return rays


def depth_of(surfaces: SurfaceTable, ids: Ids, rays: Floats, T_map_cam: Array) -> Floats:
    """Depth z [H, W] where ``rays`` [H, W, 3] meet the planes of ``ids``; NaN for no hit.

    A plane with unit normal n at distance d from the camera holds the points n . x = d, so
    z = 1 / ((n / d) . ray).
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        planes = np.take(_planes(surfaces, T_map_cam), ids, axis=0, mode='clip')
        z = 1 / np.einsum('hwk,hwk->hw', planes, rays)
    z[ids < 0] = np.nan
    return z


def surface_coordinates(
    surfaces: SurfaceTable, ids: Ids, points_cam: Floats, T_map_cam: Array
) -> tuple[Floats, Floats]:
    """(s, t) [H, W] on the rectangles ``ids`` of camera-frame points [H, W, 3]."""
    out = []
    for edge in (surfaces.a, surfaces.b):
        unit = edge / (edge**2).sum(1, keepdims=True)
        shift = np.einsum('mk,mk->m', unit, T_map_cam[:3, 3] - surfaces.origin)
        axis = np.take((unit @ T_map_cam[:3, :3]).astype(np.float32), ids, axis=0, mode='clip')
        along = np.einsum('hwk,hwk->hw', axis, points_cam)
        along += np.take(shift.astype(np.float32), ids, mode='clip')
        out.append(along)
    return out[0], out[1]


def slant_of(surfaces: SurfaceTable, ids: Ids, points_cam: Floats, T_map_cam: Array) -> Floats:
    """The cosine [H, W] between the viewing ray and the surface's normal, absolute."""
    offset = np.einsum('mk,mk->m', surfaces.normal, surfaces.origin - T_map_cam[:3, 3])
    distance = np.sqrt(np.einsum('hwk,hwk->hw', points_cam, points_cam))
    near = np.take(np.abs(offset).astype(np.float32), ids, mode='clip')
    return near / np.maximum(distance, 1e-6)


def _planes(surfaces: SurfaceTable, T_map_cam: Array) -> Floats:
    offset = np.einsum('mk,mk->m', surfaces.normal, surfaces.origin - T_map_cam[:3, 3])
    with np.errstate(divide='ignore', invalid='ignore'):
        return (surfaces.normal @ T_map_cam[:3, :3] / offset[:, None]).astype(np.float32)


def labels_of(surfaces: SurfaceTable, ids: Ids) -> NDArray[np.uint8]:
    """The semantic class of every pixel [H, W]."""
    return np.where(ids >= 0, surfaces.label[ids], VOID).astype(np.uint8)


def hemisphere(count: int) -> Array:
    """Directions [count, 3] around +z, denser near it as the cosine is (a Fibonacci spiral)."""
    k = np.arange(count) + 0.5
    r, phi = np.sqrt(k / count), k * math.pi * (3 - math.sqrt(5))
    return np.stack([r * np.cos(phi), r * np.sin(phi), np.sqrt(1 - r**2)], 1)
