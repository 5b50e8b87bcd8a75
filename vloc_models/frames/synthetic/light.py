"""How much light falls on every surface of a world under one look.

Lamps, sun and the sky through the windows are traced directly; one bounce between surfaces is
gathered over the hemisphere, with the further bounces as a factor (radiosity).
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic.atlas import LightGrid, TextureAtlas
from vloc_models.frames.synthetic.looks import Look
from vloc_models.frames.synthetic.rays import RayCaster, hemisphere
from vloc_models.frames.synthetic.surfaces import SurfaceTable

Array = NDArray[np.float64]
SPACING_M = 0.15
_REACH_M = 8.0  # of one lamp or window pane
_PANES = 4  # sources along each side of a window
_GATHER = 48  # rays over the hemisphere
_MORE_BOUNCES = 1.6  # 1 / (1 - mean albedo)


def bake(
    caster: RayCaster, grid: LightGrid, atlas: TextureAtlas, look: Look, lamps: Array
) -> NDArray[np.float32]:
    """The picture [h, w, 3] that ``grid`` reads: irradiance / pi, linear; a few seconds."""
    surfaces = caster.surfaces
    owner, st, row, column = grid.samples()
    normal = surfaces.normal[owner]
    points = (
        surfaces.origin[owner]
        + st[:, :1] * surfaces.a[owner]
        + st[:, 1:] * surfaces.b[owner]
        + 2e-3 * normal
    )
    direct = _from_lamps(caster, points, normal, lamps, look)
    direct += _from_sun(caster, points, normal, look) + _from_windows(caster, points, normal, look)
    direct /= np.pi
    glow = _emission(surfaces, look)
    traced = np.array([m.emits in ('window', 'lamp') for m in surfaces.materials])
    count = np.bincount(owner, minlength=len(surfaces))[:, None]
    mean = np.stack([np.bincount(owner, c, len(surfaces)) for c in direct.T], 1) / count
    textures = np.array([m.texture for m in surfaces.materials])
    radiosity = np.where(glow > 0, glow, mean * atlas.mean_albedo[textures])
    radiosity[traced] = 0  # their light is in ``direct``
    light = direct + _gathered(caster, points, surfaces, owner, radiosity)
    light = np.where(glow[owner] > 0, glow[owner], light)
    picture = np.zeros((grid.height, 8192, 3), np.float32)
    picture[row, column] = light
    return picture


def _emission(surfaces: SurfaceTable, look: Look) -> Array:
    """Radiance [M, 3] of what shines by itself."""
    table = {
        '': (0.0, 0.0, 0.0),
        'lamp': tuple(0.6 + 1.2 * c for c in look.lamp),
        'window': look.sky,
        'screen': (look.screen,) * 3,
    }
    return np.array([table[m.emits] for m in surfaces.materials])


def _from_lamps(
    caster: RayCaster, points: Array, normal: Array, lamps: Array, look: Look
) -> Array:
    out = np.zeros((len(points), 1))
    for lamp in lamps:
        _add_source(out, caster, points, normal, lamp, None)
    return out * np.array(look.lamp)


def _from_windows(caster: RayCaster, points: Array, normal: Array, look: Look) -> Array:
    """Each window is a grid of small sources that shine along its normal."""
    out = np.zeros((len(points), 1))
    surfaces, steps = caster.surfaces, (np.arange(_PANES) + 0.5) / _PANES
    for w in np.flatnonzero([m.emits == 'window' for m in surfaces.materials]):
        pane = np.zeros_like(out)
        for s, t in itertools.product(steps, steps):
            source = surfaces.origin[w] + s * surfaces.a[w] + t * surfaces.b[w]
            _add_source(pane, caster, points, normal, source, surfaces.normal[w])
        out += pane * surfaces.sizes_m[w].prod() / _PANES**2
    return out * np.array(look.sky)


def _add_source(
    out: Array,  # [N, 1] added to
    caster: RayCaster,
    points: Array,
    normal: Array,
    source: Array,  # [3]
    facing: Array | None,  # [3] unit normal of a flat source, None for a lamp
) -> None:
    """Add what one small source of unit power sheds on each point."""
    to = source - points
    distance = np.linalg.norm(to, axis=1)
    to /= distance[:, None]
    power = np.einsum('nk,nk->n', to, normal)
    if facing is not None:
        power *= np.maximum(-to @ facing, 0)
    near = np.flatnonzero((distance < _REACH_M) & (power > 0))
    seen = ~caster.blocked(points[near], to[near], distance[near] - 0.02)
    out[near, 0] += power[near] * seen / (distance[near] ** 2 + 0.2)


def _from_sun(caster: RayCaster, points: Array, normal: Array, look: Look) -> Array:
    """Sunlight enters where a ray towards the sun leaves through a window's glass."""
    out = np.zeros_like(points)
    if not any(look.sun):
        return out
    azimuth, elevation = np.radians([look.sun_azimuth_deg, look.sun_elevation_deg])
    sun = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    cosine = normal @ sun
    lit = np.flatnonzero(cosine > 0)
    first = caster.first_hit(points[lit], np.broadcast_to(sun, (len(lit), 3)))
    glass = np.array([m.emits == 'window' for m in caster.surfaces.materials])
    through = (first >= 0) & glass[first]
    out[lit] = (cosine[lit] * through)[:, None] * np.array(look.sun)
    return out


def _gathered(
    caster: RayCaster,
    points: Array,
    surfaces: SurfaceTable,
    owner: NDArray[np.int32],
    radiosity: Array,  # [M, 3]
) -> Array:
    """The mean radiance [S, 3] seen over each sample's hemisphere."""
    x = surfaces.a / np.linalg.norm(surfaces.a, axis=1, keepdims=True)
    frame = np.stack([x, np.cross(surfaces.normal, x), surfaces.normal], -1)[owner]  # columns
    out = np.zeros_like(points)
    for direction in hemisphere(_GATHER):
        hit = caster.first_hit(points, frame @ direction)
        out += np.where((hit >= 0)[:, None], radiosity[hit], 0)
    return out * (_MORE_BOUNCES / _GATHER)
