"""Furniture of the test worlds: nothing here stands in a training world."""

import numpy as np

from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.materials import Painter
from vloc_models.frames.synthetic.pieces import Piece, foliage
from vloc_models.frames.synthetic.surfaces import box, placed, prism, rect, standing, with_face
from vloc_models.geometry import se3


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
        rects += foliage(p, (x, 0, 0.3), 14, h)
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
