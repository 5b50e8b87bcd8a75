"""Relative errors of depth, each pixel once."""

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.metrics.depth import DepthScore


def test_over_all_pictures() -> None:
    score = DepthScore()
    score.add(np.array([[1.0, 2.2], [np.nan, 5.0]]), np.array([[1.0, 2.0], [3.0, np.nan]]))
    score.add(np.array([[1.7, 4.0]]), np.array([[2.0, 0.0]]))
    assert (score.pixels, score.compared, score.close) == (4, 3, 1)
    assert score.abs_rel == pytest.approx((0 + 0.1 + 0.15) / 3)
    assert score.share == pytest.approx(3 / 4)
    assert score.within_5_percent == pytest.approx(1 / 3)


def test_nothing_to_compare() -> None:
    score = DepthScore()
    assert score.abs_rel is score.share is score.within_5_percent is None
    score.add(np.full((2, 2), np.nan), np.ones((2, 2)))
    assert score.share == 0
    assert score.abs_rel is None


def test_of_one_size() -> None:
    with pytest.raises(VlocError, match='truth has shape'):
        DepthScore().add(np.ones((2, 2)), np.ones((2, 3)))
