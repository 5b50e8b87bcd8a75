"""Large places become parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vloc_models.errors import VlocError
from vloc_models.mapping.split import SplitConfig, split
from vloc_models.records import Array


def drive(length_m: float, count: int = 400, z: float = 0.5) -> Array:
    x = np.linspace(0, length_m, count)
    return np.stack([x, np.sin(x), np.full(count, z)], 1)


def test_a_small_place_is_one_part() -> None:
    (part,) = split(drive(10), SplitConfig())
    np.testing.assert_array_equal(part.own, np.arange(400))
    np.testing.assert_array_equal(part.members, np.arange(400))
    assert part.floor == ''


def test_every_picture_belongs_to_one_part_and_those_at_borders_to_two() -> None:
    centres = drive(40)
    parts = split(centres, SplitConfig(max_m=12))
    assert len(parts) == 4
    np.testing.assert_array_equal(np.sort(np.concatenate([p.own for p in parts])), np.arange(400))
    for part in parts:
        assert np.ptp(centres[part.own, 0]) <= 12
        more = np.setdiff1d(part.members, part.own)
        assert len(more) == round(0.2 * len(part.own))
        low, high = centres[part.own, 0].min(), centres[part.own, 0].max()
        out = np.maximum(low - centres[more, 0], centres[more, 0] - high)
        assert out.max() < 3  # metres beyond


def test_floors_are_parts_of_their_own() -> None:
    parts = split(np.concatenate([drive(10, z=3.6), drive(10, z=0.5)]), SplitConfig())
    assert [p.floor for p in parts] == ['0', '1']
    assert parts[0].own.min() == 400


def test_without_overlap_parts_are_apart() -> None:
    for part in split(drive(40), SplitConfig(max_m=12, overlap=0)):
        np.testing.assert_array_equal(part.own, part.members)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 300), size_m=st.floats(0.5, 50))
@settings(max_examples=30, deadline=None)
def test_parts_of_any_drive(seed: int, count: int, size_m: float) -> None:
    centres = np.random.default_rng(seed).normal(0, [9, 9, 3], (count, 3))
    config = SplitConfig(size_m)
    parts = split(centres, config)
    assert sorted(np.concatenate([p.own for p in parts]).tolist()) == list(range(count))
    assert all(len(p.own) >= min(count, 20) for p in parts)
    again = split(centres, config)
    for a, b in zip(parts, again, strict=True):
        np.testing.assert_array_equal(a.members, b.members)


def test_senseless_sizes() -> None:
    with pytest.raises(VlocError, match='sub-maps of 0 m'):
        SplitConfig(max_m=0)
    with pytest.raises(VlocError, match='200% in common'):
        SplitConfig(overlap=2)
