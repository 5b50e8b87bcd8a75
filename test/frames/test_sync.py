"""Stamps joined to moments, and messages collected for them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vloc_models.frames.sync import Assembler, match, plan, rising

STAMPS = st.lists(st.integers(0, 200), max_size=30, unique=True).map(
    lambda s: np.array(sorted(s), np.int64)
)


@given(st.lists(st.integers(0, 50), max_size=80))
def test_rising_keeps_order_and_counts(stamps: list[int]) -> None:
    kept, duplicates, backward = rising(stamps)
    assert (np.diff(kept) > 0).all()
    assert len(kept) + duplicates + backward == len(stamps)
    assert set(kept.tolist()) <= set(stamps)


@given(st.permutations(range(16)))
def test_rising_sorts_small_disorder(stamps: list[int]) -> None:
    assert rising(stamps)[0].tolist() == list(range(16))


@given(STAMPS, STAMPS, st.integers(0, 20))
def test_match_is_one_to_one_and_near(a: np.ndarray, b: np.ndarray, within: int) -> None:
    partner = match(a, b, within)
    used = partner[partner >= 0]
    assert len(set(used.tolist())) == len(used)
    for stamp, j in zip(a, partner, strict=True):
        if j >= 0:
            assert abs(b[j] - stamp) <= within
            assert abs(b[j] - stamp) == np.abs(b - stamp).min()
        elif len(b):  # no free partner that is nearest both ways
            k = int(np.abs(b - stamp).argmin())
            assert abs(b[k] - stamp) > within or np.abs(a - b[k]).min() <= abs(b[k] - stamp)


@given(STAMPS, STAMPS, STAMPS, STAMPS, st.integers(0, 20))
def test_plan_loses_no_first_camera_image(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, depth: np.ndarray, within: int
) -> None:
    none = np.zeros(0, np.int64)
    moments = plan([a, b, c], [depth, none, none], [none, none, none], within)
    stamps = [m.stamp_ns for m in moments]
    assert stamps == sorted(set(stamps))
    assert [m.images[0] for m in moments if m.images[0] is not None] == a.tolist()
    for k, expected in ((1, b), (2, c)):
        seen = [m.images[k] for m in moments if m.images[k] is not None]
        assert len(seen) == len(set(seen))
        assert set(seen) <= set(expected.tolist())
    for m in moments:
        assert m.stamp_ns in m.images
        assert all(abs(s - m.stamp_ns) <= 2 * within for s in m.images if s is not None)


@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_assembler_gives_moments_in_order(random: object, n: int) -> None:
    wanted = [{('a', i), ('b', i)} for i in range(n)]
    messages = [key for keys in wanted for key in sorted(keys)]
    random.shuffle(messages)  # type: ignore[attr-defined]
    assembler, out = Assembler(wanted), []
    for topic, stamp in messages:
        out += list(assembler.add(topic, stamp, b'x'))
        out += list(assembler.add('c', stamp, b'unwanted'))
        out += list(assembler.add(topic, stamp, b'twice'))
    out += list(assembler.flush())
    assert [number for number, _ in out] == list(range(n))
    assert all(parts == {'a': b'x', 'b': b'x'} for _, parts in out)
    assert assembler.given_up == 0
    assert assembler._bytes == 0


def test_assembler_gives_up_on_a_lost_partner() -> None:
    wanted = [{('a', i), ('b', i)} for i in range(100)]
    assembler, big = Assembler(wanted), bytes(10 << 20)
    out = [x for i in range(100) for x in assembler.add('a', i, big)]
    assert 70 <= len(out) < 100  # 256 MiB are held at most
    out += list(assembler.flush())
    assert len(out) == 100
    assert assembler.given_up == 100
