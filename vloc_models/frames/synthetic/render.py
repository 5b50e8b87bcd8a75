"""A world under one look, seen by a camera: linear light, exact depth, labels."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic.atlas import LightGrid, TextureAtlas
from vloc_models.frames.synthetic.light import SPACING_M, bake
from vloc_models.frames.synthetic.looks import LOOKS, LookName
from vloc_models.frames.synthetic.rays import (
    Floats,
    Ids,
    RayCaster,
    camera_rays,
    depth_of,
    slant_of,
    surface_coordinates,
)
from vloc_models.frames.synthetic.world import World
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
_AT_ONCE = 20_000  # cv2.remap makes nothing wider than 32767


class Renderer:
    """Renders one world under one look; making it bakes the light (seconds)."""

    def __init__(self, world: World, look: LookName) -> None:
        self.world = world
        surfaces = world.surfaces
        self._caster = RayCaster(surfaces)
        self._atlas = TextureAtlas.build(world.textures, LOOKS[look])
        self._grid = LightGrid.over(surfaces, SPACING_M)
        self._light = bake(self._caster, self._grid, self._atlas, LOOKS[look], world.lamps)
        lengths = surfaces.sizes_m
        texture = np.array([m.texture for m in surfaces.materials])
        period = np.array([m.period_m or 0.0 for m in surfaces.materials])
        tiled = period > 0
        safe = np.where(tiled, period, 1)
        # texture coordinate = scale * (s or t) + shift; tiles continue across neighbours
        unit = np.stack([surfaces.a, surfaces.b], 1) / lengths[..., None]
        along = np.einsum('mck,mk->mc', unit, surfaces.origin)
        self._scale = np.where(tiled, lengths.T / safe, 1).astype(np.float32)  # [2, M]
        self._shift = np.where(tiled, (along.T / safe) % 1, 0).astype(np.float32)
        self._texture = texture
        texels = np.sqrt(self._atlas.width[texture, 0] * self._atlas.height[texture, 0])
        size = np.where(tiled, safe, np.sqrt(lengths.prod(1)))
        self._density = (texels / size).astype(np.float32)  # [M] texels a metre

    def trace(self, rays: Floats, T_map_cam: Array) -> Ids:
        """The rectangle [H, W] that camera-frame ``rays`` [H, W, 3] meet first; -1 for none."""
        directions = cv2.transform(rays, T_map_cam[:3, :3]).reshape(-1, 3).astype(np.float32)
        valid = np.isfinite(directions[:, 2])
        if not valid.all():
            directions[~valid] = 0, 0, 1
        origins = np.broadcast_to(T_map_cam[:3, 3].astype(np.float32), directions.shape)
        ids = self._caster.first_hit(origins, directions)
        return np.where(valid, ids, -1).astype(np.int32).reshape(rays.shape[:2])

    def picture(self, camera: Camera, T_map_cam: Array) -> tuple[Floats, Ids, Floats]:
        """Linear light [H, W, 3]; the rectangle and the depth [H, W] behind each pixel's centre.

        Pixels on the edge of a rectangle are the mean of four rays, so that edges are smooth.
        """
        rays = camera_rays(camera)
        ids = self.trace(rays, T_map_cam)
        depth = depth_of(self.world.surfaces, ids, rays, T_map_cam)
        light = self.shade(ids, rays * depth[..., None], T_map_cam, camera.fx)
        edges = np.argwhere(_on_edge(ids))
        for v, u in (edges[i : i + _AT_ONCE].T for i in range(0, len(edges), _AT_ONCE)):
            between = _between_rays(camera)
            corners = [between[v + dv, u + du] for dv in (0, 1) for du in (0, 1)]
            finer = 0.5 * (rays[v, u] + np.stack(corners))  # [4, N, 3] a quarter pixel off
            finer = finer.astype(np.float32)
            fine_ids = self.trace(finer, T_map_cam)
            finer *= depth_of(self.world.surfaces, fine_ids, finer, T_map_cam)[..., None]
            light[v, u] = self.shade(fine_ids, finer, T_map_cam, camera.fx).mean(0)
        return light, ids, depth

    def shade(
        self,
        ids: Ids,  # [H, W] from ``trace``
        points_cam: Floats,  # [H, W, 3] what is hit, NaN for nothing
        T_map_cam: Array,
        focal_px: float,
    ) -> Floats:
        """Linear light [H, W, 3] that leaves each hit towards the camera."""
        surfaces = self.world.surfaces
        nothing = ids < 0
        at = np.where(nothing, 0, ids).astype(np.intp)
        points = np.where(nothing[..., None], np.float32(1), points_cam)
        s, t = surface_coordinates(surfaces, at, points, T_map_cam)
        u = np.take(self._scale[0], at) * s + np.take(self._shift[0], at)
        v = 1 - np.take(self._scale[1], at) * t - np.take(self._shift[1], at)
        slant = np.sqrt(np.maximum(slant_of(surfaces, at, points, T_map_cam), 0.02))
        texels = np.take(self._density, at) * points[..., 2] / (np.float32(focal_px) * slant)
        level = np.log2(np.maximum(texels, 1e-3))
        albedo = self._atlas.sample(np.take(self._texture, at), u, v, level)
        albedo *= self._grid.sample(self._light, at, s, t)
        albedo[nothing] = 0
        return albedo


def _on_edge(ids: Ids) -> NDArray[np.bool_]:
    """Pixels [H, W] of which a neighbour to the side or above or below sees another rectangle."""
    edge = np.zeros(ids.shape, bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


@lru_cache(maxsize=16)
def _between_rays(camera: Camera) -> Floats:
    """Rays [H + 1, W + 1, 3] through the corners of the pixels."""
    u, v = np.meshgrid(np.arange(camera.width + 1), np.arange(camera.height + 1))
    return camera.unproject(np.stack([u, v], -1) - 0.5).astype(np.float32)
