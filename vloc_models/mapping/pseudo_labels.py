"""Classes for the depth network where nobody has labelled the video.

FSRE-Depth takes its classes from a segmentation network that someone else trained. Without one,
clusters of our encoder's features serve: what looks alike is one class, and edges between classes
are where looks change. The clusters are of all pictures together, so that a class is the same in
each. Where the recording has classes (a label topic, the synthetic world) those are taken.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from sklearn.cluster import MiniBatchKMeans

from vloc_models.errors import BagError
from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.keyframes import Keyframe
from vloc_models.frames.rectify import Rectified
from vloc_models.mapping.encoder import ChosenEncoder
from vloc_models.solvers.spots import STRIDE

_log = logging.getLogger(__name__)
IGNORE = 255  # the class of pixels that have none
_PICTURES = 120  # of which the clusters are found


@dataclass(frozen=True, eq=False)
class Labels:
    """Classes of the rectified pictures of a recording."""

    images: NDArray[np.uint8]  # [M, h, w]; 255: none
    exact: bool  # told by the recording, with borders where the things' are
    words: str  # where they come from, and what they cost


def labels_of(
    keyframes: Sequence[Keyframe],
    rectified: Sequence[Rectified],
    encoder: ChosenEncoder,
    classes: int,
    seed: int,
) -> Labels:
    """Classes of each picture: the recording's, else clusters of looks.

    Args:
        keyframes: M pictures; with classes where the recording has some.
        rectified: how each is seen by its pinhole; all of one size.
        encoder: tells the looks.
        classes: how many there may be.
        seed: of the clusters' first centres.

    Raises:
        BagError: if the recording's classes are not those that the network has.
    """
    started = time.monotonic()
    if any(k.labels is not None for k in keyframes):
        images = np.stack(
            [_given(k, r, classes) for k, r in zip(keyframes, rectified, strict=True)]
        )
        found = Labels(images, True, "classes are the recording's")
    else:
        images = _clustered(keyframes, rectified, encoder, classes, seed)
        seconds = time.monotonic() - started
        words = f'classes are {classes} clusters of what looks alike, found in {seconds:.0f} s'
        found = Labels(images, False, words)
    _log.info('depth: %s', found.words)
    return found


def check_label_topics(cameras: Sequence[CameraMount], keyframes: Sequence[Keyframe]) -> None:
    """Check that classes came where a recording has a topic of them.

    Raises:
        BagError: if there is one, but its pictures are damaged or of another size, all of them.
    """
    topics = [camera.labels for camera in cameras if camera.labels]
    if topics and all(k.labels is None for k in keyframes):
        raise BagError(
            f'{topics[0]}: no labels that can be read and are of the size of their pictures',
            'record them in that size, or give --label-topics none',
        )


def _given(keyframe: Keyframe, rectified: Rectified, classes: int) -> NDArray[np.uint8]:
    """The recording's classes [h, w] of one picture; 255 everywhere if it has none."""
    if keyframe.labels is None:
        size = rectified.pinhole.height, rectified.pinhole.width
        return np.full(size, IGNORE, np.uint8)
    check_classes(keyframe, classes)
    return rectified.labels(keyframe.labels)


def check_classes(keyframe: Keyframe, classes: int) -> None:
    """Check that a picture's classes are among those that a network has.

    Raises:
        BagError: if not.
    """
    assert keyframe.labels is not None
    known = keyframe.labels[keyframe.labels != IGNORE]
    if known.size and known.max() >= classes:
        raise BagError(
            f'labels: class {known.max()} at {keyframe.stamp_ns / 1e9:.2f} s, '
            f'but there are {classes} (0 to {classes - 1}, and {IGNORE} for none)',
            'raise --self-depth.training.network.classes, or give --label-topics none',
        )


def _clustered(
    keyframes: Sequence[Keyframe],
    rectified: Sequence[Rectified],
    encoder: ChosenEncoder,
    classes: int,
    seed: int,
) -> NDArray[np.uint8]:
    """Clusters [M, h, w] of the encoder's features, those between cells interpolated."""
    some = np.unique(np.linspace(0, len(keyframes) - 1, _PICTURES).astype(int))
    cells = np.concatenate([encoder(keyframes[n].grey).features[::4] for n in some])
    found = MiniBatchKMeans(classes, batch_size=4096, random_state=seed)
    found.fit(cells.astype(np.float32))
    centres = np.asarray(found.cluster_centers_, np.float32)
    pairs = zip(keyframes, rectified, strict=True)
    return np.stack([_nearest(encoder(k.grey).grid, centres, r) for k, r in pairs])


def _nearest(
    grid: NDArray[np.float32], centres: NDArray[np.float32], rectified: Rectified
) -> NDArray[np.uint8]:
    """The centre nearest to the feature at each of the pinhole's pixels [h, w].

    ``|f|^2`` is the same for all centres, and the rest of ``|f - c|^2`` is linear in f: so that,
    of a few channels, is interpolated between the cells in place of the features.
    """
    scores = grid @ centres.T - (centres**2).sum(1) / 2  # [rows, columns, classes]
    at = (rectified.pixels[..., ::-1] - (STRIDE - 1) / 2) / STRIDE
    where = np.moveaxis(at, -1, 0)
    layers = np.moveaxis(scores, -1, 0)
    return (
        np.stack([map_coordinates(x, where, order=1, mode='nearest') for x in layers])
        .argmax(0)
        .astype(np.uint8)
    )
