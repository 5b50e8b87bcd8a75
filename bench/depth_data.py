"""Videos for bench/depth.py: pictures to learn from, others to be asked, and the truth of both."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from torch.nn import functional as F

from vloc_models.errors import BagError
from vloc_models.frames.augment import to_grey
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.labels import Label
from vloc_models.networks.ace import normalised
from vloc_models.training.fsre import Video, shipped_encoder

Mask = NDArray[np.bool_]
Held = Literal['reported', 'tuning']
_ASKED, _GAP = 0.08, 0.03  # of the pictures: in a held-out block, and left out on each side
_SAMPLES = 40_000  # cells that clusters are made of
_NEAR_BORDER_PX = 3


@dataclass(frozen=True, eq=False)
class Material:
    """A recording at full size, and its classes where they are known."""

    images: NDArray[np.uint8]  # [M, H, W, 3]
    K: NDArray[np.float64]  # [M, 3, 3]
    T_map_cam: NDArray[np.float64]  # [M, 4, 4]
    depth: NDArray[np.float16]  # [M, H, W] metres, NaN where unknown: only to be scored with
    labels: NDArray[np.uint8] | None = None  # [M, H, W]

    def video(self, chosen: Mask, size: tuple[int, int], clusters: int) -> Video:
        """Some of the pictures to learn from, at another (height, width).

        Classes that are not known are clusters of our encoder's features over the whole video.
        """
        h, w = size
        H, W = self.images.shape[1:3]
        scale = np.array([[w / W, 0, (w / W - 1) / 2], [0, h / H, (h / H - 1) / 2], [0, 0, 1]])
        images = self.images[chosen]
        small = [cv2.resize(x, (w, h), interpolation=cv2.INTER_AREA) for x in images]
        if self.labels is None:
            labels = clustered(images, size, clusters)
        else:
            near = [
                cv2.resize(x, (w, h), interpolation=cv2.INTER_NEAREST_EXACT)
                for x in self.labels[chosen]
            ]
            labels = np.stack(near).astype(np.uint8)
        images = np.stack(small).astype(np.uint8)
        return Video(images, scale @ self.K[chosen], self.T_map_cam[chosen], labels)

    def borders(self) -> Iterator[Mask | None]:
        """Of every picture the pixels near where two classes meet."""
        kernel = np.ones((2 * _NEAR_BORDER_PX + 1,) * 2, np.uint8)
        for labels in self.labels if self.labels is not None else [None] * len(self.images):
            if labels is None:
                yield None
                continue
            low, high = cv2.erode(labels, kernel), cv2.dilate(labels, kernel)
            yield np.asarray(low != high)


def kitchen(bag: Path) -> Material:
    """A recording with poses and depth.

    Raises:
        BagError: if it has no depth to be scored with.
    """
    with open_source((bag,), BagOptions()) as source:
        frames = read_keyframes(source, 1000, 480, colour=True)
    return _material(frames, None, bag)


def world(seed: int, seconds: float) -> Material:
    """The beginning of a mapping drive through a synthetic world, with exact classes."""
    source = SyntheticSource(SyntheticSpec(WorldSpec(seed), DriveSpec(duration_s=seconds)))
    labels = []
    for frame in source.frames():
        told = frame.views[0].labels
        assert told is not None
        labels.append(told)
    frames = read_keyframes(source, 1000, 480, colour=True)
    return _material(frames, np.stack(labels), source.folder)


def _material(frames: list[Keyframe], labels: NDArray[np.uint8] | None, where: Path) -> Material:
    if any(k.depth is None for k in frames):
        raise BagError(f'{where}: has no depth to score with', 'give another recording')
    columns = zip(*((k.image, k.camera.K, k.T_map_cam, k.depth) for k in frames), strict=True)
    return Material(*(np.stack(c) for c in columns), labels)  # pyright: ignore


def split(count: int, held: Held) -> tuple[Mask, Mask]:
    """Which of ``count`` pictures are learned from, and which are asked for.

    Of four blocks of neighbours two are for choosing settings and the two others for reporting.
    """
    asked, near = np.zeros(count, bool), np.zeros(count, bool)
    length, gap = max(1, round(_ASKED * count)), max(1, round(_GAP * count))
    for block in (0, 2) if held == 'tuning' else (1, 3):
        start = round((block + 0.5) * count / 4 - length / 2)
        asked[start : start + length] = True
        near[start - gap : start + length + gap] = True
    return ~near, asked


@torch.no_grad()
def clustered(
    images: NDArray[np.uint8], size: tuple[int, int], clusters: int
) -> NDArray[np.uint8]:
    """Classes [M, h, w] of what looks alike: k-means of our encoder's features of all pictures."""
    encoder = shipped_encoder()
    maps = [encoder(normalised(torch.from_numpy(to_grey(x))[None, None]))[0] for x in images]
    cells = torch.cat([m[0].flatten(1).T for m in maps]).numpy()
    some = np.random.default_rng(0).choice(cells, min(_SAMPLES, len(cells)), replace=False)
    found = MiniBatchKMeans(clusters, random_state=0, batch_size=4096).fit(some)
    centres = torch.from_numpy(found.cluster_centers_).float()
    labels = []
    for m in maps:
        up = F.interpolate(m, size, mode='bilinear', align_corners=False)[0]
        apart = (centres**2).sum(1)[:, None, None] - 2 * torch.einsum('kc,chw->khw', centres, up)
        labels.append(apart.argmin(0).numpy().astype(np.uint8))
    return np.stack(labels)


EXACT_CLASSES = len(Label)
