"""How a robot drives through a world: a path over the free floor, poses in time, odometry."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from vloc_models.errors import VlocError
from vloc_models.frames.synthetic.grid import CELL_M, clearance_m
from vloc_models.frames.synthetic.world import Floor
from vloc_models.geometry import se3
from vloc_models.records import Trajectory

Array = NDArray[np.float64]
Cells = NDArray[np.intp]  # row and column
_STEP_S = 0.02  # the motion is worked out at 50 Hz
_STOP_CLEARANCE_M = 0.6  # from the robot's rim to the next obstacle


@dataclass(frozen=True)
class DriveSpec:
    """One recording drive."""

    seed: int = 0  # another seed, another way
    kind: Literal['mapping', 'query'] = 'mapping'  # mapping: turns once around at every stop
    rate_hz: float = 5.0  # images a second
    stops: int = 2  # places visited in every room
    reach_m: float = 0.0  # and more, until no place to stop at is further from one; 0: no more
    duration_s: float = 0.0  # cut off after this long; 0: the whole drive
    speed_m_s: float = 0.5
    turn_deg_s: float = 40.0
    wobble_deg: float = 0.4  # roll and pitch of an uneven floor
    odometry_drift: float = 0.01  # of the distance
    odometry_drift_deg_m: float = 0.5

    def __post_init__(self) -> None:
        low = min(self.rate_hz, self.speed_m_s, self.turn_deg_s, self.stops)
        if not low > 0 or min(self.duration_s, self.reach_m) < 0:
            raise VlocError(
                'drive: rates, speeds and stops must be positive, duration and reach not negative',
                'correct the option',
            )


def drive(floor: Floor, spec: DriveSpec) -> Trajectory:
    """Poses T_map_base at 50 Hz (z up, x forward), from stamp 1 s on."""
    rng = np.random.default_rng([11, spec.seed, spec.kind == 'mapping'])
    stops = _tour(_stops(floor, spec, rng), floor)
    xy_yaw = _Driver(spec, rng.uniform(-np.pi, np.pi))
    for here, there in pairwise(stops):
        if spec.kind == 'mapping':
            xy_yaw.turn(floor.position(np.array(here)), 2 * np.pi * rng.choice([-1, 1]))
        xy_yaw.follow(_smoothed(_shortest(floor, here, there), floor))
    if spec.kind == 'mapping':
        xy_yaw.turn(floor.position(np.array(stops[-1])), 2 * np.pi)
    planar = np.array(xy_yaw.track)
    if spec.duration_s:
        planar = planar[: max(2, round(spec.duration_s / _STEP_S))]
    wobble = _smooth_noise(rng, len(planar), 3, seconds=0.6)
    poses = np.stack(
        [
            se3.transform(se3.exp([0, 0, 0, 0, 0, yaw])[:3, :3], [x, y, 0.004 * w[2]])
            @ se3.exp([0, 0, 0, *np.radians(spec.wobble_deg) * w[:2], 0])
            for (x, y, yaw), w in zip(planar, wobble, strict=True)
        ]
    )
    stamps = 1_000_000_000 + np.arange(len(poses)) * round(_STEP_S * 1e9)
    return Trajectory(stamps, poses)


def odometry(truth: Trajectory, spec: DriveSpec) -> Trajectory:
    """T_odom_base at the same stamps: starts at the origin, drifts with distance, planar."""
    rng = np.random.default_rng([12, spec.seed, spec.kind == 'mapping'])
    steps = se3.inverse(truth.T_map_body[:-1]) @ truth.T_map_body[1:]
    distance = np.linalg.norm(steps[:, :2, 3], axis=1)
    scale = 1 + spec.odometry_drift * rng.choice([-1, 1])
    yaw = np.arctan2(steps[:, 1, 0], steps[:, 0, 0])
    bias = np.radians(spec.odometry_drift_deg_m) * (
        0.7 * rng.choice([-1, 1]) + 3 * rng.standard_normal(len(yaw))
    )
    poses = [np.eye(4)]
    for (dx, dy), turn in zip(steps[:, :2, 3] * scale, yaw + bias * distance, strict=True):
        poses.append(
            poses[-1] @ se3.transform(se3.exp([0, 0, 0, 0, 0, turn])[:3, :3], [dx, dy, 0])
        )
    return Trajectory(truth.stamps_ns, np.stack(poses))


class _Driver:
    """Strings turns and legs together at bounded speeds."""

    def __init__(self, spec: DriveSpec, yaw: float) -> None:
        self.spec, self.yaw = spec, yaw
        self.track: list[tuple[float, float, float]] = []

    def turn(self, at: Array, angle: float) -> None:
        """Turn on the spot."""
        steps = max(1, round(abs(angle) / (np.radians(self.spec.turn_deg_s) * _STEP_S)))
        for _ in range(steps):
            self.yaw += angle / steps
            self.track.append((at[0], at[1], self.yaw))

    def follow(self, path: Array) -> None:
        """Face the path's start, then drive along it, looking half a metre ahead."""
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        along = np.concatenate([[0], np.cumsum(steps)])
        if along[-1] < 0.1:
            return

        def at(s: float) -> Array:
            return np.array([np.interp(s, along, path[:, k]) for k in (0, 1)])

        self.turn(path[0], _wrapped(_heading(at(0), at(0.5)) - self.yaw))
        fastest = np.radians(self.spec.turn_deg_s) * _STEP_S
        s = 0.0
        while s < along[-1]:
            ahead = min(s + 0.5, along[-1])
            here = at(s)
            want = _wrapped(_heading(here, at(ahead)) - self.yaw) if ahead - s > 0.1 else 0.0
            turn = float(np.clip(want, -fastest, fastest))
            self.yaw += turn
            s += self.spec.speed_m_s * _STEP_S * max(0.2, 1 - abs(want))  # slower in bends
            self.track.append((here[0], here[1], self.yaw))


def _heading(a: Array, b: Array) -> float:
    return float(np.arctan2(b[1] - a[1], b[0] - a[0]))


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _stops(floor: Floor, spec: DriveSpec, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Some free cells in each room, far from each other and, where there is room, from walls.

    A camera that looks at a bare wall from close by tells nothing, and nobody parks there.
    """
    clear, stops = clearance_m(floor.free), []
    rooms = int(floor.room.max()) + 1
    count = max(spec.stops, 2) if rooms == 1 else spec.stops
    for room in range(rooms):
        mine = (floor.room == room) & floor.free
        if not mine.any():
            continue
        enough = min(_STOP_CLEARANCE_M, float(np.quantile(clear[mine], 0.7)))
        cells = np.argwhere(mine & (clear >= enough))
        chosen = [cells[rng.integers(len(cells))]]
        for _ in range(count - 1):
            far = np.min([np.linalg.norm(cells - c, axis=1) for c in chosen], axis=0)
            if far.any():
                chosen.append(cells[rng.choice(len(cells), p=far**3 / (far**3).sum())])
        if spec.reach_m:
            chosen += _between(cells, chosen, spec.reach_m / CELL_M)
        stops += [(int(i), int(j)) for i, j in chosen]
    if len(stops) < 2:
        raise VlocError('world: no free floor to drive on', 'choose another seed')
    return stops


def _between(cells: Cells, chosen: list[Cells], reach: float) -> list[Cells]:
    """More of the cells, always the furthest from all, until none is further than that."""
    more: list[Cells] = []
    away = np.min([np.linalg.norm(cells - c, axis=1) for c in chosen], axis=0)
    while away.max() > reach:
        more.append(cells[away.argmax()])
        away = np.minimum(away, np.linalg.norm(cells - more[-1], axis=1))
    return more


def _tour(stops: list[tuple[int, int]], floor: Floor) -> list[tuple[int, int]]:
    """Always on to the nearest stop, by the way one has to go."""
    graph, index = _graph(floor)
    nodes = [index[s] for s in stops]
    distance = csgraph.dijkstra(graph, indices=nodes)[:, nodes]
    order, left = [0], set(range(1, len(stops)))
    while left:
        order.append(min(left, key=lambda k: distance[order[-1], k]))
        left.remove(order[-1])
    return [stops[k] for k in order]


def _shortest(floor: Floor, start: tuple[int, int], goal: tuple[int, int]) -> Array:
    """Map positions [N, 2] of the cheapest way; cells near obstacles cost more."""
    graph, index = _graph(floor)
    cells = np.argwhere(floor.free)
    _, before = csgraph.dijkstra(graph, indices=index[start], return_predecessors=True)
    way = [int(index[goal])]
    while before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return floor.position(cells[way[::-1]])


def _graph(floor: Floor) -> tuple[sparse.csr_matrix, NDArray[np.intp]]:
    """The 8-neighbour graph of the free cells, and the node number of each cell."""
    index = np.full(floor.free.shape, -1)
    index[floor.free] = np.arange(floor.free.sum())
    price = 1 + 2 * np.exp(-clearance_m(floor.free) / 0.15)
    rows, cols, costs = [], [], []
    for di, dj in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = (slice(0, -di or None), slice(max(0, -dj), -dj if dj > 0 else None))
        b = (slice(di, None), slice(max(0, dj), dj if dj < 0 else None))
        both = floor.free[a] & floor.free[b]
        rows.append(index[a][both])
        cols.append(index[b][both])
        costs.append(np.hypot(di, dj) * CELL_M * (price[a] + price[b])[both] / 2)
    n = int(floor.free.sum())
    ends = np.concatenate(rows), np.concatenate(cols)
    graph = sparse.csr_matrix((np.concatenate(costs), ends), (n, n))
    return graph + graph.T, index


def _smoothed(path: Array, floor: Floor) -> Array:
    """Rounded corners, unless that runs into something."""
    for sigma in (6, 3, 1.5):
        round_ = np.asarray(ndimage.gaussian_filter1d(path, sigma, axis=0, mode='nearest'))
        round_[0], round_[-1] = path[0], path[-1]
        if all(floor.free[floor.cell(xy)] for xy in list(round_)):
            return round_
    return path


def _smooth_noise(rng: np.random.Generator, count: int, channels: int, seconds: float) -> Array:
    x = ndimage.gaussian_filter1d(
        rng.standard_normal((count, channels)), seconds / _STEP_S, axis=0
    )
    return x / (x.std(0) + 1e-9)
