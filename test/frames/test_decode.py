"""Message -> array: every encoding against an independent computation, and any bytes at all."""

import array
import io
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PilImage

from vloc_models.errors import BagError
from vloc_models.frames import compressed_depth
from vloc_models.frames.decode import _PICTURES, decode_depth, decode_image, decode_labels

RGB = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
GREY = RGB[..., 0]


def image(pixels: NDArray[Any], encoding: str, **fields: Any) -> SimpleNamespace:
    data = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8)
    height, width = pixels.shape[:2]
    known = {'height': height, 'width': width, 'encoding': encoding, 'is_bigendian': 0}
    step = {'step': len(data) // height, 'data': data}
    return SimpleNamespace(**{**known, **step, **fields})


def compressed(data: bytes, words: str) -> SimpleNamespace:
    return SimpleNamespace(format=words, data=np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    ('encoding', 'pixels', 'expected'),
    [
        ('rgb8', RGB, RGB),
        ('bgr8', RGB[..., ::-1], RGB),
        ('RGB8', RGB, RGB),
        ('8UC3', RGB[..., ::-1], RGB),
        ('rgba8', np.dstack([RGB, GREY]), RGB),
        ('bgra8', np.dstack([RGB[..., ::-1], GREY]), RGB),
        ('8UC4', np.dstack([RGB[..., ::-1], GREY]), RGB),
        ('mono8', GREY, np.dstack([GREY] * 3)),
        ('8UC1', GREY, np.dstack([GREY] * 3)),
        ('mono16', GREY.astype('<u2') * 256 + 77, np.dstack([GREY] * 3)),
        ('rgb16', RGB.astype('<u2') * 256 + 77, RGB),
        ('bgr16', RGB[..., ::-1].astype('<u2') * 256 + 77, RGB),
    ],
)
def test_plain_encodings(encoding: str, pixels: NDArray[Any], expected: NDArray[Any]) -> None:
    got = decode_image(image(pixels, encoding))
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert got.flags.writeable
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ('pattern', 'corner'),
    [('rggb', 'RGGB'), ('bggr', 'BGGR'), ('gbrg', 'GBRG'), ('grbg', 'GRBG')],
)
@pytest.mark.parametrize('bits', [8, 16])
def test_bayer_is_named_by_its_first_pixels(pattern: str, corner: str, bits: int) -> None:
    colour = {'R': 200, 'G': 100, 'B': 50}
    cell = np.array([colour[c] for c in corner], np.uint16).reshape(2, 2)
    mosaic = np.tile(cell, (6, 8)) * (256 if bits == 16 else 1)
    got = decode_image(image(mosaic.astype(f'<u{bits // 8}'), f'bayer_{pattern}{bits}'))
    np.testing.assert_array_equal(got[5, 5], [200, 100, 50])


def yuv_to_rgb(y: float, u: float, v: float) -> NDArray[np.float64]:
    """BT.601, studio range."""
    y, u, v = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    return np.clip([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], 0, 255)


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')],
)
def test_yuv422(encoding: str, order: str) -> None:
    value = {'y': 120, 'u': 90, 'v': 170}
    row = np.array([value[c] for c in order] * 8, np.uint8)
    pixels = np.tile(row, (12, 1)).reshape(12, 16, 2)
    got = decode_image(image(pixels, encoding))
    assert np.abs(got[5, 5] - yuv_to_rgb(120, 90, 170)).max() <= 2


@pytest.mark.parametrize(('encoding', 'pair'), [('nv12', (90, 170)), ('nv21', (170, 90))])
def test_nv12(encoding: str, pair: tuple[int, int]) -> None:
    planes = np.vstack([np.full((12, 16), 120), np.tile(pair, (6, 8))]).astype(np.uint8)
    got = decode_image(image(planes, encoding, height=12, step=16))
    assert got.shape == (12, 16, 3)
    assert np.abs(got[5, 5] - yuv_to_rgb(120, 90, 170)).max() <= 2


def test_row_padding_and_byte_order() -> None:
    padded = np.zeros((12, 64), np.uint8)
    padded[:, :48] = RGB.reshape(12, 48)
    msg = image(RGB, 'rgb8', step=64, data=padded.ravel())
    np.testing.assert_array_equal(decode_image(msg), RGB)
    depth = np.arange(192, dtype='>u2').reshape(12, 16)
    got = decode_depth(image(depth, '16UC1', is_bigendian=1))
    assert got[3, 4] == np.float32(52) / 1000
    metres = np.linspace(0, 5, 192).astype('>f4').reshape(12, 16)
    got = decode_depth(image(metres, '32FC1', is_bigendian=True))
    assert got[3, 4] == metres[3, 4]
    assert np.isnan(got[0, 0])


@pytest.mark.parametrize('wrap', [bytes, lambda b: array.array('B', b), memoryview, bytearray])
def test_data_as_rclpy_and_others_give_it(wrap: Any) -> None:
    msg = image(RGB, 'rgb8', data=wrap(RGB.tobytes()))
    np.testing.assert_array_equal(decode_image(msg), RGB)
    png = cv2.imencode('.png', RGB[..., ::-1])[1].tobytes()
    msg = SimpleNamespace(format='png', data=wrap(png))
    np.testing.assert_array_equal(decode_image(msg), RGB)


def test_real_ros_messages() -> None:
    ros = pytest.importorskip('sensor_msgs.msg', reason='needs the pip ROS messages')
    msg = ros.Image(height=12, width=16, encoding='bgr8', step=48)
    msg.data = array.array('B', RGB.tobytes())
    np.testing.assert_array_equal(decode_image(msg), RGB[..., ::-1])
    msg = ros.CompressedImage(format='bgr8; png compressed bgr8')
    msg.data = array.array('B', cv2.imencode('.png', RGB[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(decode_image(msg), RGB)


def pil_file(pixels: NDArray[Any], kind: str) -> bytes:
    file = io.BytesIO()
    PilImage.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    'words', ['bgr8; jpeg compressed bgr8', 'rgb8; jpeg compressed bgr8', 'jpeg', 'png', '']
)
def test_files_have_their_own_colours(words: str) -> None:
    np.testing.assert_array_equal(decode_image(compressed(pil_file(RGB, 'png'), words)), RGB)
    data = pil_file(np.full((16, 16, 3), (200, 90, 30), np.uint8), 'jpeg')
    got = decode_image(compressed(data + bytes(9), words))  # drivers pad with zeros
    assert np.abs(got[8, 8].astype(int) - (200, 90, 30)).max() <= 3


def test_file_that_was_handed_over_as_rgb() -> None:
    data = pil_file(RGB[..., ::-1], 'png')
    got = decode_image(compressed(data, 'rgb8; png compressed rgb8'))
    np.testing.assert_array_equal(got, RGB)


def test_grey_and_16_bit_files() -> None:
    got = decode_image(compressed(pil_file(GREY, 'png'), 'mono8; png compressed'))
    np.testing.assert_array_equal(got, np.dstack([GREY] * 3))
    png = cv2.imencode('.png', GREY.astype(np.uint16) * 257)[1].tobytes()
    got = decode_image(compressed(png, 'mono16; png compressed'))
    np.testing.assert_array_equal(got, np.dstack([GREY] * 3))


def test_exif_does_not_turn_the_picture() -> None:
    file, exif = io.BytesIO(), PilImage.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    PilImage.fromarray(RGB).save(file, 'jpeg', exif=exif)
    assert decode_image(compressed(file.getvalue(), 'jpeg')).shape == RGB.shape


# --- depth --------------------------------------------------------------------------------------

MM = np.random.default_rng(1).integers(0, 5, (12, 16)).astype(np.uint16) * 1234
METRES = np.where(MM == 0, np.nan, MM / 1000).astype(np.float32)


@pytest.mark.parametrize('encoding', ['16UC1', 'mono16'])
def test_raw_depth(encoding: str) -> None:
    np.testing.assert_allclose(decode_depth(image(MM, encoding)), METRES, rtol=1e-6)


def test_float_depth_unknown_is_nan() -> None:
    depth = np.array([[1.5, 0, np.nan], [np.inf, -np.inf, -1]], np.float32)
    got = decode_depth(image(depth, '32FC1'))
    np.testing.assert_array_equal(got, [[1.5, np.nan, np.nan], [np.nan] * 3])


def test_compressed_depth_16uc1() -> None:
    png = cv2.imencode('.png', MM)[1].tobytes()
    for words in ('16UC1; compressedDepth', '16UC1; compressedDepth png'):
        got = decode_depth(compressed(bytes(12) + png, words))
        np.testing.assert_allclose(got, METRES, rtol=1e-6)
    np.testing.assert_allclose(decode_depth(compressed(png, 'png')), METRES, rtol=1e-6)


def test_compressed_depth_32fc1() -> None:
    """As the ROS publisher quantises: value = A / depth + B."""
    depth, a, b = np.where(MM == 0, np.nan, METRES), 100.0 * 101, 1 - 100.0 * 101 / 10
    inverse = np.where(np.isnan(depth), 0, a / depth + b)
    png = cv2.imencode('.png', inverse.astype(np.uint16))[1].tobytes()
    data = struct.pack('<iff', 0, a, b) + png
    got = decode_depth(compressed(data, '32FC1; compressedDepth png'))
    np.testing.assert_allclose(got, depth, rtol=2e-3)


def rvl(values: NDArray[np.uint16]) -> bytes:
    """The published C code, word by word: runs of zeros and nonzeros, differences zigzagged."""
    nibbles: list[int] = []

    def put(number: int) -> None:
        while True:
            nibble = number & 7
            number >>= 3
            nibbles.append(nibble | 8 if number else nibble)
            if not number:
                return

    flat, i, previous = values.ravel().astype(int).tolist(), 0, 0
    while i < len(flat):
        zeros = i
        while i < len(flat) and flat[i] == 0:
            i += 1
        put(i - zeros)
        start = i
        while i < len(flat) and flat[i] != 0:
            i += 1
        put(i - start)
        for value in flat[start:i]:
            step = value - previous
            put((step << 1) ^ (step >> 31))
            previous = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        sum(n << (28 - 4 * k) for k, n in enumerate(nibbles[j : j + 8]))
        for j in range(0, len(nibbles), 8)
    ]
    return struct.pack(f'<{len(words)}I', *words)


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 0.7, 1.0]))
@settings(max_examples=40, deadline=None)
def test_rvl_round_trip(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 20, 2).tolist())
    values = np.where(rng.random(shape) < share, rng.integers(0, 65536, shape), 0)
    values = values.astype(np.uint16)
    size = struct.pack('<II', shape[1], shape[0])
    data = bytes(12) + size + rvl(values)
    got = decode_depth(compressed(data, '16UC1; compressedDepth rvl'))
    expected = np.where(values == 0, np.nan, values / 1000)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_rvl_that_lies_about_its_size() -> None:
    for size in ((2**31, 2**31), (0, 0), (4, 4000)):
        data = bytes(12) + struct.pack('<II', *size) + rvl(MM)
        with pytest.raises(BagError, match='rvl'):
            decode_depth(compressed(data, '16UC1; compressedDepth rvl'))


def test_written_depth_is_read_back() -> None:
    depth = np.array([[1.2345, np.nan, 0.0004], [65.535, 66, np.inf]], np.float32)
    got = compressed_depth.decode(compressed_depth.encode(depth), compressed_depth.FORMAT)
    expected = [[np.float32(1.234), np.nan, np.nan], [np.float32(65.535), np.nan, np.nan]]
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_labels() -> None:
    np.testing.assert_array_equal(decode_labels(image(GREY, 'mono8')), GREY)
    msg = compressed(pil_file(GREY, 'png'), 'mono8; png compressed mono8')
    np.testing.assert_array_equal(decode_labels(msg), GREY)
    for bad in (image(RGB, 'rgb8'), compressed(pil_file(RGB, 'png'), 'png')):
        with pytest.raises(BagError, match='label'):
            decode_labels(bad)


# --- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('msg', 'words'),
    [
        (image(RGB, 'rgb9'), "'rgb9' is not supported"),
        (image(MM, '16UC1'), 'name it as a depth topic'),
        (image(RGB, 'rgb8', data=RGB.ravel()[:-1]), '575 bytes with a step of 48'),
        (image(RGB, 'rgb8', step=47), 'a step of 47'),
        (image(RGB, 'rgb8', width=0), 'the image is empty'),
        (image(RGB, 'rgb8', data='text'), 'no bytes'),
        (image(RGB[:, :15, :2], 'yuyv'), 'cannot be read as yuyv'),
        (compressed(b'', 'jpeg'), 'neither jpeg nor png'),
        (compressed(b'text', 'h264'), "'h264'"),
        (compressed(bytes(20), '16UC1; compressedDepth'), 'holds depth'),
    ],
)
def test_bad_pictures_are_told(msg: Any, words: str) -> None:
    with pytest.raises(BagError, match=words) as caught:
        decode_image(msg)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('msg', 'words'),
    [
        (image(RGB, 'rgb8'), 'not a depth encoding'),
        (compressed(b'', '16UC1; compressedDepth'), 'holds no image'),
        (compressed(bytes(30), '16UC1; compressedDepth'), 'no 16 bit png'),
        (compressed(pil_file(GREY, 'png'), 'png'), 'not a 16 bit png'),
        (compressed(bytes(15), '16UC1; compressedDepth rvl'), 'rvl'),
    ],
)
def test_bad_depth_is_told(msg: Any, words: str) -> None:
    with pytest.raises(BagError, match=words):
        decode_depth(msg)


def outcome(decode: Callable[[Any], NDArray[Any]], msg: Any) -> tuple[int, ...] | None:
    """The shape of what was decoded, None for one of our errors; any other fails the test."""
    try:
        data = decode(msg)
    except BagError as e:
        return None if '\n' not in str(e) else (-1,)
    kinds = {decode_image: np.uint8, decode_depth: np.float32, decode_labels: np.uint8}
    assert data.dtype == kinds[decode]
    return data.shape


SIZES = st.integers(0, 9)
ENCODINGS = st.sampled_from([*_PICTURES, '16UC1', '32FC1', 'what', '64FC3'])


@given(
    st.binary(max_size=300),
    ENCODINGS,
    st.tuples(SIZES, SIZES, st.integers(0, 40), st.booleans()),
)
@settings(max_examples=400, deadline=None)
def test_any_image_gives_an_array_or_a_bag_error(
    data: bytes, encoding: str, fields: tuple[int, int, int, bool]
) -> None:
    height, width, step, big = fields
    msg = SimpleNamespace(
        data=data, encoding=encoding, height=height, width=width, step=step, is_bigendian=big
    )
    for decode, shape in (
        (decode_image, (height, width, 3)),
        (decode_depth, (height, width)),
        (decode_labels, (height, width)),
    ):
        assert outcome(decode, msg) in (shape, None)


STARTS = [
    b'',
    cv2.imencode('.png', RGB)[1].tobytes(),
    cv2.imencode('.jpg', RGB)[1].tobytes(),
    bytes(12) + cv2.imencode('.png', MM)[1].tobytes(),
    bytes(12) + struct.pack('<II', 16, 12) + rvl(MM),
]
FORMATS = [
    'jpeg',
    'png',
    '16UC1; compressedDepth',
    '32FC1; compressedDepth',
    'compressedDepth rvl',
]


@given(
    st.sampled_from(STARTS),
    st.integers(0, 700),
    st.binary(max_size=40),
    st.sampled_from(FORMATS),
)
@settings(max_examples=200, deadline=None)
def test_any_file_gives_an_array_or_a_bag_error(
    start: bytes, cut: int, rest: bytes, words: str
) -> None:
    msg = SimpleNamespace(data=start[:cut] + rest + start[cut + len(rest) :], format=words)
    for decode in (decode_image, decode_depth, decode_labels):
        outcome(decode, msg)
