"""Furniture: each piece is made by a function of a painter; training and test share none.

A piece stands on the floor around its origin, x to the right, its back towards +y.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.materials import Painter
from vloc_models.frames.synthetic.surfaces import (
    Rect,
    box,
    placed,
    prism,
    rect,
    standing,
    with_face,
)
from vloc_models.geometry import se3

Top = tuple[float, float, float, float, float]  # x0, y0, x1, y1, height: where clutter may stand


@dataclass(frozen=True)
class Piece:
    """One piece of furniture in its own frame."""

    rects: list[Rect]
    width_m: float  # along x
    depth_m: float  # along y
    height_m: float
    tops: tuple[Top, ...] = ()
    at_wall: bool = True


Maker = Callable[[Painter], Piece]


def _legs(w: float, d: float, h: float, p: Painter, label: Label, thick: float) -> list[Rect]:
    metal = p.plain()
    at = [(sx * (w / 2 - thick), sy * (d / 2 - thick), 0) for sx in (-1, 1) for sy in (-1, 1)]
    return [f for c in at for f in box(c, (thick, thick, h), metal, label)]


def _foliage(
    p: Painter, centre: tuple[float, float, float], count: int, reach: float
) -> list[Rect]:
    leaf, out = p.leaf(), []
    for _ in range(count):
        tilt = se3.exp([0, 0, 0, *p.rng.normal(0, 0.9, 3)])
        length = reach * p.rng.uniform(0.5, 1.1)
        one = rect(
            [-0.12 * length, 0, 0], [0.24 * length, 0, 0], [0, 0, length], leaf, Label.PLANT
        )
        offset = np.asarray(centre) + p.rng.normal(0, 0.06 * reach, 3)
        out += placed([one], standing(*offset) @ tilt)
    return out


# ----------------------------------------------------------------- training worlds


def table(p: Painter) -> Piece:
    """Four legs and a top."""
    w, d, h = p.rng.uniform([1.1, 0.7, 0.70], [1.8, 0.95, 0.78])
    top = box((0, 0, h - 0.04), (w, d, 0.04), p.tile('wood'), Label.TABLE, bottom=True)
    rects = _legs(w, d, h - 0.04, p, Label.TABLE, 0.06) + top
    return Piece(rects, w, d, h, ((-w / 2, -d / 2, w / 2, d / 2, h),), at_wall=False)


def shelf(p: Painter) -> Piece:
    """An open bookshelf, some boards full of books."""
    w, d, h = p.rng.uniform([0.8, 0.28, 1.5], [1.4, 0.36, 2.1])
    wood, boards, tops = p.tile('wood'), int(p.rng.integers(4, 6)), []
    rects = box((-w / 2, 0, 0), (0.03, d, h), wood, Label.CABINET)
    rects += box((w / 2, 0, 0), (0.03, d, h), wood, Label.CABINET)
    rects.append(rect([w / 2, d / 2, 0], [-w, 0, 0], [0, 0, h], wood, Label.CABINET))
    for z in np.linspace(0.05, h - 0.03, boards):
        rects += box((0, 0, z), (w, d, 0.025), wood, Label.CABINET, bottom=True)
    for z in np.linspace(0.05, h - 0.03, boards)[:-1]:
        if p.rng.random() < 0.7:
            width, tall = w * p.rng.uniform(0.4, 0.9), (h / boards) * p.rng.uniform(0.6, 0.85)
            books = box((0, 0.02, z + 0.025), (width, d * 0.7, tall), p.plain(), Label.CLUTTER)
            rects += with_face(books, 0, p.decal('books', width, tall))
        else:
            tops.append((-w / 2 + 0.05, -d / 2, w / 2 - 0.05, d / 2, z + 0.025))
    return Piece(rects, w, d, h, tuple(tops))


def sofa(p: Painter) -> Piece:
    """Seat, back and arms."""
    w, d = p.rng.uniform([1.5, 0.8], [2.2, 0.95])
    cloth, cushion = p.tile('cloth'), p.tile('cloth')
    rects = box((0, 0, 0.08), (w, d, 0.34), cloth, Label.SOFA)
    rects += box((0, d / 2 - 0.1, 0.42), (w, 0.2, 0.4), cloth, Label.SOFA)
    for side in (-1, 1):
        rects += box((side * (w / 2 - 0.09), 0, 0.42), (0.18, d, 0.2), cloth, Label.SOFA)
        rects += box((side * w / 5, 0.15, 0.42), (0.4, 0.14, 0.36), cushion, Label.SOFA)
    return Piece(rects, w, d, 0.82)


def chair(p: Painter) -> Piece:
    """A kitchen chair with slats."""
    wood, h = p.tile('wood'), p.rng.uniform(0.42, 0.48)
    rects = _legs(0.42, 0.42, h, p, Label.CHAIR, 0.035)
    rects += box((0, 0, h), (0.44, 0.44, 0.03), wood, Label.CHAIR, bottom=True)
    for x in (-0.18, -0.06, 0.06, 0.18):
        rects += box((x, 0.2, h), (0.05, 0.025, 0.45), wood, Label.CHAIR)
    return Piece(rects, 0.46, 0.46, h + 0.45, at_wall=False)


def bed(p: Painter) -> Piece:
    """A frame, a mattress, pillows and a blanket."""
    w, cloth, sheet = p.rng.uniform(0.9, 1.7), p.tile('cloth'), p.plain(0.7, 0.9)
    rects = box((0, 0, 0), (w, 2.0, 0.3), p.tile('wood'), Label.BED)
    rects += box((0, 0, 0.3), (w - 0.06, 1.95, 0.18), sheet, Label.BED)
    rects += box((0, -0.3, 0.3), (w, 1.35, 0.2), cloth, Label.BED)
    rects += box((0, 0.98, 0), (w, 0.05, 0.95), p.tile('wood'), Label.BED)
    rects += box((0, 0.75, 0.48), (w * 0.6, 0.35, 0.1), p.tile('cloth'), Label.BED)
    return Piece(rects, w, 2.0, 0.95)


def pot_plant(p: Painter) -> Piece:
    """A pot and a crown of leaves on a stem."""
    h = p.rng.uniform(0.7, 1.4)
    rects = prism((0, 0, 0), 0.16, 0.32, p.plain(), Label.PLANT)
    rects += prism((0, 0, 0.3), 0.025, h - 0.3, p.plain(0.15, 0.3), Label.PLANT, 5)
    return Piece(rects + _foliage(p, (0, 0, h), 34, 0.45), 0.5, 0.5, h + 0.4)


def dresser(p: Painter) -> Piece:
    """Drawers with knobs, a television on some."""
    w, d, h = p.rng.uniform([0.9, 0.4, 0.5], [1.5, 0.5, 0.95])
    rects, rows = (
        box((0, 0, 0), (w, d, h), p.tile('wood'), Label.CABINET),
        int(p.rng.integers(2, 4)),
    )
    knob = p.plain()
    for r in range(rows):
        z = 0.05 + (h - 0.08) * r / rows
        for x in (-w / 4, w / 4):
            front = (x, -d / 2 - 0.008, z)
            rects += box(
                front, (w / 2 - 0.03, 0.016, h / rows - 0.06), p.tile('wood'), Label.CABINET
            )
            rects += box(
                (x, -d / 2 - 0.03, z + h / rows / 2), (0.12, 0.02, 0.02), knob, Label.CABINET
            )
    tops: tuple[Top, ...] = ((-w / 2, -d / 2, w / 2, d / 2, h),)
    if p.rng.random() < 0.6:
        tv = box((0, 0.05, h + 0.05), (w * 0.8, 0.05, w * 0.45), p.plain(0.1, 0.2), Label.SCREEN)
        rects += with_face(tv, 0, p.decal('screen', w * 0.8, w * 0.45, 'screen'))
        tops = ()
    return Piece(rects, w, d, h, tops)


def floor_lamp(p: Painter) -> Piece:
    """A pole with a shade."""
    metal = p.plain()
    rects = box((0, 0, 0), (0.3, 0.3, 0.03), metal, Label.LAMP)
    rects += box((0, 0, 0.03), (0.03, 0.03, 1.4), metal, Label.LAMP)
    return Piece(rects + prism((0, 0, 1.4), 0.18, 0.3, p.shining(), Label.LAMP), 0.36, 0.36, 1.7)


# ----------------------------------------------------------------- test worlds


def desk(p: Painter) -> Piece:
    """Panel sides, a drawer block, a monitor and a keyboard."""
    w, d, h = p.rng.uniform([1.2, 0.65, 0.71], [1.8, 0.85, 0.76])
    wood = p.tile('wood')
    rects = box((0, 0, h - 0.03), (w, d, 0.03), wood, Label.TABLE, bottom=True)
    rects += box((-w / 2 + 0.02, 0, 0), (0.03, d * 0.9, h - 0.03), wood, Label.TABLE)
    drawers = box((w / 2 - 0.22, 0, 0), (0.42, d * 0.9, h - 0.03), p.plain(0.4, 0.8), Label.TABLE)
    rects += drawers
    for z in (0.08, 0.3, 0.52):
        rects += box(
            (w / 2 - 0.22, -d * 0.45 - 0.01, z + 0.12), (0.2, 0.02, 0.015), p.plain(), Label.TABLE
        )
    if p.rng.random() < 0.85:
        x, wide = p.rng.uniform(-0.25, 0.2), p.rng.uniform(0.45, 0.65)
        rects += box((x, 0.15, h), (0.22, 0.18, 0.015), p.plain(0.1, 0.3), Label.SCREEN)
        rects += box((x, 0.2, h), (0.05, 0.03, 0.2), p.plain(0.1, 0.3), Label.SCREEN)
        screen = box(
            (x, 0.17, h + 0.12), (wide, 0.03, wide * 0.58), p.plain(0.1, 0.2), Label.SCREEN, True
        )
        rects += with_face(screen, 0, p.decal('screen', wide, wide * 0.58, 'screen'))
        keys = box((x, -0.15, h), (0.42, 0.14, 0.02), p.plain(0.1, 0.4), Label.CLUTTER)
        rects += with_face(keys, 4, p.decal('books', 0.42, 0.14))
    return Piece(
        rects, w, d, h, ((-w / 2, -d / 2, -w / 4, d / 2, h), (w / 4, -d / 2, w / 2, d / 2, h))
    )


def wardrobe(p: Painter) -> Piece:
    """A tall cupboard with doors and handles."""
    w, d, h = p.rng.uniform([0.9, 0.45, 1.7], [1.6, 0.6, 2.2])
    rects, n = box((0, 0, 0), (w, d, h), p.tile('wood'), Label.CABINET), int(p.rng.integers(2, 4))
    front, metal = p.tile('wood'), p.plain()
    for i in range(n):
        x = w * ((i + 0.5) / n - 0.5)
        rects += box((x, -d / 2 - 0.01, 0.06), (w / n - 0.02, 0.02, h - 0.1), front, Label.CABINET)
        rects += box(
            (x + 0.35 * w / n, -d / 2 - 0.035, h * 0.45), (0.02, 0.03, 0.16), metal, Label.CABINET
        )
    return Piece(rects, w, d, h)


def bookcase(p: Painter) -> Piece:
    """A wide low case: titled books between uprights."""
    w, d, h = p.rng.uniform([1.2, 0.3, 0.9], [2.2, 0.38, 1.6])
    wood, cols, rows = p.tile('wood'), int(p.rng.integers(2, 5)), int(p.rng.integers(2, 4))
    rects = box((0, 0.01, 0), (w, d - 0.02, 0.06), wood, Label.CABINET)
    rects += box((0, 0, h - 0.03), (w, d, 0.03), wood, Label.CABINET, bottom=True)
    rects.append(rect([w / 2, d / 2, 0], [-w, 0, 0], [0, 0, h], wood, Label.CABINET))
    rects += [
        f
        for i in range(cols + 1)
        for f in box((w * (i / cols - 0.5), 0, 0), (0.03, d, h), wood, Label.CABINET)
    ]
    cell_w, cell_h = w / cols - 0.03, (h - 0.1) / rows
    for r in range(rows):
        z = 0.06 + r * cell_h
        rects += box((0, 0, z - 0.02), (w, d, 0.02), wood, Label.CABINET, bottom=True)
        for c in range(cols):
            if p.rng.random() < 0.8:
                tall = cell_h * p.rng.uniform(0.65, 0.9)
                books = box(
                    (w * ((c + 0.5) / cols - 0.5), 0.03, z),
                    (cell_w, d * 0.7, tall),
                    p.plain(),
                    Label.CLUTTER,
                )
                rects += with_face(books, 0, p.decal('books', cell_w, tall))
    return Piece(rects, w, d, h, ((-w / 2, -d / 2, w / 2, d / 2, h),))


def armchair(p: Painter) -> Piece:
    """A leaning back, round feet."""
    cloth, w = p.tile('cloth'), p.rng.uniform(0.7, 0.9)
    rects = box((0, -0.05, 0.12), (w, 0.7, 0.3), cloth, Label.SOFA, bottom=True)
    back = box((0, 0, 0), (w, 0.14, 0.6), cloth, Label.SOFA)
    rects += placed(back, standing(0, 0.25, 0.4) @ se3.exp([0, 0, 0, -0.25, 0, 0]))
    for x in (-w / 2, w / 2):
        rects += box((x, -0.05, 0.12), (0.1, 0.66, 0.48), cloth, Label.SOFA)
        for y in (-0.35, 0.2):
            rects += prism((x * 0.85, y, 0), 0.03, 0.12, p.plain(), Label.SOFA, 6)
    return Piece(rects, w + 0.1, 0.85, 0.95, at_wall=False)


def office_chair(p: Painter) -> Piece:
    """A star of five feet, a column, a seat and a back."""
    metal, cloth, rects = p.plain(0.1, 0.4), p.tile('cloth'), []
    for k in range(5):
        foot = box((0.15, 0, 0.05), (0.3, 0.045, 0.035), metal, Label.CHAIR)
        rects += placed(foot, standing(0, 0, 0, 2 * np.pi * k / 5))
    rects += prism((0, 0, 0.05), 0.03, 0.4, metal, Label.CHAIR, 6)
    rects += box((0, 0, 0.44), (0.46, 0.46, 0.08), cloth, Label.CHAIR, bottom=True)
    rects += box((0, 0.24, 0.55), (0.42, 0.06, 0.5), cloth, Label.CHAIR, bottom=True)
    turned = placed(rects, standing(0, 0, 0, p.rng.uniform(0, 2 * np.pi)))
    return Piece(turned, 0.62, 0.62, 1.05, at_wall=False)


def daybed(p: Painter) -> Piece:
    """A low bed with drawers and a bolster."""
    w, cloth = p.rng.uniform(0.9, 1.3), p.tile('cloth')
    rects = box((0, 0, 0), (2.0, w, 0.28), p.tile('wood'), Label.BED)
    rects += box((0, 0, 0.28), (1.96, w - 0.04, 0.16), cloth, Label.BED)
    rects += box((-0.85, 0, 0.44), (0.2, w * 0.8, 0.16), p.tile('cloth'), Label.BED)
    for x in (-0.5, 0.5):
        rects += box((x, -w / 2 - 0.01, 0.05), (0.9, 0.02, 0.18), p.plain(), Label.BED)
    return Piece(rects, 2.0, w, 0.6)


def bush(p: Painter) -> Piece:
    """A trough and a bush."""
    h = p.rng.uniform(0.4, 0.9)
    rects = box((0, 0, 0), (0.6, 0.3, 0.35), p.plain(), Label.PLANT)
    for x in (-0.18, 0, 0.18):
        rects += _foliage(p, (x, 0, 0.3), 14, h)
    return Piece(rects, 0.7, 0.5, 0.35 + h)


def counter(p: Painter) -> Piece:
    """A kitchen row: base units, worktop, tap, wall units."""
    w, fronts = p.rng.uniform(1.6, 2.8), p.tile('wood')
    rects = box((0, 0, 0), (w, 0.58, 0.86), p.plain(0.5, 0.9), Label.CABINET)
    rects += box((0, 0, 0.86), (w, 0.62, 0.04), p.tile('wood'), Label.TABLE)
    rects += box((0, 0.14, 1.4), (w * 0.9, 0.34, 0.65), p.tile('wood'), Label.CABINET, bottom=True)
    n, metal = int(w / 0.55), p.plain(0.6, 0.8)
    for i in range(n):
        x = w * ((i + 0.5) / n - 0.5)
        rects += box((x, -0.3, 0.1), (w / n - 0.02, 0.02, 0.72), fronts, Label.CABINET)
        rects += box((x, -0.32, 0.72), (0.16, 0.02, 0.015), metal, Label.CABINET)
    rects += prism((0.3, 0.18, 0.9), 0.015, 0.25, metal, Label.CLUTTER, 6)
    tiles = rect([w / 2, 0.305, 0.9], [-w, 0, 0], [0, 0, 0.5], p.tile('wall'), Label.WALL)
    return Piece([*rects, tiles], w, 0.62, 2.05, ((-w / 2, -0.2, w / 2, 0.05, 0.9),))


def round_table(p: Painter) -> Piece:
    """A round top on one foot."""
    r, h = p.rng.uniform(0.4, 0.6), 0.74
    rects = prism((0, 0, 0), 0.25, 0.03, p.plain(), Label.TABLE, 12)
    rects += prism((0, 0, 0.03), 0.04, h - 0.06, p.plain(), Label.TABLE, 6)
    rects += prism((0, 0, h - 0.03), r, 0.03, p.tile('wood'), Label.TABLE, 16)
    s = r * 0.6
    return Piece(rects, 2 * r, 2 * r, h, ((-s, -s, s, s, h),), at_wall=False)


# ----------------------------------------------------------------- small things


def parcel(p: Painter) -> Piece:
    """A printed box."""
    w, d, h = p.rng.uniform([0.1, 0.08, 0.06], [0.3, 0.25, 0.3])
    faces = box((0, 0, 0), (w, d, h), p.plain(0.4, 0.8), Label.CLUTTER)
    faces = with_face(faces, 0, p.decal('picture', w, h))
    return Piece(with_face(faces, 4, p.decal('picture', w, d)), w, d, h)


def book_pile(p: Painter) -> Piece:
    """Books lying on each other."""
    rects, z = [], 0.0
    for _ in range(int(p.rng.integers(1, 5))):
        w, d, h = p.rng.uniform([0.18, 0.13, 0.015], [0.3, 0.22, 0.05])
        book = with_face(
            box((0, 0, 0), (w, d, h), p.plain(), Label.CLUTTER), 4, p.decal('picture', w, d)
        )
        rects += placed(book, standing(0, 0, z, p.rng.uniform(-0.5, 0.5)))
        z += h
    return Piece(rects, 0.3, 0.25, z)


def bottle(p: Painter) -> Piece:
    """A labelled bottle or mug."""
    r, h = p.rng.uniform([0.03, 0.09], [0.05, 0.28])
    sides = prism((0, 0, 0), r, h, p.plain(), Label.CLUTTER, 8)
    return Piece(with_face(sides, 1, p.decal('picture', 0.1, h)), 2 * r, 2 * r, h)


def papers(p: Painter) -> Piece:
    """Sheets lying about."""
    rects = []
    for k in range(int(p.rng.integers(1, 4))):
        sheet = rect(
            [-0.1, -0.14, 0],
            [0.2, 0, 0],
            [0, 0.28, 0],
            p.decal('picture', 0.2, 0.28),
            Label.CLUTTER,
        )
        dx, dy, yaw = p.rng.uniform([-0.06, -0.06, -1], [0.06, 0.06, 1])
        rects += placed([sheet], standing(dx, dy, 0.003 * (k + 1), yaw))
    return Piece(rects, 0.3, 0.35, 0.01)


FURNITURE: dict[str, dict[str, tuple[Maker, ...]]] = {
    'train': {
        'living': (sofa, table, shelf, dresser, chair, pot_plant, chair, floor_lamp),
        'bedroom': (bed, dresser, shelf, chair, pot_plant, floor_lamp),
        'dining': (table, chair, chair, dresser, shelf, pot_plant, chair),
        'corridor': (dresser, pot_plant),
    },
    'test': {
        'office': (desk, office_chair, desk, office_chair, bookcase, wardrobe, bush),
        'kitchen': (counter, round_table, wardrobe, armchair, bush),
        'lounge': (armchair, round_table, armchair, bookcase, bush, daybed),
        'study': (daybed, desk, office_chair, bookcase, wardrobe),
        'corridor': (bookcase, bush, wardrobe),
    },
}
CLUTTER: dict[str, tuple[Maker, ...]] = {'train': (parcel, book_pile), 'test': (bottle, papers)}
