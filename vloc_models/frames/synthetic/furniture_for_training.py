"""Furniture of the training worlds: each piece is made by a function of a painter."""

import numpy as np

from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.materials import Painter
from vloc_models.frames.synthetic.pieces import Piece, Top, foliage, legs
from vloc_models.frames.synthetic.surfaces import box, placed, prism, rect, standing, with_face


def table(p: Painter) -> Piece:
    """Four legs and a top."""
    w, d, h = p.rng.uniform([1.1, 0.7, 0.70], [1.8, 0.95, 0.78])
    top = box((0, 0, h - 0.04), (w, d, 0.04), p.tile('wood'), Label.TABLE, bottom=True)
    rects = legs(w, d, h - 0.04, p, Label.TABLE, 0.06) + top
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
    rects = legs(0.42, 0.42, h, p, Label.CHAIR, 0.035)
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
    return Piece(rects + foliage(p, (0, 0, h), 34, 0.45), 0.5, 0.5, h + 0.4)


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
