"""Arrays from a stranger: an npz is arrays or a MapError, and never more than its own bytes."""

import io
import zipfile
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_models import npz
from vloc_models.errors import MapError


@pytest.mark.parametrize(
    'array',
    [
        np.array(3, np.float32),
        np.zeros((0, 3), np.float16),
        np.arange(6, dtype='>i4').reshape(2, 3).T,
        np.array([True, False]),
        np.zeros((2, 0, 5), np.int64),
        np.array([np.nan, np.inf, -0.0]),
    ],
)
def test_arrays(array: np.ndarray) -> None:
    got = npz.unpack(npz.pack({'a': array}), 'x.npz')['a']
    np.testing.assert_array_equal(got, array)
    assert got.shape == array.shape
    assert got.flags.writeable
    with np.load(io.BytesIO(npz.pack({'a': array})), allow_pickle=False) as theirs:
        np.testing.assert_array_equal(theirs['a'], array)


def test_same_arrays_same_bytes() -> None:
    a, b = np.arange(4.0).reshape(2, 2), np.eye(3)
    assert npz.pack({'a': a, 'b': b}) == npz.pack({'b': b, 'a': a})
    assert npz.pack({'a': a.astype('>f8')}) == npz.pack({'a': np.asfortranarray(a)})


def test_objects_are_not_packed() -> None:
    with pytest.raises(AssertionError, match='cannot be in a map'):
        npz.pack({'a': np.array([{}])})


def npy(shape: object, descr: object = '<f4', body: bytes = b'', version: int = 1) -> bytes:
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b' ' * (-(len(header) + 11) % 64) + b'\n'
    return b'\x93NUMPY' + bytes([version, 0]) + len(header).to_bytes(2, 'little') + header + body


def archive(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', method) as z:
        for name, body in members:
            z.writestr(zipfile.ZipInfo(name), body, method)
    return buffer.getvalue()


FOUR = npy('(1,)', body=b'\0' * 4)


def broken_crc() -> bytes:
    raw = archive([('a.npy', npy('(4,)', body=b'payload-payload-'))])
    return raw.replace(b'payload-payload-', b'payload-PAYLOAD-', 1)


def overlapping() -> bytes:
    """Two names in the directory for the bytes of one: quine bombs are made of this."""
    body = npy('(1000,)', body=b'\0' * 4000)
    raw = archive([('a.npy', body), ('b.npy', b'')])
    end = zipfile.ZipFile(io.BytesIO(raw)).start_dir
    first = raw[end : end + 46 + 5]
    second = first[:46] + b'b.npy'
    tail = bytearray(raw[-22:])
    tail[12:16] = (2 * len(first)).to_bytes(4, 'little')
    return raw[:end] + first + second + bytes(tail)


@pytest.mark.parametrize(
    ('raw', 'words'),
    [
        (archive([('a.npy', npy('(10**12,)'.replace('10**12', str(10**12))))]), 'does not fit'),
        (archive([('a.npy', npy(f'({2**62}, 4, 0)'))]), ''),
        (archive([('a.npy', npy('(-1,)'))]), 'not allowed'),
        (archive([('a.npy', npy('(-1, -1)', body=b'\0' * 4))]), 'not allowed'),
        (archive([('a.npy', npy('(1,) * 3'))]), 'not a readable npz'),
        (archive([('a.npy', npy('(' + '1,' * 40 + ')', body=b'\0' * 4))]), 'not allowed'),
        (archive([('a.npy', npy('(2,)', body=b'\0' * 4))]), 'does not fit'),
        (archive([('a.npy', npy('(1,)', '|O', b'\0' * 8))]), 'not plain numbers'),
        (archive([('a.npy', npy('(1,)', [('x', '<f4')], b'\0' * 4))]), 'not plain numbers'),
        (archive([('a.npy', npy('(1,)', '<U1', b'\0' * 4))]), 'not plain numbers'),
        (archive([('a.npy', npy('(2,)', '|b1', b'\1\2'))]), 'truth values'),
        (archive([('a.npy', npy('(1,)', body=b'\0' * 4, version=3))]), 'npy version'),
        (archive([('a.npy', b'cos\nsystem\n(S"true"\ntR.')]), 'not a readable npz'),  # a pickle
        (archive([('a.npy', FOUR)], zipfile.ZIP_DEFLATED), 'is compressed'),
        (archive([('a.npy', npy('(250000,)', body=bytes(10**6)))], zipfile.ZIP_BZIP2), 'compress'),
        (archive([(f'a{k}.npy', FOUR) for k in range(65)]), '65 arrays'),
        (archive([('../a.npy', FOUR)]), 'not allowed'),
        (archive([('a.pkl', FOUR)]), 'not allowed'),
        (broken_crc(), 'not a readable npz: Bad CRC'),
        (overlapping(), 'more bytes than the file'),
        (archive([('a.npy', FOUR)])[:-30], 'not a readable npz'),
        (archive([('a.npy', FOUR)])[20:], ''),
        (b'', 'not a readable npz'),
    ],
)
def test_bad_npz(raw: bytes, words: str) -> None:
    with pytest.raises(MapError, match=rf'index\.npz: .*{words}') as e:
        npz.unpack(raw, 'site/index.npz')
    assert '\n' not in str(e.value)


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_two_arrays_of_one_name() -> None:
    with pytest.raises(MapError, match='2 arrays, 1 names'):
        npz.unpack(archive([('a.npy', FOUR), ('a.npy', FOUR)]), 'x.npz')


@given(st.data())
def test_any_npz_is_arrays_or_a_map_error(damaged: Any, data: st.DataObject) -> None:
    raw = data.draw(damaged(npz.pack({'a': np.arange(6.0).reshape(2, 3), 'b': np.zeros(3, bool)})))
    try:
        arrays = npz.unpack(raw, 'x.npz')
    except MapError:
        return
    assert sum(a.nbytes for a in arrays.values()) <= len(raw)


@given(st.data())
def test_any_npy_header_is_arrays_or_a_map_error(damaged: Any, data: st.DataObject) -> None:
    """Mutations behind the checksum of the zip."""
    raw = data.draw(damaged(npy('(2, 3)', '<f8', bytes(48))))
    with suppress(MapError):
        npz.unpack(archive([('a.npy', raw)]), 'x.npz')
