"""The compressedDepth format of compressed_depth_image_transport, read and written.

Twelve bytes (an enum and the two quantisation parameters A, B as float32, little-endian), then a
16 bit png, or RVL (Wilson, "Fast Lossless Depth Image Compression", 2017) after its size. 16UC1
holds millimetres; 32FC1 holds inverse depth: ``depth = A / (value - B)``.
"""

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError

FORMAT = '16UC1; compressedDepth png'
_HEADER = struct.Struct('<iff')
_FIX = 'the message is damaged: check the driver, or record again'
_MAX_PIXELS = 1 << 26


def metres(values: NDArray[Any]) -> NDArray[np.float32]:
    """Depth [H, W] in metres of integers (millimetres) or floats (metres); NaN where unknown."""
    if values.dtype.kind == 'u':
        depth = values.astype(np.float32) * np.float32(0.001)
    else:
        depth = np.array(values, np.float32)
        depth[~np.isfinite(depth)] = 0
    depth[depth <= 0] = np.nan
    return depth


def decode(data: NDArray[np.uint8], words: str) -> NDArray[np.float32]:
    """Depth [H, W] in metres, NaN where unknown.

    Args:
        data: the message's data.
        words: the message's format, e.g. "16UC1; compressedDepth png".

    Raises:
        BagError: if the data are not what the format says.
    """
    if len(data) <= _HEADER.size:
        raise BagError(f'compressedDepth of {len(data)} bytes holds no image', _FIX)
    _, a, b = _HEADER.unpack(data[: _HEADER.size].tobytes())
    body = data[_HEADER.size :]
    values = _decode_rvl(body) if 'rvl' in words.lower() else _decode_png(body, words)
    if '32fc1' not in words.lower():
        return metres(values)
    if values.dtype != np.uint16:  # written as an uncompressed float image
        return metres(values)
    with np.errstate(divide='ignore', over='ignore', invalid='ignore'):
        depth = np.float32(a) / (values.astype(np.float32) - np.float32(b))
    depth[values == 0] = np.nan
    return metres(depth)


def encode(depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The data of a 16UC1 png message: whole millimetres, 0 where unknown or beyond 65.535 m."""
    mm = np.rint(np.nan_to_num(depth.astype(np.float64) * 1000, nan=0, posinf=0, neginf=0))
    mm[(mm < 0) | (mm > 65535)] = 0
    png = cv2.imencode('.png', mm.astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    return np.concatenate([np.frombuffer(_HEADER.pack(0, 0, 0), np.uint8), png.ravel()])


def _decode_png(body: NDArray[np.uint8], words: str) -> NDArray[Any]:
    try:
        values = cv2.imdecode(body, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None or values.ndim != 2 or values.dtype not in (np.uint16, np.float32):
        raise BagError(f'format {words!r}, but no 16 bit png follows the header', _FIX)
    return values


def _decode_rvl(body: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Runs of zeros and of differences, in variable-length groups of 3 bits."""
    if len(body) < 8:
        raise BagError('the rvl image has no size', _FIX)
    width, height = struct.unpack('<II', body[:8].tobytes())
    if not 0 < width * height <= _MAX_PIXELS:
        raise BagError(f'the rvl image says it is {width}x{height}', _FIX)
    numbers, total = _rvl_numbers(body[8:]), width * height
    pixel, at = 0, 0
    runs: list[tuple[int, int, int]] = []  # first pixel, first number, how many
    while pixel < total:
        zeros, count = (int(n) for n in numbers[at : at + 2]) if at + 1 < len(numbers) else (0, 0)
        at, pixel = at + 2, pixel + zeros
        if zeros + count == 0 or pixel + count > total or at + count > len(numbers):
            raise BagError(f'the rvl image breaks off at pixel {pixel} of {total}', _FIX)
        runs.append((pixel, at, count))
        at, pixel = at + count, pixel + count
    steps = np.concatenate([numbers[at : at + count] for _, at, count in runs])
    values = (np.cumsum((steps >> 1) ^ -(steps & 1)) & 0xFFFF).astype(np.uint16)
    depth, done = np.zeros(total, np.uint16), 0
    for pixel, _, count in runs:
        depth[pixel : pixel + count] = values[done : done + count]
        done += count
    return depth.reshape(height, width)


def _rvl_numbers(body: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The variable-length numbers: 3 bits at a time, low first, and a bit that says: more."""
    words = np.frombuffer(body[: len(body) // 4 * 4].tobytes(), '<u4')
    nibbles = (words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32) & 15).ravel()
    ends = np.flatnonzero(nibbles < 8)
    if not len(ends):
        return np.zeros(0, np.int64)
    nibbles = nibbles[: ends[-1] + 1].astype(np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(nibbles)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 10:
        raise BagError('the rvl image holds a number of more than 32 bits', _FIX)
    return np.add.reduceat((nibbles & 7) << (3 * place), starts)
