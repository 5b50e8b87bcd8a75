from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.records import Trajectory
from vloc_models.tum import read_tum, write_tum

POSE = '1 2 3 0 0 0 1'


def write(folder: Path, text: str) -> Path:
    path = folder / 'track.tum'
    path.write_text(text)
    return path


@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=5), st.integers(0, 2**32))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, stamps: list[int], seed: int
) -> None:
    """Stamps to the nanosecond, over all that 64 bits hold; poses to 1e-8."""
    path = tmp_path_factory.getbasetemp() / 'round.tum'
    twists = np.random.default_rng(seed).normal(size=(len(stamps), 6)) * 5
    before = Trajectory.of(sorted(stamps), [se3.exp(xi) for xi in twists])
    write_tum(path, before)
    after = read_tum(path)
    assert after.stamps_ns.tolist() == before.stamps_ns.tolist()
    np.testing.assert_allclose(after.T_map_body, before.T_map_body, atol=1e-8)


def test_lines(tmp_path: Path) -> None:
    write_tum(tmp_path / 'a', Trajectory.of([1_700_000_000_000_000_001], [np.eye(4)]))
    line = (tmp_path / 'a').read_text().splitlines()[1]
    assert line.startswith('1700000000.000000001 0.000000000 ')
    assert line.endswith(' 1.000000000')


def test_what_may_stand_in_a_file(tmp_path: Path) -> None:
    text = f"""# a comment

    1.5e9 {POSE}
    1500000000.000000001\t1,2,3,0,0,0,1  # another
    1500000001 1e0 +2.0 .3e1 0 0 0 -1\r
    """
    track = read_tum(write(tmp_path, text))
    first = 1_500_000_000 * 10**9
    assert track.stamps_ns.tolist() == [first, first + 1, first + 10**9]
    for T in track.T_map_body:
        np.testing.assert_allclose(T, se3.transform(np.eye(3), [1, 2, 3]))
    assert track.accepted.all()


def test_empty(tmp_path: Path) -> None:
    assert len(read_tum(write(tmp_path, '# nothing\n'))) == 0


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('1 2 3', '3 numbers, not 8'),
        (f'1 {POSE} 9', '9 numbers, not 8'),
        ('1 2 3 x 0 0 0 1', 'is not numbers'),
        (f'1_0 {POSE}', 'is not numbers'),
        (f'one {POSE}', 'is not numbers'),
        ('1 nan 2 3 0 0 0 1', 'NaN'),
        ('1 1 2 3 0 0 0 inf', 'NaN or infinity'),
        (f'nan {POSE}', 'no time in seconds'),
        (f'1e999999999 {POSE}', 'no time in seconds'),
        (f'1700000000123456789 {POSE}', 'no time in seconds'),  # nanoseconds
        ('1 1 2 3 0 0 0 0', 'unit length'),
        ('1 1 2 3 1 1 1 1', 'unit length'),
        (f'0.5 {POSE}', 'does not rise'),
        (f'0.25 {POSE}', 'does not rise'),
    ],
)
def test_errors_name_the_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(VlocError, match=rf'track\.tum:4: .*{words}'):
        read_tum(write(tmp_path, f'# c\n0.5 {POSE}\n\n{line}\n7 {POSE}\n'))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(VlocError, match='No such file'):
        read_tum(tmp_path / 'no.tum')
    (tmp_path / 'binary').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(VlocError, match='not text'):
        read_tum(tmp_path / 'binary')
    with pytest.raises(VlocError, match='No such file'):
        write_tum(tmp_path / 'no' / 'x.tum', Trajectory.of([], []))


@given(st.binary(max_size=60) | st.text('0123456789.e-+ \n#,naif').map(str.encode))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / 'fuzz.tum'
    path.write_bytes(raw)
    with suppress(VlocError):
        read_tum(path)
