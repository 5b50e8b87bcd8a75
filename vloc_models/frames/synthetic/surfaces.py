"""The world's geometry: flat rectangles with a material and a label, and shapes of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vloc_models.frames.synthetic.labels import Label
from vloc_models.geometry import se3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """How a rectangle is painted."""

    texture: int  # index into World.textures
    period_m: float | None = None  # the texture repeats at this size; None: stretched to fit
    emits: str = ''  # '', 'lamp', 'window' or 'screen': shines by itself, as the look says


@dataclass(frozen=True, eq=False)
class Rect:
    """The points ``origin + s a + t b``, s and t in [0, 1]; ``a x b`` points to the front.

    Texture columns run along ``a``, rows along ``-b`` (pictures stand upright when b is up).
    """

    origin: Array  # [3]
    a: Array  # [3] perpendicular to b
    b: Array  # [3]
    material: Material
    label: Label


def rect(origin: ArrayLike, a: ArrayLike, b: ArrayLike, material: Material, label: Label) -> Rect:
    """A rectangle from anything array-like."""
    corner, across, up = (np.asarray(x, np.float64) for x in (origin, a, b))
    return Rect(corner, across, up, material, label)


def box(
    centre: ArrayLike, size: ArrayLike, material: Material, label: Label, bottom: bool = False
) -> list[Rect]:
    """An upright box standing on ``centre`` [3] (the middle of its underside), ``size`` [3]."""
    c, (w, d, h) = np.asarray(centre, np.float64), np.asarray(size, np.float64)
    x, y, z = np.diag([w, d, h])
    low = c - (x + y) / 2
    faces = [
        rect(low, x, z, material, label),  # front (-y)
        rect(low + x, y, z, material, label),
        rect(low + x + y, -x, z, material, label),
        rect(low + y, -y, z, material, label),
        rect(low + z, x, y, material, label),  # top
    ]
    if bottom:
        faces.append(rect(low + y, x, -y, material, label))
    return faces


def with_face(faces: list[Rect], index: int, material: Material) -> list[Rect]:
    """The same box with another material on one face (0 is the front, 4 the top)."""
    return [replace(f, material=material) if i == index else f for i, f in enumerate(faces)]


def prism(
    centre: ArrayLike,
    radius: float,
    height: float,
    material: Material,
    label: Label,
    sides: int = 10,
) -> list[Rect]:
    """An upright round column: its sides, and a square cap inside the circle."""
    c = np.asarray(centre, np.float64)
    angles = np.arange(sides + 1) * (2 * np.pi / sides)
    ring = c + radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    up = [0, 0, height]
    faces = [rect(p, q - p, up, material, label) for p, q in pairwise(ring)]
    half = radius / np.sqrt(2)
    cap = c + np.array([-half, -half, height - 1e-3])
    return [*faces, rect(cap, [2 * half, 0, 0], [0, 2 * half, 0], material, label)]


def placed(rects: Iterable[Rect], T: Array) -> list[Rect]:
    """The rectangles moved by ``T_target_source`` [4, 4]."""
    R = T[:3, :3]
    return [replace(r, origin=se3.apply(T, r.origin), a=R @ r.a, b=R @ r.b) for r in rects]


def standing(x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Array:
    """The transform of something put at (x, y, z) and turned by ``yaw`` radians."""
    return se3.transform(se3.exp([0, 0, 0, 0, 0, yaw])[:3, :3], [x, y, z])


@dataclass(frozen=True, eq=False)
class SurfaceTable:
    """All rectangles of a world as arrays: what rays are shot at."""

    origin: Array  # [M, 3]
    a: Array  # [M, 3]
    b: Array  # [M, 3]
    normal: Array  # [M, 3] unit, to the front
    label: NDArray[np.uint8]  # [M]
    materials: tuple[Material, ...]  # [M]

    @staticmethod
    def of(rects: list[Rect]) -> 'SurfaceTable':
        """Stack rectangles."""
        origin, a, b = (np.stack([getattr(r, k) for r in rects]) for k in ('origin', 'a', 'b'))
        normal = np.cross(a, b)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        label = np.array([r.label for r in rects], np.uint8)
        return SurfaceTable(origin, a, b, normal, label, tuple(r.material for r in rects))

    def __len__(self) -> int:
        return len(self.origin)

    @property
    def sizes_m(self) -> Array:
        """The lengths of a and b [M, 2]."""
        return np.stack([np.linalg.norm(self.a, axis=1), np.linalg.norm(self.b, axis=1)], 1)

    def triangles(self) -> NDArray[np.float32]:
        """Two triangles a rectangle [2 M, corner, 3]: triangle i is of rectangle i // 2."""
        o, oa, ob = self.origin, self.origin + self.a, self.origin + self.b
        corners = np.stack([o, oa, oa + self.b, o, oa + self.b, ob], 1)
        return corners.reshape(-1, 3, 3).astype(np.float32)
