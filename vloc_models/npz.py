"""Arrays in a file that may come from a stranger: npz without pickle, bounded before allocation.

Members are stored, not compressed: a file can then never unfold into more than its own size, and
the same arrays give the same bytes whatever zlib is installed.
"""

import io
import math
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import MapError

MAX_ARRAYS = 64  # in one npz
MAX_AXES = 8

_FIX = 'copy the map again, or build it again with "vloc map"'


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An npz of plain arrays, uncompressed; the same arrays always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, value in sorted(arrays.items()):
            assert value.dtype.kind in 'biuf', f'{name}: {value.dtype} cannot be in a map'
            array = np.asarray(value, value.dtype.newbyteorder('<'), order='C')
            body = io.BytesIO()
            np.lib.format.write_array(body, array, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f'{name}.npy'), body.getvalue())  # dated 1980
    return buffer.getvalue()


def unpack(raw: bytes, where: str) -> dict[str, NDArray[Any]]:
    """The arrays of ``pack``; never allocates more than the file itself holds.

    Raises:
        MapError: if it is no npz, or not one that ``pack`` could have written.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
            _check_members(members, len(raw), where)
            return {m.filename[:-4]: _parse_npy(archive.read(m), where) for m in members}
    except MapError:
        raise
    except Exception as e:  # any bytes may come, and so may any exception of zipfile and numpy
        raise MapError(f'{where}: not a readable npz: {e}', _FIX) from e


def _check_members(members: list[zipfile.ZipInfo], size: int, where: str) -> None:
    names = {m.filename for m in members}
    if len(members) > MAX_ARRAYS or len(names) != len(members):
        raise MapError(f'{where}: {len(members)} arrays, {len(names)} names', _FIX)
    for m in members:
        if not re.fullmatch(r'\w+\.npy', m.filename, re.ASCII):
            raise MapError(f'{where}: array name {m.filename!r} is not allowed', _FIX)
        if m.compress_type != zipfile.ZIP_STORED or m.compress_size != m.file_size:
            raise MapError(f'{where}: {m.filename} is compressed', _FIX)
    if sum(m.file_size for m in members) > size:
        raise MapError(f'{where}: arrays of more bytes than the file has', _FIX)


def _parse_npy(body: bytes, where: str) -> NDArray[Any]:
    """One array; its header is believed only as far as the bytes behind it go."""
    head = io.BytesIO(body)
    version = np.lib.format.read_magic(head)
    if version != (1, 0):
        raise MapError(f'{where}: npy version {version}', _FIX)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(head)
    if dtype.kind not in 'biuf':
        raise MapError(f'{where}: holds {dtype}, not plain numbers', _FIX)
    if len(shape) > MAX_AXES or min(shape, default=0) < 0:
        raise MapError(f'{where}: shape {shape} is not allowed', _FIX)
    if math.prod(shape) * dtype.itemsize != len(body) - head.tell():
        raise MapError(f'{where}: shape {shape} of {dtype} does not fit its bytes', _FIX)
    array = np.ndarray(shape, dtype, body, head.tell(), order='F' if fortran else 'C').copy()
    if dtype.kind == 'b' and (array.view(np.uint8) > 1).any():  # numpy relies on 0 and 1
        raise MapError(f'{where}: truth values other than 0 and 1', _FIX)
    return array
