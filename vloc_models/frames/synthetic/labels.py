"""The fifteen semantic classes of the synthetic world."""

from enum import IntEnum

VOID = 255  # no surface was hit


class Label(IntEnum):
    """Values of ``View.labels``."""

    WALL = 0
    FLOOR = 1
    CEILING = 2
    DOOR = 3
    WINDOW = 4
    TABLE = 5
    CHAIR = 6
    SOFA = 7
    CABINET = 8
    BED = 9
    PLANT = 10
    PICTURE = 11
    LAMP = 12
    SCREEN = 13
    CLUTTER = 14
