import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_models.errors import VlocError
from vloc_models.mapping.held_out import HeldOutConfig, held_out


@given(st.integers(40, 3000), st.integers(1, 4), st.floats(0.02, 0.3), st.floats(0, 0.03))
def test_blocks_have_gaps_around_them(count: int, blocks: int, share: float, gap: float) -> None:
    config = HeldOutConfig(blocks, share, gap)
    learned, asked = held_out(count, config)
    assert len(learned) == len(asked) == count
    assert not (learned & asked).any()
    assert learned[0]
    assert learned[-1]
    edges = np.diff(asked.astype(int))
    assert (edges == 1).sum() == (edges == -1).sum() == blocks
    assert abs(asked.sum() - count * share) <= blocks + 1
    distance = np.abs(np.flatnonzero(learned)[:, None] - np.flatnonzero(asked)).min()
    assert distance > max(1, round(count * gap))


def test_blocks_are_spread_over_the_recording() -> None:
    _, asked = held_out(300, HeldOutConfig(3, 0.1, 0.01))
    starts = np.flatnonzero(np.diff(asked.astype(int)) == 1) + 1
    assert starts.tolist() == [45, 145, 245]
    assert asked.sum() == 30


@pytest.mark.parametrize(
    'config',
    [
        HeldOutConfig(blocks=0),
        HeldOutConfig(blocks=-1),
        HeldOutConfig(share=0),
        HeldOutConfig(share=float('nan')),
        HeldOutConfig(gap=-0.1),
        HeldOutConfig(share=1),
        HeldOutConfig(gap=0.5),
        HeldOutConfig(blocks=1000),
    ],
)
def test_nothing_to_learn_from_is_named(config: HeldOutConfig) -> None:
    with pytest.raises(VlocError, match='held out'):
        held_out(100, config)
