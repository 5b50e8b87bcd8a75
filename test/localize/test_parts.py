"""Which parts of a map are looked in."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vloc_models.geometry import se3
from vloc_models.localize.part import Part
from vloc_models.localize.parts import Parts
from vloc_models.maps import SubMap
from vloc_models.solvers.retrieval import Nearest

NAMES = ('hall', 'kitchen', 'attic')
SUBMAP = np.array([2, 0, 0, 0, 1])  # of the index's pictures
SEEING: Any = [SimpleNamespace(spots=SimpleNamespace(features=None, sure=None))]


class Index:
    """As PlaceIndex: of the attic is the picture that looks most like it, of the hall are most."""

    submap, T_map_cam = SUBMAP, np.stack([se3.exp([9.0 * n, 0, 0, 0, 0, 0]) for n in SUBMAP])
    asked = 0

    def describe(self, features: object, sure: object) -> object:
        return None

    def nearest(self, described: object, most: int) -> Nearest:
        self.asked += 1
        return Nearest(np.arange(5), np.array([0.9, 0.8, 0.8, 0.8, 0.1], np.float32))


@pytest.fixture
def index() -> Any:
    return Index()


@pytest.fixture
def parts(index: Any) -> Parts:
    return Parts(tuple(Part(SubMap(name, (0.0, 0.0, 0.0))) for name in NAMES), index, NAMES)


def names(found: Any) -> list[str]:
    return [part.submap.name for part in found]


def test_where_most_and_where_the_best_of_the_pictures_were_taken(parts: Parts) -> None:
    assert names(parts.likely(SEEING, None, most=1, share=0.1)) == ['hall', 'attic']
    assert names(parts.likely(SEEING, None, most=2, share=0.1)) == ['hall', 'attic']
    assert names(parts.likely(SEEING, None, most=3, share=0.0)) == ['hall', 'attic', 'kitchen']


def test_where_the_prior_is_comes_first_and_costs_no_comparison(parts: Parts, index: Any) -> None:
    at_kitchen = se3.exp([9.5, 0, 0, 0, 0, 0])
    likely = parts.likely(SEEING, at_kitchen, most=1, share=0.1)
    assert next(likely).submap.name == 'kitchen'
    assert index.asked == 0
    assert names(likely) == ['hall', 'attic']


def test_where_none_that_is_likely_can_be_used_all_are_looked_in(parts: Parts, index: Any) -> None:
    only = Parts(parts.usable[1:2] * 2, index, NAMES)
    assert names(only.likely(SEEING, None, most=1, share=0.1)) == ['kitchen', 'kitchen']
