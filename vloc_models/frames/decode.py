"""Message -> array, for bags and live topics alike: any object with the fields of the message.

A rosbags message holds numpy arrays, an rclpy one array.array or bytes: all give their buffer.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames import compressed_depth

# encoding -> (dtype of a sample, samples a pixel, rows of data a picture row x 2, OpenCV code)
_PICTURES: dict[str, tuple[str, int, int, int | None]] = {
    'rgb8': ('u1', 3, 2, None),
    'bgr8': ('u1', 3, 2, cv2.COLOR_BGR2RGB),
    'rgba8': ('u1', 4, 2, cv2.COLOR_RGBA2RGB),
    'bgra8': ('u1', 4, 2, cv2.COLOR_BGRA2RGB),
    'mono8': ('u1', 1, 2, cv2.COLOR_GRAY2RGB),
    'mono16': ('u2', 1, 2, cv2.COLOR_GRAY2RGB),
    'rgb16': ('u2', 3, 2, None),
    'bgr16': ('u2', 3, 2, cv2.COLOR_BGR2RGB),
    '8uc1': ('u1', 1, 2, cv2.COLOR_GRAY2RGB),
    '8uc3': ('u1', 3, 2, cv2.COLOR_BGR2RGB),  # OpenCV's order, as cv_bridge leaves it
    '8uc4': ('u1', 4, 2, cv2.COLOR_BGRA2RGB),
    # OpenCV names a Bayer pattern by its second row and column, ROS by its first
    'bayer_rggb8': ('u1', 1, 2, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': ('u1', 1, 2, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': ('u1', 1, 2, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': ('u1', 1, 2, cv2.COLOR_BayerGB2RGB),
    'bayer_rggb16': ('u2', 1, 2, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr16': ('u2', 1, 2, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg16': ('u2', 1, 2, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg16': ('u2', 1, 2, cv2.COLOR_BayerGB2RGB),
    'yuv422': ('u1', 2, 2, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': ('u1', 2, 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': ('u1', 2, 2, cv2.COLOR_YUV2RGB_YUY2),
    'yuyv': ('u1', 2, 2, cv2.COLOR_YUV2RGB_YUY2),
    'nv12': ('u1', 1, 3, cv2.COLOR_YUV2RGB_NV12),
    'nv21': ('u1', 1, 3, cv2.COLOR_YUV2RGB_NV21),
}
_DEPTHS: dict[str, str] = {'16uc1': 'u2', 'mono16': 'u2', '32fc1': 'f4'}
_COLOR_RGB: int | None = getattr(cv2, 'IMREAD_COLOR_RGB', None)  # OpenCV 4.11 and later
_FIX_ENCODING = f'publish one of {", ".join(_PICTURES)}, or a CompressedImage of jpeg or png'
_FIX_DEPTH = 'publish depth as 16UC1 (mm) or 32FC1 (m), raw, as compressedDepth or as a 16 bit png'
_FIX_DATA = 'the message is damaged: check the driver, or record again'
Message = Any  # a sensor_msgs Image or CompressedImage of rosbags, rclpy, or like them


def decode_image(msg: Message) -> NDArray[np.uint8]:
    """The picture of a sensor_msgs Image or CompressedImage as RGB [H, W, 3].

    Pictures of 16 bits lose the lower 8; grey ones have three equal channels; alpha is dropped.

    Raises:
        BagError: for an encoding that is not supported, or data that do not fit it.
    """
    if is_compressed(msg):
        return _decode_file(msg)
    encoding = str(msg.encoding).lower()
    if encoding not in _PICTURES:
        hint = 'it holds depth: name it as a depth topic' if encoding in _DEPTHS else _FIX_ENCODING
        raise BagError(f'image encoding {msg.encoding!r} is not supported for a picture', hint)
    dtype, samples, rows_x2, code = _PICTURES[encoding]
    pixels = _rows(msg, dtype, samples, rows_x2)
    if dtype == 'u2':
        pixels = (pixels >> 8).astype(np.uint8)
    if code is None:
        return np.array(pixels, np.uint8, order='C')
    try:
        return cv2.cvtColor(np.ascontiguousarray(pixels), code).astype(np.uint8, copy=False)
    except cv2.error as e:
        raise BagError(f'image {_size(msg)} cannot be read as {encoding}: {e}', _FIX_DATA) from e


def decode_depth(msg: Message) -> NDArray[np.float32]:
    """The depth of an Image or CompressedImage (compressedDepth, or a 16 bit png) [H, W].

    Metres along the optical axis, NaN where unknown (0 or not finite in the message).

    Raises:
        BagError: for an encoding that is not supported, or data that do not fit it.
    """
    if not is_compressed(msg):
        dtype = _DEPTHS.get(str(msg.encoding).lower())
        if dtype is None:
            raise BagError(f'image encoding {msg.encoding!r} is not a depth encoding', _FIX_DEPTH)
        return compressed_depth.metres(_rows(msg, dtype, 1, 2))
    data = _buffer(msg.data)
    if 'compresseddepth' in str(msg.format).lower():
        return compressed_depth.decode(data, str(msg.format))
    values = _imdecode(data, cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype not in (np.uint16, np.float32):
        raise BagError(f'depth of format {msg.format!r} is not a 16 bit png', _FIX_DEPTH)
    return compressed_depth.metres(values)


def decode_labels(msg: Message) -> NDArray[np.uint8]:
    """The semantic classes [H, W] of a mono8 or 8UC1 Image, or of a grey png.

    Raises:
        BagError: for any other encoding.
    """
    fix = 'publish labels as mono8, raw or as a png'
    if not is_compressed(msg):
        if str(msg.encoding).lower() not in ('mono8', '8uc1'):
            raise BagError(f'image encoding {msg.encoding!r} does not hold labels', fix)
        return np.array(_rows(msg, 'u1', 1, 2), np.uint8)
    values = _imdecode(_buffer(msg.data), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype != np.uint8:
        raise BagError(f'labels of format {msg.format!r} are not a grey 8 bit png', fix)
    return values


def is_compressed(msg: Message) -> bool:
    """Whether this is a CompressedImage (it has a format), not an Image (an encoding)."""
    return not hasattr(msg, 'encoding')


def _size(msg: Message) -> str:
    return f'{msg.width}x{msg.height}'


def _buffer(data: Any) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError) as e:
        raise BagError(f'the image data are no bytes: {e}', _FIX_DATA) from e


def _rows(msg: Message, dtype: str, samples: int, rows_x2: int) -> NDArray[Any]:
    """The samples [rows, W] or [rows, W, samples] of an Image, freed of row padding."""
    kind = np.dtype(dtype).newbyteorder('>' if msg.is_bigendian else '<')
    width, height = int(msg.width), int(msg.height)
    row = width * samples * kind.itemsize
    step, rows = int(msg.step) or row, height * rows_x2 // 2
    data = _buffer(msg.data)
    if width < 1 or height < 1:
        raise BagError(f'the image is empty ({_size(msg)})', _FIX_DATA)
    if step < row or len(data) < step * rows:
        raise BagError(
            f'image {_size(msg)} {msg.encoding}: {len(data)} bytes with a step of {step}, '
            f'but {rows} rows of at least {row} are needed',
            _FIX_DATA,
        )
    lines = np.ndarray((rows, row), np.uint8, data, strides=(step, 1))
    pixels = np.ascontiguousarray(lines).view(kind).astype(kind.newbyteorder('='), copy=False)
    return pixels if samples == 1 else pixels.reshape(rows, width, samples)


def _decode_file(msg: Message) -> NDArray[np.uint8]:
    """The picture of a jpeg or png (or another file OpenCV knows)."""
    data, words = _buffer(msg.data), str(msg.format).lower()
    if 'compresseddepth' in words:
        raise BagError(f'format {msg.format!r} holds depth', 'name it as a depth topic')
    if data[:2].tobytes() == b'\xff\xd8' and b'\xff\xd9' not in _tail(data):
        raise BagError(f'the jpeg is cut off after {len(data)} bytes', _FIX_DATA)
    flags = cv2.IMREAD_COLOR if _COLOR_RGB is None else _COLOR_RGB
    picture = _imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None or picture.ndim != 3 or picture.dtype != np.uint8:
        start = data[:4].tobytes().hex(' ')
        raise BagError(
            f'compressed image of format {msg.format!r} ({len(data)} bytes, {start} ...) '
            'is neither jpeg nor png',
            _FIX_ENCODING,
        )
    # the last word is the order in which the picture was handed to OpenCV's encoder
    swapped = words.endswith('compressed rgb8') != (_COLOR_RGB is None)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8) if swapped else picture


def _tail(data: NDArray[np.uint8]) -> bytes:
    """The last bytes, where a jpeg ends; drivers pad with zeros."""
    tail = data[-4096:].tobytes().rstrip(b'\0')
    return tail[-64:] if tail else data.tobytes().rstrip(b'\0')[-64:]


def _imdecode(data: NDArray[np.uint8], flags: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(data, flags) if len(data) else None
    except cv2.error:
        return None
