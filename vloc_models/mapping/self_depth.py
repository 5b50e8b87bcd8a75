"""Depth where the robot has no depth sensor: learned from the recording's own pictures and poses.

FSRE-Depth learns from the pictures as pinholes see them; the poses give it metres. What it tells
of a picture is kept where other pictures confirm it, and left out on classes that move and, where
classes are exact, beside their borders.

**Held-out pictures.** The self-test asks pictures that the tested head must know nothing of. So
the depth network, and the clusters it is given as classes, learn only from the pictures that this
head learns from, and these pictures' depth is confirmed by each other alone. The held-out pictures
get depth from the same network, for the training with all pictures that follows the test: there
the network knows a place it was taught, from a way it was not. One network for both costs the map
the photometric lesson of a sixth of its pictures, and saves learning twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.keyframes import Keyframe
from vloc_models.frames.rectify import Rectified, pinhole_for, size_for
from vloc_models.geometry.camera import Camera
from vloc_models.mapping.consistency import CheckConfig, DepthPicture, confirmed
from vloc_models.mapping.encoder import ChosenEncoder
from vloc_models.mapping.pseudo_labels import labels_of
from vloc_models.mapping.work import Work
from vloc_models.networks.fsre import Fsre
from vloc_models.training.fsre import FsreTraining, predict_depth, train_fsre
from vloc_models.training.hints import depth_hints
from vloc_models.training.video import Video

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]
DepthKind = Literal['auto', 'sensor', 'self', 'none']
Report = Callable[[str, int, int], None]  # step in words, done, of how many


@dataclass(frozen=True)
class SelfDepthConfig:
    """Depth learned from the recording itself."""

    short_side_px: int = 96  # of the pictures that the network sees
    moving_classes: tuple[int, ...] = ()  # of the recording's, that depth is left out on
    border_px: int = 3  # beside borders of the recording's classes it is left out too
    until: float = 1.0  # share of a head's training after which the depth no longer pulls it
    training: FsreTraining = field(default_factory=FsreTraining)
    check: CheckConfig = field(default_factory=CheckConfig)

    def __post_init__(self) -> None:
        if self.border_px < 0 or not 0 <= self.until <= 1:
            raise VlocError(
                f'depth: {self.border_px} px beside borders, until {self.until:g}',
                'give no negative size, and a share',
            )


@dataclass(frozen=True, eq=False)
class Told:
    """What the network tells of a rectified picture."""

    depth: NDArray[np.float32]  # [h, w] metres, everywhere
    valid: NDArray[np.bool_]  # [h, w] where it is confirmed


class SelfDepth:
    """Depth of one recording's pictures, by a network that learned from them.

    Args:
        network: what was learned.
        config: how it is checked.
        size: width and height of rectified pictures.
        exact: whether classes are the recording's own.
    """

    def __init__(
        self, network: Fsre, config: SelfDepthConfig, size: tuple[int, int], exact: bool
    ) -> None:
        self.network, self.config, self.exact = network, config, exact
        self.rectified = _rectifier(size)

    def depth_of(self, image: Picture, camera: Camera, T_map_cam: Array) -> DepthPicture:
        """What the network tells of a picture [H, W, 3], unchecked, as its pinhole sees it."""
        rectified = self.rectified(camera)
        depth = predict_depth(self.network, rectified.image(image))
        return DepthPicture(depth, rectified.pinhole, T_map_cam)

    def checked(
        self,
        picture: DepthPicture,
        others: Sequence[DepthPicture],
        camera: Camera,
        labels: Picture | None,
    ) -> Told:
        """Where others confirm it.

        Args:
            picture: what the network told.
            others: of other pictures.
            camera: that took the picture.
            labels: [H, W] its classes, where the recording has some.
        """
        valid = confirmed(picture, others, self.config.check)
        if labels is not None and self.exact:
            valid &= ~self._doubtful(self.rectified(camera).labels(labels))
        return Told(picture.depth.astype(np.float32), valid)

    def _doubtful(self, labels: Picture) -> NDArray[np.bool_]:
        """Where things move, or depth jumps, by the classes [h, w]."""
        moving = np.isin(labels, self.config.moving_classes)
        return near_borders(labels, self.config.border_px) | moving


def near_borders(labels: Picture, within_px: int) -> NDArray[np.bool_]:
    """The pixels [H, W] of classes [H, W] that another class is near."""
    size = 2 * within_px + 1
    return np.asarray(maximum_filter(labels, size) != minimum_filter(labels, size))


@dataclass(frozen=True, eq=False)
class Teacher:
    """How depth is learned."""

    encoder: ChosenEncoder  # tells what looks alike
    config: SelfDepthConfig
    device: str = 'cpu'
    report: Report = lambda step, done, total: None


def depth_chosen(keyframes: list[Keyframe], kind: DepthKind) -> list[Keyframe]:
    """The pictures with no other depth than wanted.

    Raises:
        BagError: if a sensor's is wanted, and there is none.
    """
    if kind == 'auto':
        return keyframes
    if kind == 'sensor' and not any(k.depth is not None and not k.learned for k in keyframes):
        raise BagError(
            'no depth of a sensor', 'name its topic with --depth-topics, or give --depth auto'
        )
    kept = {'none': None, 'sensor': False, 'self': True}[kind]
    return [k if k.learned is kept else replace(k, depth=None, learned=False) for k in keyframes]


def learn_depth(
    keyframes: Sequence[Keyframe], teacher: Teacher, checkpoint: Path | None = None
) -> SelfDepth:
    """Learn from pictures with colours and poses.

    Raises:
        VlocError: if nothing can be learned from them, or classes are wrong.
    """
    config = teacher.config
    encoder, training = teacher.encoder, config.training
    size = size_for(keyframes[0].camera, config.short_side_px)
    rectifier = _rectifier(size)
    rectified = [rectifier(k.camera) for k in keyframes]
    labels, exact = None, False
    if training.network.classes:
        found = labels_of(keyframes, rectified, encoder, training.network.classes, training.seed)
        labels, exact = found.images, found.exact
    pairs = zip(keyframes, rectified, strict=True)
    video = Video(
        np.stack([r.image(_coloured(k)) for k, r in pairs]),
        np.stack([r.pinhole.K for r in rectified]),
        np.stack([k.T_map_cam for k in keyframes]),
        labels,
    )
    if training.loss.hints:
        depths_m = training.network.min_depth_m, training.network.max_depth_m
        hints = depth_hints(
            video, training.hints, depths_m, partial(teacher.report, 'comparing pictures')
        )
        video = replace(video, hints=hints)
    steps = training.loop.steps
    network = train_fsre(
        video,
        training,
        teacher.device,
        checkpoint,
        lambda step, loss: teacher.report('learning depth', step, steps),
    )
    return SelfDepth(network.to(teacher.device), config, size, exact)


def with_self_depth(
    keyframes: list[Keyframe],
    learned: NDArray[np.bool_],
    teacher: Teacher,
    work: Work,
) -> list[Keyframe]:
    """The pictures with depth that was learned from some of them, without their colours.

    Args:
        keyframes: M pictures with colours. Where all have learned depth from their recording
            already ("vloc depth" wrote it), that is kept.
        learned: [M] those to learn from; the others are held out.
        teacher: how.
        work: keeps what is found, so that work that was broken off goes on.

    Raises:
        VlocError: if nothing can be learned from them, or classes are wrong.
    """
    if all(k.learned for k in keyframes):
        return keyframes
    kept = work.load('self_depth')
    if kept is None:
        chosen = [k for k, use in zip(keyframes, learned, strict=True) if use]
        network = learn_depth(chosen, teacher, work.folder / 'depth.pt')
        kept = _told(keyframes, learned, network, teacher.report)
        work.save('self_depth', kept)
    _, height, width = kept['depth'].shape
    rectifier = _rectifier((width, height))
    found = []
    for k, depth, valid in zip(keyframes, kept['depth'], kept['valid'], strict=True):
        sparse = rectifier(k.camera).depth_back(np.where(valid, depth, np.nan))
        found.append(
            replace(k, depth=sparse.astype(np.float16), image=None, labels=None, learned=True)
        )
    return found


def check_agreement(valid: Sequence[NDArray[np.bool_]]) -> None:
    """Check that pictures confirm anything of each other's depth.

    Raises:
        BagError: if nothing.
    """
    if not any(v.any() for v in valid):
        raise BagError(
            f'depth: none of {len(valid)} pictures finds others that agree with it',
            'move sideways while recording, or raise --self-depth.training.loop.steps',
        )


def _told(
    keyframes: Sequence[Keyframe],
    learned: NDArray[np.bool_],
    network: SelfDepth,
    report: Report,
) -> dict[str, NDArray[Any]]:
    """Depth and validity [M, h, w] of all pictures as their pinholes see them."""
    pictures = []
    for done, k in enumerate(keyframes):
        pictures.append(network.depth_of(_coloured(k), k.camera, k.T_map_cam))
        report('telling depth', done + 1, len(keyframes))
    others = [p for p, use in zip(pictures, learned, strict=True) if use]
    told: list[Told] = []
    for done, (k, picture) in enumerate(zip(keyframes, pictures, strict=True)):
        told.append(network.checked(picture, others, k.camera, k.labels))
        report('checking depth', done + 1, len(keyframes))
    check_agreement([t.valid for t in told])
    return {
        'depth': np.stack([t.depth for t in told]).astype(np.float16),
        'valid': np.stack([t.valid for t in told]),
    }


def _coloured(keyframe: Keyframe) -> Picture:
    assert keyframe.image is not None
    return keyframe.image


def _rectifier(size: tuple[int, int]) -> Callable[[Camera], Rectified]:
    """Rectifies any camera to pictures of a size; what each camera costs is spent once."""

    @cache
    def rectified(camera: Camera) -> Rectified:
        return Rectified(camera, pinhole_for(camera, size))

    return rectified
