"""From the messages of one moment to a View."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.decode import decode_depth, decode_image, decode_labels
from vloc_models.frames.recording import Recording
from vloc_models.frames.rig import ViewTopics
from vloc_models.geometry.camera import Camera
from vloc_models.records import View


class DamagedError(BagError):
    """One picture that cannot be read; the next may be good."""


def make_view(
    recording: Recording,
    topics: ViewTopics,
    stamp_ns: int,
    parts: dict[str, bytes],
    T_base_cam: NDArray[np.float64],
    count: Counter[str],
) -> View:
    """Decode the image of one camera, and its depth and labels where they are usable.

    Learned depth is left out where its mask does not confirm it.

    Args:
        recording: knows the types of the messages.
        topics: the camera.
        stamp_ns: of the image.
        parts: the messages of the moment, by topic.
        T_base_cam: where the camera sits.
        count: what was left out, in words, is counted here.

    Raises:
        DamagedError: if the image cannot be read.
        BagError: if no image of this topic can be used: encoding, or size.
    """
    camera = topics.cameras.at(stamp_ns)
    image = _decode(recording, topics.image, parts, decode_image)
    check_size(image, camera, topics.image, topics.info)
    depth, labels, valid = (
        _companion(recording, topic, parts, decode, camera, count)
        for topic, decode in (
            (topics.depth, decode_depth),
            (topics.labels, decode_labels),
            (topics.valid, decode_labels),
        )
    )
    if not topics.valid or depth is None:
        return View(image, camera, T_base_cam, depth, labels)
    if valid is None:
        count[f'without {topics.valid}, so that their depth is left out'] += 1
        return View(image, camera, T_base_cam, None, labels)
    depth[valid == 0] = np.nan
    return View(image, camera, T_base_cam, depth, labels, valid > 0)


def check_size(image: NDArray[np.uint8], camera: Camera, topic: str, info: str) -> None:
    """Check that a picture is of the size its camera is calibrated for.

    Raises:
        BagError: if not; the names of both topics are in it.
    """
    if image.shape[:2] != (camera.height, camera.width):
        raise BagError(
            f'{topic}: images are {image.shape[1]}x{image.shape[0]}, but '
            f'{info} says {camera.width}x{camera.height}',
            'use the camera_info of this very stream, or give a calibration file',
        )


def _companion(
    recording: Recording,
    topic: str,
    parts: dict[str, bytes],
    decode: Callable[[Any], NDArray[Any]],
    camera: Camera,
    count: Counter[str],
) -> NDArray[Any] | None:
    """Depth or labels; None where there are none, or they are damaged or of another size."""
    if topic not in parts:
        return None
    try:
        data = _decode(recording, topic, parts, decode)
    except DamagedError as e:
        count[f'without {topic}, which is damaged ({e.what})'] += 1
        return None
    if data.shape == (camera.height, camera.width):
        return data
    count[f'without {topic}, which is {data.shape[1]}x{data.shape[0]}'] += 1
    return None


def _decode(
    recording: Recording,
    topic: str,
    parts: dict[str, bytes],
    decode: Callable[[Any], NDArray[Any]],
) -> NDArray[Any]:
    try:
        return decode(recording.decode(parts[topic], recording.topics[topic].msgtype))
    except BagError as e:
        where = f'{topic}: {e.what}'
        if any(words in e.what for words in ('not supported', 'not a depth', 'not hold labels')):
            raise BagError(where, e.fix) from e  # all of them will be so
        raise DamagedError(where, e.fix) from e
