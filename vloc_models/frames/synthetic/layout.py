"""Floor plans: where the rooms of a world lie and which doors join them.

Test worlds are rooms on both sides of a corridor; training worlds are two rows of rooms that
open into each other, so that no plan of one split occurs in the other.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic.furniture import FURNITURE
from vloc_models.frames.synthetic.materials import Split
from vloc_models.frames.synthetic.shell import (
    DOOR_HEIGHT_M,
    DOOR_M,
    WALL_M,
    Opening,
    RoomPlan,
    Side,
)
from vloc_models.frames.synthetic.surfaces import standing

Rng = np.random.Generator
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Placed:
    """One room's plan and where it lies."""

    plan: RoomPlan
    T_map_room: Array  # [4, 4]
    doors: tuple[Array, ...] = ()  # [2, 2] ends of the passage through each door, map frame


def plan_rooms(
    rng: Rng, split: Split, rooms: int, repeats: int, lookalikes: int
) -> list[RoomPlan]:
    """Plans without openings; the last ones are repeats, then look-alikes, of the first."""
    themes = [t for t in FURNITURE[split] if t != 'corridor']
    plans = []
    for i in range(rooms):
        w, d, h = rng.uniform([3.6, 3.6, 2.6], [6.2, 5.4, 3.0]).round(2)
        style, detail = (int(s) for s in rng.integers(2**31, size=2))
        plans.append(RoomPlan(w, d, h, themes[i % len(themes)], style, detail, ()))
    for k in range(min(repeats, rooms - 1)):
        plans[-1 - k] = plans[0]
    for k in range(min(lookalikes, rooms - 1 - repeats)):
        i = -1 - repeats - k
        plans[i] = replace(plans[0], detail_seed=plans[i].detail_seed)
    return plans


def corridor_layout(rng: Rng, plans: list[RoomPlan]) -> list[Placed]:
    """Rooms alternate on the north and south side of a corridor; repeats get the same side."""
    wide, sides = float(rng.uniform(1.9, 2.5)), ([], [])
    ends = [0.0, 0.0]
    for plan in plans:
        seen = next(
            (s for s in (0, 1) if any(plan.style_seed == q.style_seed for q, _ in sides[s])), None
        )
        s = int(np.argmin(ends)) if seen is None else seen
        sides[s].append((plan, ends[s]))
        ends[s] = round(ends[s] + plan.width + WALL_M, 3)
    length = max(ends) - WALL_M
    placed, holes = [], []
    for s, row in enumerate(sides):
        for plan, x in row:
            local = _random(plan, 5)
            start = local.uniform(0.25, plan.width - 2 * DOOR_M - 0.5)
            door = Opening('south', start, DOOR_M, 0, DOOR_HEIGHT_M, 'door', leaf=True)
            window = _window(local, plan, 'north')
            T = (
                standing(x, wide + WALL_M)
                if s == 0
                else standing(x + plan.width, -WALL_M, yaw=np.pi)
            )
            middle = (T @ [start + DOOR_M / 2, 0, 0, 1])[0]
            holes.append(_hole('north' if s == 0 else 'south', middle, length))
            passage = np.array([[middle, wide + WALL_M + 0.3], [middle, wide - 0.3]])
            passage = passage if s == 0 else passage * [1, -1] + [0, wide]
            placed.append(Placed(replace(plan, openings=(door, *window)), T, (passage,)))
    style, detail = (int(x) for x in rng.integers(2**31, size=2))
    end = Opening('east', wide / 2 - 0.5, 1.0, 0.9, 2.0, 'window')
    corridor = RoomPlan(length, wide, 2.6, 'corridor', style, detail, (*holes, end))
    return [Placed(corridor, standing(0, 0)), *placed]


def two_row_layout(rng: Rng, plans: list[RoomPlan]) -> list[Placed]:
    """Two rows of rooms; neighbours in a row are joined, and one or two pairs across."""
    half = (len(plans) + 1) // 2
    boxes, x = [], [0.0, 0.0]
    for i, plan in enumerate(plans):
        r = int(i >= half)
        boxes.append((plan, r, x[r]))
        x[r] = round(x[r] + plan.width + WALL_M, 3)
    openings: list[list[Opening]] = [[] for _ in boxes]
    doors: list[list[Array]] = [[] for _ in boxes]
    tops = [_window(_random(p, 6), p, 'south' if r == 0 else 'north') for p, r, _ in boxes]
    for i, (plan, r, left) in enumerate(boxes):
        if i + 1 < len(boxes) and boxes[i + 1][1] == r:
            other, y0 = boxes[i + 1][0], -1.0
            span = min(plan.depth, other.depth)
            at = (
                rng.uniform(0.7, span - 0.7 - DOOR_M) + DOOR_M / 2
            )  # from the shared wall's row edge
            y0 = at if r == 1 else -at  # row 1 grows north from y = 0, row 0 south
            xm = left + plan.width + WALL_M / 2
            local_y = at if r == 1 else plan.depth - at
            openings[i].append(_hole('east', local_y, plan.depth))
            other_y = at if r == 1 else other.depth - at
            openings[i + 1].append(_hole('west', other_y, other.depth))
            y0 += WALL_M / 2 if r == 1 else -WALL_M / 2
            doors[i].append(np.array([[xm - 0.37, y0], [xm + 0.37, y0]]))
    for i, (a, ra, xa) in enumerate(boxes):
        for j, (b, rb, xb) in enumerate(boxes):
            low, high = max(xa, xb) + 0.3, min(xa + a.width, xb + b.width) - 0.3
            if ra == 0 and rb == 1 and high - low > DOOR_M and i % 2 == 0:
                xm = rng.uniform(low + DOOR_M / 2, high - DOOR_M / 2)
                openings[i].append(_hole('north', xm - xa, a.width))
                openings[j].append(_hole('south', xm - xb, b.width))
                doors[i].append(np.array([[xm, -0.37], [xm, 0.37]]))
                break
    out = []
    for (plan, r, left), holes, passages, top in zip(boxes, openings, doors, tops, strict=True):
        y = WALL_M / 2 if r == 1 else -WALL_M / 2 - plan.depth
        whole = replace(plan, openings=(*holes, *top))
        out.append(Placed(whole, standing(left, y), tuple(passages)))
    return out


def _hole(side: Side, middle: float, length: float) -> Opening:
    """A doorway without a leaf, its middle given along +x or +y of the room."""
    along = middle if side in ('south', 'east') else length - middle
    return Opening(side, along - DOOR_M / 2, DOOR_M, 0, DOOR_HEIGHT_M, 'door')


def _random(plan: RoomPlan, salt: int) -> Rng:
    """Dice that fall alike for rooms of one style."""
    return np.random.default_rng([salt, plan.style_seed])


def _window(rng: Rng, plan: RoomPlan, side: Side) -> tuple[Opening, ...]:
    """One or two windows in an outer wall."""
    n = 2 if plan.width > 4.6 else 1
    out = []
    for k in range(n):
        w, bottom = rng.uniform([0.9, 0.8], [1.5, 1.0])
        slot = plan.width / n
        start = k * slot + rng.uniform(0.2, slot - w - 0.2)
        out.append(Opening(side, start, w, bottom, bottom + rng.uniform(1.0, 1.3), 'window'))
    return tuple(out)
