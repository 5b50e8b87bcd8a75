"""Textures that appear once: posters, pictures, text, screens, book spines, windows.

As with ``tiles``, training and test worlds share none. Each function takes a generator and a
size (width, height) in texels and returns sRGB bytes [h, w, 3].
"""

import string
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic.tiles import noise

Rng = np.random.Generator
Image = NDArray[np.uint8]
Size = tuple[int, int]
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LETTERS = {'train': list(string.ascii_lowercase), 'test': list(string.ascii_uppercase)}


def blank(rng: Rng, size: Size, low: int = 150, high: int = 256) -> Image:
    """Paper of one colour."""
    return np.full((size[1], size[0], 3), rng.integers(low, high, 3), np.uint8)


def ink(rng: Rng, high: int = 256) -> tuple[int, int, int]:
    """A random colour for drawing."""
    r, g, b = (int(x) for x in rng.integers(0, high, 3))
    return r, g, b


def word(rng: Rng, split: str) -> str:
    """Letters that mean nothing; no glyph serves both splits."""
    return ''.join(rng.choice(_LETTERS[split], rng.integers(3, 9)))


def write(im: Image, rng: Rng, split: str, lines: int) -> None:
    """Fill a picture with lines of text, in place."""
    h, w = im.shape[:2]
    pitch = h / (lines + 1)
    shade = ink(rng, 110)
    for i in range(lines):
        text = ' '.join(word(rng, split) for _ in range(int(rng.integers(1, 5))))
        at = (int(w * 0.05), int((i + 1) * pitch))
        cv2.putText(im, text, at, _FONT, pitch / 32, shade, max(1, int(pitch / 18)), cv2.LINE_AA)


def _points(rng: Rng, size: Size, count: int) -> NDArray[np.int32]:
    return (rng.random((count, 2)) * size).astype(np.int32)


# ----------------------------------------------------------------- training worlds


def shapes(rng: Rng, size: Size) -> Image:
    """An abstract poster."""
    im = blank(rng, size)
    for _ in range(int(rng.integers(6, 25))):
        x, y = (int(c) for c in _points(rng, size, 1)[0])
        if rng.random() < 0.5:
            cv2.circle(
                im, (x, y), int(rng.integers(4, max(5, size[0] // 4))), ink(rng), -1, cv2.LINE_AA
            )
        else:
            cv2.fillPoly(im, [_points(rng, size, int(rng.integers(3, 6)))], ink(rng), cv2.LINE_AA)
    return im


def notice(rng: Rng, size: Size) -> Image:
    """A page of text."""
    im = blank(rng, size, 200)
    write(im, rng, 'train', int(rng.integers(5, 14)))
    return im


def blocks(rng: Rng, size: Size) -> Image:
    """A painting of rectangles."""
    im = blank(rng, size)
    for _ in range(int(rng.integers(8, 20))):
        (x0, y0), (x1, y1) = _points(rng, size, 2)
        cv2.rectangle(im, (int(x0), int(y0)), (int(x1), int(y1)), ink(rng), -1)
        cv2.rectangle(im, (int(x0), int(y0)), (int(x1), int(y1)), (20, 20, 20), 3)
    return im


def windows_desktop(rng: Rng, size: Size) -> Image:
    """A screen with windows and buttons."""
    im = blank(rng, size, 20, 120)
    for _ in range(int(rng.integers(2, 5))):
        (x0, y0), (x1, y1) = _points(rng, size, 2)
        x0, x1, y0, y1 = min(x0, x1), max(x0, x1) + 30, min(y0, y1), max(y0, y1) + 30
        part = im[y0:y1, x0:x1]
        part[:] = 235
        part[:6] = ink(rng)
        write(part, rng, 'train', 5)
    return im


def spines_plain(rng: Rng, size: Size) -> Image:
    """Book spines with bands."""
    return _spines(rng, size, titled=False)


# ----------------------------------------------------------------- test worlds


def landscape(rng: Rng, size: Size) -> Image:
    """A picture of hills under a sky."""
    w, h = size
    n = max(w, h)
    sky = np.linspace(0.9, 0.5, h)[:, None, None] * np.array([0.6, 0.8, 1.0]) + 0 * np.zeros(
        (h, w, 1)
    )
    im = sky + 0.06 * noise(rng, 3, n)[:h, :w, None]
    for k in range(int(rng.integers(2, 6))):
        ridge = h * (0.35 + 0.13 * k) + h * 0.12 * noise(rng, 3.2, n)[k % n, :w]
        mask = np.arange(h)[:, None] > ridge
        tone = rng.uniform(0.1, 0.7, 3) + 0.12 * noise(rng, 1.8, n)[:h, :w, None]
        im = np.where(mask[..., None], tone, im)
    return (np.clip(im, 0, 1) * 255).astype(np.uint8)


def chart(rng: Rng, size: Size) -> Image:
    """Bars or lines on axes, with a caption."""
    im, (w, h) = blank(rng, size, 215), size
    n = int(rng.integers(5, 12))
    heights = (h * rng.uniform(0.1, 0.65, n)).astype(int)
    xs = np.linspace(w * 0.1, w * 0.9, n).astype(int)
    base = int(h * 0.9)
    if rng.random() < 0.5:
        for x, y in zip(xs, heights, strict=True):
            cv2.rectangle(im, (int(x), base - int(y)), (int(x) + w // (2 * n), base), ink(rng), -1)
    else:
        cv2.polylines(
            im, [np.stack([xs, base - heights], 1)], False, ink(rng, 150), 3, cv2.LINE_AA
        )
    cv2.line(im, (int(w * 0.07), base), (int(w * 0.95), base), (0, 0, 0), 2)
    write(im[: h // 4], rng, 'test', 2)
    return im


def street_map(rng: Rng, size: Size) -> Image:
    """Contours and roads."""
    w, h = size
    level = np.floor(3 * noise(rng, 3, max(w, h))[:h, :w]).astype(int)
    im = rng.integers(130, 250, (40, 3)).astype(np.uint8)[level % 40]
    for _ in range(int(rng.integers(5, 12))):
        cv2.polylines(
            im, [_points(rng, size, 4)], False, ink(rng), int(rng.integers(1, 5)), cv2.LINE_AA
        )
    return im


def sign(rng: Rng, size: Size) -> Image:
    """Large letters and an arrow."""
    im = blank(rng, size, 120)
    write(im, rng, 'test', int(rng.integers(2, 4)))
    (x0, y0), (x1, y1) = _points(rng, size, 2)
    cv2.arrowedLine(im, (int(x0), int(y0)), (int(x1), int(y1)), ink(rng, 130), 6, cv2.LINE_AA)
    return im


def terminal(rng: Rng, size: Size) -> Image:
    """A dark screen of code."""
    im = np.full((size[1], size[0], 3), 18, np.uint8)
    write(im, rng, 'test', 16)
    return (
        255 - im if rng.random() < 0.3 else np.where(im == 18, im, 255 - im // 2).astype(np.uint8)
    )


def spines_titled(rng: Rng, size: Size) -> Image:
    """Book spines with titles."""
    return _spines(rng, size, titled=True)


# ----------------------------------------------------------------- both


def _spines(rng: Rng, size: Size, titled: bool) -> Image:
    im, x = blank(rng, size, 20, 60), 0
    while x < size[0]:
        width, top = int(rng.integers(9, 30)), int(size[1] * rng.uniform(0, 0.3))
        part = im[top:, x : x + width]
        part[:] = ink(rng)
        if titled:
            side = np.ascontiguousarray(np.rot90(part))
            write(side, rng, 'test', 1)
            part[:] = np.rot90(side, -1)
        else:
            for y in rng.integers(0, size[1], 3):
                part[y : y + 5] = ink(rng)
        x += width + int(rng.random() < 0.1) * 12
    return im


def view_outside(rng: Rng, size: Size) -> Image:
    """What stands behind a window: sky, and far blurred things below."""
    w, h = size
    far = 0.55 + 0.1 * noise(rng, 2.5, max(w, h))[:h, :w]
    horizon = h * 0.55 + 0.05 * h * noise(rng, 3, max(w, h))[0, :w]
    im = np.where(np.arange(h)[:, None] < horizon, 0.95, far)
    return (np.clip(im[..., None] * [0.95, 1, 1], 0, 1) * 255).astype(np.uint8)


def leaf(rng: Rng, size: Size) -> Image:
    """Green, with veins."""
    grey = noise(rng, 2, max(size))[: size[1], : size[0], None]
    im = np.array([0.2, 0.45, 0.15]) * rng.uniform(0.6, 1.4) + 0.06 * grey
    im[:, size[0] // 2 - 1 : size[0] // 2 + 1] *= 1.3
    return (np.clip(im, 0, 1) * 255).astype(np.uint8)


DECALS: dict[str, dict[str, tuple[Callable[[Rng, Size], Image], ...]]] = {
    'train': {
        'picture': (shapes, notice, blocks),
        'screen': (windows_desktop,),
        'books': (spines_plain,),
    },
    'test': {
        'picture': (landscape, chart, street_map, sign),
        'screen': (terminal,),
        'books': (spines_titled,),
    },
}
