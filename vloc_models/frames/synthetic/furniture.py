"""What stands in which room; training and test worlds share none of it."""

from collections.abc import Callable

from vloc_models.frames.synthetic import furniture_for_testing as test
from vloc_models.frames.synthetic import furniture_for_training as train
from vloc_models.frames.synthetic.materials import Painter
from vloc_models.frames.synthetic.pieces import Piece

Maker = Callable[[Painter], Piece]

FURNITURE: dict[str, dict[str, tuple[Maker, ...]]] = {
    'train': {
        'living': (
            train.sofa,
            train.table,
            train.shelf,
            train.dresser,
            train.chair,
            train.pot_plant,
            train.chair,
            train.floor_lamp,
        ),
        'bedroom': (
            train.bed,
            train.dresser,
            train.shelf,
            train.chair,
            train.pot_plant,
            train.floor_lamp,
        ),
        'dining': (
            train.table,
            train.chair,
            train.chair,
            train.dresser,
            train.shelf,
            train.pot_plant,
            train.chair,
        ),
        'corridor': (train.dresser, train.pot_plant),
    },
    'test': {
        'office': (
            test.desk,
            test.office_chair,
            test.desk,
            test.office_chair,
            test.bookcase,
            test.wardrobe,
            test.bush,
        ),
        'kitchen': (test.counter, test.round_table, test.wardrobe, test.armchair, test.bush),
        'lounge': (
            test.armchair,
            test.round_table,
            test.armchair,
            test.bookcase,
            test.bush,
            test.daybed,
        ),
        'study': (test.daybed, test.desk, test.office_chair, test.bookcase, test.wardrobe),
        'corridor': (test.bookcase, test.bush, test.wardrobe),
    },
}
CLUTTER: dict[str, tuple[Maker, ...]] = {
    'train': (train.parcel, train.book_pile),
    'test': (test.bottle, test.papers),
}
