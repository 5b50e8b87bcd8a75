"""A room's shell: floor, ceiling, and walls with doors and windows cut out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.materials import Painter
from vloc_models.frames.synthetic.surfaces import Material, Rect, box, placed, rect, standing

Array = NDArray[np.float64]
WALL_M = 0.14  # between two rooms
DOOR_M, DOOR_HEIGHT_M = 0.95, 2.08
Side = Literal['south', 'west', 'north', 'east']


@dataclass(frozen=True)
class Opening:
    """A hole in one wall; ``start`` is measured along its x axis (``side_frames``)."""

    side: Side
    start: float
    width: float
    bottom: float
    top: float
    kind: Literal['door', 'window']
    leaf: bool = False  # a door leaf hangs on this side of the wall


@dataclass(frozen=True)
class RoomPlan:
    """One room, in its own frame: x in [0, width], y in [0, depth], floor at z = 0."""

    width: float
    depth: float
    height: float
    theme: str
    style_seed: int  # walls, furniture and where it stands
    detail_seed: int  # pictures and clutter
    openings: tuple[Opening, ...]


def side_frames(plan: RoomPlan) -> dict[Side, tuple[Array, float]]:
    """For each wall T_room_wall and its length: x along the wall, y into the room, z up."""
    w, d, right = plan.width, plan.depth, np.pi / 2
    return {
        'south': (standing(0, 0), w),
        'east': (standing(w, 0, yaw=right), d),
        'north': (standing(w, d, yaw=2 * right), w),
        'west': (standing(0, d, yaw=-right), d),
    }


def upright(
    x0: float, x1: float, y: float, z0: float, z1: float, m: Material, label: Label
) -> Rect:
    """A rectangle parallel to the wall, facing the room, in the wall's frame."""
    return rect([x1, y, z0], [x0 - x1, 0, 0], [0, 0, z1 - z0], m, label)


def build_shell(plan: RoomPlan, p: Painter) -> list[Rect]:
    """All fixed surfaces of a room, in the room's frame."""
    w, d, h = plan.width, plan.depth, plan.height
    wall, trim = p.tile('wall'), p.plain(0.5, 0.95)
    if p.richness == 'low':
        trim = wall
    rects = [
        rect([0, 0, 0], [w, 0, 0], [0, d, 0], p.tile('floor'), Label.FLOOR),
        rect([0, d, h], [w, 0, 0], [0, -d, 0], p.tile('ceiling'), Label.CEILING),
    ]
    for side, (T, length) in side_frames(plan).items():
        openings = sorted((o for o in plan.openings if o.side == side), key=lambda o: o.start)
        local = _wall(length, h, openings, wall, trim)
        for o in openings:
            local += _window(o, trim, p) if o.kind == 'window' else _door(o, trim, p)
        rects += placed(local, T)
    return rects


def _wall(
    length: float, height: float, openings: list[Opening], wall: Material, trim: Material
) -> list[Rect]:
    """The wall's face in pieces around the openings, and a skirting board."""
    at, pieces = 0.0, []
    for o in openings:
        end = o.start + o.width
        pieces += [(at, o.start, 0, height), (o.start, end, o.top, height)]
        pieces += [(o.start, end, 0, o.bottom)] if o.bottom > 0 else []
        at = end
    pieces.append((at, length, 0, height))
    rects = []
    for x0, x1, z0, z1 in pieces:
        if x1 - x0 < 1e-3 or z1 - z0 < 1e-3:
            continue
        rects.append(upright(x0, x1, 0, z0, z1, wall, Label.WALL))
        if z0 == 0:
            rects += box(((x0 + x1) / 2, 0.008, 0), (x1 - x0, 0.016, 0.08), trim, Label.WALL)
    return rects


def _jambs(o: Opening, reach: float, trim: Material, label: Label) -> list[Rect]:
    """The four inner faces of an opening, ``reach`` metres deep into the wall, and its frame."""
    x0, x1, z0, z1 = o.start, o.start + o.width, o.bottom, o.top
    rects = [
        rect([x0, -reach, z0], [0, reach, 0], [0, 0, z1 - z0], trim, label),
        rect([x1, 0, z0], [0, -reach, 0], [0, 0, z1 - z0], trim, label),
        rect([x0, 0, z1], [x1 - x0, 0, 0], [0, -reach, 0], trim, label),
        rect([x0, -reach, z0], [x1 - x0, 0, 0], [0, reach, 0], trim, label),
    ]
    for x in (x0 - 0.03, x1 + 0.03):
        rects += box((x, 0.012, z0), (0.07, 0.03, z1 - z0 + 0.06), trim, label)
    return rects + box(((x0 + x1) / 2, 0.012, z1), (o.width, 0.03, 0.07), trim, label, bottom=True)


def _window(o: Opening, trim: Material, p: Painter) -> list[Rect]:
    h = o.top - o.bottom
    outside = p.outside(o.width, h)
    glass = upright(o.start, o.start + o.width, -WALL_M, o.bottom, o.top, outside, Label.WINDOW)
    bar = box(
        (o.start + o.width / 2, -WALL_M + 0.02, o.bottom), (0.05, 0.04, h), trim, Label.WINDOW
    )
    return [glass, *bar, *_jambs(o, WALL_M, trim, Label.WINDOW)]


def _door(o: Opening, trim: Material, p: Painter) -> list[Rect]:
    rects = _jambs(o, WALL_M / 2, trim, Label.DOOR)
    if o.leaf:  # stands open, flat against the wall after the opening
        centre = (o.start + 1.5 * o.width + 0.08, 0.07, 0.01)
        rects += box(centre, (o.width, 0.04, o.top - 0.02), p.tile('wood'), Label.DOOR)
        handle = (centre[0] + o.width * 0.4, 0.11, 1.0)
        rects += box(handle, (0.13, 0.03, 0.03), p.plain(), Label.DOOR, bottom=True)
    return rects
