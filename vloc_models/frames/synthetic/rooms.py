"""A furnished room: what stands in it, hangs in it and lies about, and where one can walk."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic.furniture import CLUTTER, FURNITURE, Maker
from vloc_models.frames.synthetic.grid import CELL_M, clearance_m, parts
from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.materials import Painter
from vloc_models.frames.synthetic.pieces import Piece
from vloc_models.frames.synthetic.shell import RoomPlan, build_shell, side_frames, upright
from vloc_models.frames.synthetic.surfaces import Rect, box, placed, standing

ROBOT_M = 0.25  # its radius
Array = NDArray[np.float64]


@dataclass(eq=False)
class Room:
    """One room in its own frame, being filled."""

    plan: RoomPlan
    rects: list[Rect] = field(default_factory=list)
    lamps: list[Array] = field(default_factory=list)  # [3] where light comes from
    tops: list[tuple[Piece, Array]] = field(default_factory=list)  # with T_room_piece
    hung: list[tuple[str, float, float, float]] = field(default_factory=list)  # side, x0, x1, top
    blocked: NDArray[np.bool_] = field(init=False)  # [y cells, x cells]

    def __post_init__(self) -> None:
        cells = (round(self.plan.depth / CELL_M), round(self.plan.width / CELL_M))
        self.blocked = np.zeros(cells, bool)

    def walkable(self) -> NDArray[np.bool_]:
        """Where the robot's centre may be."""
        return clearance_m(~self.blocked) > ROBOT_M


def build_room(plan: RoomPlan, painter: Painter, richness_of_detail: float) -> Room:
    """Furnish a plan. The same seeds give the same room, texture by texture."""
    style = painter.with_rng(np.random.default_rng([1, plan.style_seed]))
    detail = painter.with_rng(np.random.default_rng([2, plan.detail_seed]))
    room = Room(plan)
    room.rects += build_shell(plan, style)
    _hang_ceiling_lamps(room, style)
    for make in _wanted(plan, style):
        _stand(room, make, style)
    _hang_pictures(room, detail, richness_of_detail)
    _scatter(room, detail, richness_of_detail)
    return room


def _wanted(plan: RoomPlan, p: Painter) -> list[Maker]:
    makers = FURNITURE[p.split][plan.theme]
    count = int(np.clip(plan.width * plan.depth / 2.4, 3, 12))
    if plan.theme == 'corridor':
        count = int(plan.width / 3)
    if p.richness == 'low':  # one plain thing, no kitchen row
        return [] if plan.theme == 'corridor' else [makers[1]]
    return [makers[i % len(makers)] for i in range(count)]


def _hang_ceiling_lamps(room: Room, p: Painter) -> None:
    """A row of square lamps along the longer side."""
    plan, shade = room.plan, p.shining()
    n = 1 if p.richness == 'low' else max(1, round(max(plan.width, plan.depth) / 3))
    for f in (np.arange(n) + 0.5) / n:
        x, y = (
            (f * plan.width, plan.depth / 2)
            if plan.width > plan.depth
            else (plan.width / 2, f * plan.depth)
        )
        drop = 0.08
        room.rects += box(
            (x, y, plan.height - drop), (0.5, 0.5, drop), shade, Label.LAMP, bottom=True
        )
        room.lamps.append(np.array([x, y, plan.height - drop - 0.12]))


def _door_zones(plan: RoomPlan) -> list[tuple[Array, Array]]:
    """Opposite corners, in the room, of what must stay free in front of doors."""
    zones = []
    frames = side_frames(plan)
    for o in plan.openings:
        if o.kind == 'door':
            T, _ = frames[o.side]
            extra = o.width + 0.15 if o.leaf else 0.0
            ends = np.array([[o.start - 0.1, 0, 0, 1], [o.start + o.width + 0.1, 0.9, 0, 1]])
            leaf = np.array([[o.start, 0, 0, 1], [o.start + o.width + extra, 0.15, 0, 1]])
            zones += [tuple((T @ c.T).T[:, :2]) for c in (ends, leaf)]
    return zones


def _stand(room: Room, make: Maker, p: Painter) -> None:
    """Try places for one piece until it fits and nobody is walled in."""
    piece = make(p)
    doors = [np.sort(np.stack(z), axis=0) for z in _door_zones(room.plan)]
    for _ in range(30):
        T = _somewhere(room.plan, piece, p.rng)
        w, d = piece.width_m / 2, piece.depth_m / 2
        corners = np.array([[-w, -d, 0, 1], [w, d, 0, 1], [-w, d, 0, 1], [w, -d, 0, 1]]) @ T.T
        low, high = corners[:, :2].min(0) - 0.02, corners[:, :2].max(0) + 0.02
        inside = (low > -0.01).all() and (
            high < [room.plan.width + 0.01, room.plan.depth + 0.01]
        ).all()
        if not inside or any((low < z[1]).all() and (high > z[0]).all() for z in doors):
            continue
        (i0, j0), (i1, j1) = _cells(low), _cells(high)
        if room.blocked[j0:j1, i0:i1].any():
            continue
        before = room.blocked.copy()
        room.blocked[j0:j1, i0:i1] = True
        if not _reachable(room, doors):
            room.blocked = before
            continue
        room.rects += placed(piece.rects, T)
        room.tops.append((piece, T))
        room.lamps += [
            T[:3, 3] + [0, 0, piece.height_m + 0.05]
            for r in piece.rects[-1:]
            if r.material.emits == 'lamp'
        ]
        for side, (T_room_wall, _) in side_frames(room.plan).items():
            near = (np.linalg.inv(T_room_wall) @ corners.T).T
            if near[:, 1].min() < 0.3:
                room.hung.append((side, near[:, 0].min(), near[:, 0].max(), piece.height_m))
        return


def _cells(xy: Array) -> tuple[int, int]:
    i, j = np.maximum(np.round(xy / CELL_M), 0).astype(int)
    return int(i), int(j)


def _somewhere(plan: RoomPlan, piece: Piece, rng: np.random.Generator) -> Array:
    """A random place: back to a wall, or free, turned by quarters."""
    if piece.at_wall:
        side = rng.choice(np.array(['south', 'west', 'north', 'east']))
        T_room_wall, length = side_frames(plan)[side]
        half = piece.width_m / 2
        x = rng.uniform(half + 0.02, max(half + 0.03, length - half - 0.02))
        return T_room_wall @ standing(x, piece.depth_m / 2 + 0.05, yaw=np.pi)
    x, y = rng.uniform([0.4, 0.4], [plan.width - 0.4, plan.depth - 0.4])
    yaw = rng.integers(4) * np.pi / 2
    return standing(x, y, 0, yaw)


def _reachable(room: Room, doors: list[Array]) -> bool:
    """All door zones hang together for the robot, with a good part of the room's floor."""
    free = room.walkable()
    part = parts(free)
    ids = set()
    for low, high in doors[::2]:  # the second zone of each door is its leaf's
        (i, j) = _cells((low + high) / 2)
        ids.add(int(part[min(j, free.shape[0] - 1), min(i, free.shape[1] - 1)]))
    if 0 in ids or len(ids) > 1:
        return False
    biggest = next(iter(ids)) if ids else int(np.bincount(part.ravel())[1:].argmax()) + 1
    return bool((part == biggest).mean() > 0.22)


def _hang_pictures(room: Room, p: Painter, amount: float) -> None:
    """Pictures and notices on free stretches of wall."""
    plan = room.plan
    for side, (T, length) in side_frames(plan).items():
        busy = [
            (o.start - 0.1, o.start + o.width + 0.1 + (o.width if o.leaf else 0))
            for o in plan.openings
            if o.side == side
        ]
        for _ in range(p.rng.poisson(amount * length * 0.7)):
            w, h = p.rng.uniform([0.25, 0.25], [1.1, 0.8])
            x, z = p.rng.uniform(0.1, max(0.11, length - w - 0.1)), p.rng.uniform(1.15, 1.75)
            tall = [(a, b) for s, a, b, top in room.hung if s == side and top > z - h / 2]
            if x + w > length or any(x < b and x + w > a for a, b in busy + tall):
                continue
            busy.append((x - 0.05, x + w + 0.05))
            frame = box(
                (x + w / 2, 0.012, z - h / 2), (w, 0.024, h), p.plain(0.1, 0.6), Label.PICTURE
            )
            art = p.decal('picture', w, h)
            low, high = z - h / 2 + 0.02, z + h / 2 - 0.02
            face = upright(x + 0.02, x + w - 0.02, 0.0245, low, high, art, Label.PICTURE)
            room.rects += placed([*frame, face], T)


def _scatter(room: Room, p: Painter, amount: float) -> None:
    """Small things on table tops and boards."""
    for piece, T in room.tops:
        for x0, y0, x1, y1, z in piece.tops:
            for _ in range(p.rng.poisson(amount * (1 + 3.5 * (x1 - x0) * (y1 - y0)))):
                thing = p.rng.choice(np.array(CLUTTER[p.split], object))(p)
                margin = thing.width_m / 2 + 0.02
                if x1 - x0 < 2 * margin or y1 - y0 < thing.depth_m + 0.02:
                    continue
                x = p.rng.uniform(x0 + margin, x1 - margin)
                y = p.rng.uniform(y0 + thing.depth_m / 2, y1 - thing.depth_m / 2)
                room.rects += placed(thing.rects, T @ standing(x, y, z, p.rng.uniform(-0.3, 0.3)))
