import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.frames.synthetic import Label
from vloc_models.frames.synthetic.looks import LOOK_NAMES
from vloc_models.frames.synthetic.rays import camera_rays, depth_of, hemisphere, labels_of
from vloc_models.frames.synthetic.render import Renderer
from vloc_models.frames.synthetic.rigs import RIGS
from vloc_models.frames.synthetic.surfaces import SurfaceTable
from vloc_models.frames.synthetic.world import World
from vloc_models.geometry import se3

Array = NDArray[np.float64]


def base_at(world: World, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    cells = np.argwhere(world.floor.free)
    x, y = world.floor.position(cells[rng.integers(len(cells))])
    return se3.transform(se3.exp([0, 0, 0, 0, 0, rng.uniform(-3, 3)])[:3, :3], [x, y, 0])


def first_hit_slowly(surfaces: SurfaceTable, origin: Array, ray: Array) -> tuple[int, float]:
    """Every rectangle in turn, in float64: the obvious twin of the ray caster."""
    with np.errstate(divide='ignore', invalid='ignore'):
        t = ((surfaces.origin - origin) * surfaces.normal).sum(1) / (surfaces.normal @ ray)
        local = origin + t[:, None] * ray - surfaces.origin
        u = (local * surfaces.a).sum(1) / (surfaces.a**2).sum(1)
        v = (local * surfaces.b).sum(1) / (surfaces.b**2).sum(1)
        hit = (t > 1e-6) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    t = np.where(hit, t, np.inf)
    return int(np.argmin(t)), float(t.min())


@pytest.mark.parametrize('rig', ['mono', 'webcam', 'fisheye'])
def test_depth_and_surface_equal_the_slow_twin(renderer: Renderer, rig: str) -> None:
    world, mount = renderer.world, RIGS[rig][0]  # type: ignore[index]
    T_map_cam = base_at(world, 1) @ mount.T_base_cam
    rays = camera_rays(mount.camera)
    ids = renderer.trace(rays, T_map_cam)
    depth = depth_of(world.surfaces, ids, rays, T_map_cam)
    labels = labels_of(world.surfaces, ids)
    rng = np.random.default_rng(0)
    differ = 0
    for v, u in rng.integers([480, 640], size=(300, 2)):
        pixel = mount.camera.unproject(np.array([u, v], float))
        index, z = first_hit_slowly(world.surfaces, T_map_cam[:3, 3], T_map_cam[:3, :3] @ pixel)
        if index != ids[v, u]:  # the last bit decides at an edge
            differ += 1
            continue
        assert depth[v, u] == pytest.approx(z, rel=2e-5)
        assert labels[v, u] == world.surfaces.label[index]
    assert differ <= 3


@pytest.mark.parametrize('rig', ['mono', 'webcam', 'fisheye'])
def test_two_views_agree_on_where_things_are(renderer: Renderer, rig: str) -> None:
    """Carried by depth and poses into another view and back, a pixel returns within 0.1 px."""
    world, mount = renderer.world, RIGS[rig][0]  # type: ignore[index]
    camera, compared = mount.camera, 0
    rays = camera_rays(camera)
    for seed in range(6):
        T_map_a = base_at(world, seed) @ mount.T_base_cam
        T_map_b = T_map_a @ se3.exp([0.3, 0.02, 0.2, 0.02, 0.25, 0.02])
        ids = renderer.trace(rays, T_map_a)
        depth = depth_of(world.surfaces, ids, rays, T_map_a)
        pixels = camera.pixel_grid()[::16, ::16].reshape(-1, 2)
        points_a = camera.unproject(pixels) * depth[::16, ::16].reshape(-1, 1)
        in_b = camera.project(se3.apply(se3.inverse(T_map_b) @ T_map_a, points_a))
        seen = np.isfinite(in_b).all(1) & (in_b >= 0).all(1) & (in_b <= [639, 479]).all(1)
        pixels, in_b, of_a = pixels[seen], in_b[seen], ids[::16, ::16].reshape(-1)[seen]
        rays_b = camera.unproject(in_b).astype(np.float32)[None]
        ids_b = renderer.trace(rays_b, T_map_b)
        points_b = rays_b[0] * depth_of(world.surfaces, ids_b, rays_b, T_map_b)[0, :, None]
        same = ids_b[0] == of_a  # else something stands in the way
        back = camera.project(se3.apply(se3.inverse(T_map_a) @ T_map_b, points_b[same]))
        assert np.abs(back - pixels[same]).max(initial=0) < 0.1
        compared += int(same.sum())
    assert compared > 1000


def test_no_ray_escapes_the_building(renderer: Renderer) -> None:
    mount = RIGS['mono'][0]
    for seed in range(5):
        T_map_cam = base_at(renderer.world, seed) @ mount.T_base_cam
        ids = renderer.trace(camera_rays(mount.camera), T_map_cam)
        assert (ids < 0).mean() < 1e-4


def test_looks_differ_in_light_but_not_in_geometry(world: World) -> None:
    mount = RIGS['mono'][0]
    T_map_cam = base_at(world, 2) @ mount.T_base_cam
    pictures = [Renderer(world, look).picture(mount.camera, T_map_cam) for look in LOOK_NAMES]
    assert len(pictures) == 4
    for light, ids, _ in pictures:
        assert np.isfinite(light).all()
        assert (light >= 0).all()
        np.testing.assert_array_equal(ids, pictures[0][1])
    chroma = [(light / light.mean((0, 1))).ravel() for light, _, _ in pictures]
    for i in range(4):
        for j in range(i):
            assert np.abs(chroma[i] - chroma[j]).mean() > 0.03


def test_a_surface_in_the_sun_is_brighter_than_beside_it(world: World, renderer: Renderer) -> None:
    """The floor's light has a sunlit patch by day and none at night."""

    def brightest_to_median(look_renderer: Renderer) -> float:
        s = world.surfaces
        floor = np.flatnonzero(s.label == Label.FLOOR).tolist()
        n = 64
        grid = (np.arange(n, dtype=np.float32) + 0.5) / n
        tt, ss = (x.astype(np.float32) for x in np.meshgrid(grid, grid, indexing='ij'))
        values = [
            look_renderer._grid.sample(look_renderer._light, np.full((n, n), i), ss, tt).mean(-1)
            for i in floor
        ]
        return max(float(v.max() / np.median(v)) for v in values)

    assert brightest_to_median(renderer) > 1.5 * brightest_to_median(Renderer(world, 'night'))


def test_hemisphere_follows_the_cosine() -> None:
    d = hemisphere(2000)
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1, atol=1e-12)
    assert d[:, 2].mean() == pytest.approx(2 / 3, abs=1e-3)  # E[cos] under a cosine density
