"""A synthetic world: a seeded description becomes rooms, surfaces, textures and walkable floor."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames.synthetic.grid import CELL_M, clearance_m, parts
from vloc_models.frames.synthetic.layout import (
    Placed,
    corridor_layout,
    plan_rooms,
    two_row_layout,
)
from vloc_models.frames.synthetic.materials import Painter, Richness, Split, Texture
from vloc_models.frames.synthetic.rooms import ROBOT_M, build_room
from vloc_models.frames.synthetic.surfaces import Rect, SurfaceTable, placed
from vloc_models.geometry import se3

Array = NDArray[np.float64]


MAX_ROOMS = 24  # their textures fit one atlas with room to spare
MAX_SURFACES = 65_534  # a cached picture numbers them with 16 bits


@dataclass(frozen=True)
class WorldSpec:
    """What world to make. The same description gives the same world, to the pixel."""

    seed: int = 0  # another seed, another building
    split: Split = 'test'  # train or test: they share no texture, furniture or floor plan
    rooms: int = 2  # besides the corridor of a test world
    texture: Richness = 'ordinary'  # low: blank walls and plain furniture
    repeats: int = 0  # this many rooms are exact copies of the first
    lookalikes: int = 0  # this many have its furniture but other pictures and clutter

    def __post_init__(self) -> None:
        if not 1 <= self.rooms <= MAX_ROOMS:
            raise VlocError(f'world: {self.rooms} rooms', f'choose 1 to {MAX_ROOMS}')
        copies = self.repeats + self.lookalikes
        if min(self.repeats, self.lookalikes) < 0 or copies >= self.rooms:
            raise VlocError(
                f'world: {copies} repeats and look-alikes among {self.rooms} rooms',
                'leave at least one room to copy from',
            )


@dataclass(frozen=True, eq=False)
class Floor:
    """Where the robot may drive: a grid over the map's x and y."""

    free: NDArray[np.bool_]  # [y cells, x cells]
    origin: Array  # [2] map position of cell (0, 0)'s centre
    room: NDArray[np.int16]  # [y cells, x cells] room number, -1 outside

    def cell(self, xy: Array) -> tuple[int, int]:
        """(row, column) of a map position."""
        j, i = np.round((np.asarray(xy) - self.origin) / CELL_M).astype(int)
        return int(i), int(j)

    def position(self, cells: NDArray[np.integer]) -> Array:
        """Map positions [..., 2] of (row, column) cells."""
        return self.origin + np.asarray(cells)[..., ::-1] * CELL_M


@dataclass(frozen=True, eq=False)
class World:
    """Everything about a building that does not depend on the light."""

    spec: WorldSpec
    surfaces: SurfaceTable
    textures: tuple[Texture, ...]
    lamps: Array  # [L, 3] positions, map frame
    rooms: tuple[Placed, ...]
    floor: Floor


def build_world(spec: WorldSpec) -> World:
    """Make the world that ``spec`` describes; takes about a second a room."""
    rng = np.random.default_rng([7, spec.seed, spec.split == 'train'])
    plans = plan_rooms(rng, spec.split, spec.rooms, spec.repeats, spec.lookalikes)
    layout = two_row_layout if spec.split == 'train' else corridor_layout
    rooms = layout(rng, plans)
    if spec.texture == 'low':  # no daylight: a bright window is a feature
        rooms = [_without_windows(room) for room in rooms]
    painter = Painter(spec.split, spec.texture, rng)
    rects: list[Rect] = []
    lamps, grids = [], []
    for room in rooms:
        built = build_room(room.plan, painter, 0.0 if spec.texture == 'low' else 1.0)
        rects += placed(built.rects, room.T_map_room)
        lamps += [se3.apply(room.T_map_room, p) for p in built.lamps]
        grids.append(~built.blocked)
    floor = _floor(rooms, grids)
    if len(rects) > MAX_SURFACES:
        raise VlocError(f'world: {len(rects)} surfaces are too many', 'choose fewer rooms')
    table = SurfaceTable.of(rects)
    return World(spec, table, tuple(painter.textures), np.array(lamps), tuple(rooms), floor)


def _without_windows(room: Placed) -> Placed:
    doors = tuple(o for o in room.plan.openings if o.kind == 'door')
    return replace(room, plan=replace(room.plan, openings=doors))


def _floor(rooms: list[Placed], grids: list[NDArray[np.bool_]]) -> Floor:
    """Paint the rooms' grids and the door passages into one, and shrink it by the robot."""
    corners = [
        se3.apply(r.T_map_room, np.array([[0, 0, 0], [r.plan.width, r.plan.depth, 0]]))
        for r in rooms
    ]
    low = np.concatenate(corners)[:, :2].min(0) - 0.5
    size = np.ceil((np.concatenate(corners)[:, :2].max(0) + 0.5 - low) / CELL_M).astype(int)
    free, owner = np.zeros(size[::-1], np.uint8), np.full(size[::-1], -1, np.int16)
    j, i = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    centres = np.stack([low[0] + j * CELL_M, low[1] + i * CELL_M, 0 * j], -1)
    for number, (room, grid) in enumerate(zip(rooms, grids, strict=True)):
        local = se3.apply(se3.inverse(room.T_map_room), centres)[..., :2]
        cells = np.floor(local / CELL_M).astype(int)
        inside = ((cells >= 0) & (cells < grid.shape[::-1])).all(-1)
        free[inside] = grid[cells[inside][:, 1], cells[inside][:, 0]]
        owner[inside] = number
    for room in rooms:
        for passage in room.doors:
            a, b = np.round((passage - low) / CELL_M).astype(int)
            cv2.line(free, tuple(map(int, a)), tuple(map(int, b)), 1, round(0.9 / CELL_M))
    part = parts(clearance_m(free > 0) > ROBOT_M)
    largest = np.bincount(part[part > 0]).argmax()
    return Floor(part == largest, low, owner)
