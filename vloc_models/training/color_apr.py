"""Train the pose prior on the pictures of a map: poses, and beside them colours or classes.

Pictures are shown as the same camera would have seen them turned on the spot by a few degrees,
which is exact whatever their depth, and so is the turned pose; lighter or darker and with another
contrast, which leaves colours what they are; never in other colours, which are to be learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from vloc_models.errors import VlocError
from vloc_models.frames.augment import Colour, colour_jitter, turned_on_the_spot
from vloc_models.frames.keyframes import Keyframe
from vloc_models.frames.rectify import Rectified, pinhole_for, size_for
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.networks import color_apr_losses as losses
from vloc_models.networks.color_apr import ColorApr, ColorAprConfig, LightBackbone, PoseScale
from vloc_models.networks.color_apr_losses import ColorAprLoss, PoseCriterion, Poses
from vloc_models.training.fsre import load_imagenet, shipped_encoder
from vloc_models.training.loop import LoopConfig, Report, Shuffle, optimise

Array = NDArray[np.float64]
_FEWEST_STEPS = 900
_UNKNOWN = 255  # class
_LEAST_SPREAD_M = 0.1  # a robot that hardly moved


@dataclass(frozen=True)
class ColorAprTraining:
    """How the prior is trained."""

    seed: int = 0
    """Of the first weights, the order of the pictures and how they are changed."""
    network: ColorAprConfig = field(default_factory=ColorAprConfig)
    loss: ColorAprLoss = field(default_factory=ColorAprLoss)
    short_side_px: int = 64
    """Of the pictures that it sees; 256 as published."""
    batch: int = 16
    """Pictures a step."""
    turn_deg: float = 10.0
    """Pictures are turned about each axis by up to this."""
    light: Colour = field(default_factory=lambda: Colour(0.3, 0.3, 0.0, 0.0))
    """Brightness and contrast; saturation and hue stay."""
    pretrained: bool = True
    """The light backbone starts from the encoder that ships with vloc."""
    weights: Path | None = None
    """An ImageNet state dict (torchvision's names) for resnet50."""
    epochs: int = 64
    """How often each picture is seen, where loop.steps is 0; more often in a small place."""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(0, 1e-3))

    def __post_init__(self) -> None:
        if min(self.batch, self.epochs + 1) < 2 or not 0 <= self.turn_deg < 45:
            raise VlocError(
                f'prior: {self.epochs} epochs, a batch of {self.batch}, '
                f'turned by {self.turn_deg:g} deg',
                'give 1 epoch and 2 pictures or more, and 0 to 45 deg',
            )
        if self.light.saturation or self.light.hue:
            raise VlocError(
                'prior: other colours cannot be learned from', 'leave saturation and hue at 0'
            )
        if self.weights is not None and self.network.backbone == 'light':
            raise VlocError('prior: the light backbone ships with its weights', 'leave them out')

    @staticmethod
    def published(weights: Path | None) -> 'ColorAprTraining':
        """For a GPU: what the paper tells, the rest as AtLoc (arXiv 1909.03557) was trained."""
        return ColorAprTraining(
            network=ColorAprConfig.published(),
            short_side_px=256,
            batch=64,
            weights=weights,
            epochs=100,
            loop=LoopConfig(0, 5e-5, weight_decay=5e-4),
        )

    def for_pictures(self, count: int) -> 'ColorAprTraining':
        """With as many steps as so many pictures need, if they are not given."""
        if self.loop.steps:
            return self
        steps = max(_FEWEST_STEPS, round(self.epochs * count / self.batch))
        return replace(self, loop=replace(self.loop, steps=steps))


@dataclass(frozen=True, eq=False)
class PriorData:
    """Pictures as one small pinhole camera saw them, and where it was."""

    camera: Camera
    images: NDArray[np.uint8]  # [N, H, W, 3] RGB
    T_map_cam: Array  # [N, 4, 4]
    labels: NDArray[np.uint8] | None = None  # [N, H, W] classes, 255 unknown

    @staticmethod
    def of(
        keyframes: Sequence[Keyframe], short_side_px: int, camera: Camera | None = None
    ) -> 'PriorData':
        """Of pictures of any cameras, that all become those of ``camera``.

        Args:
            keyframes: with colours.
            short_side_px: of the camera that is made up like the first picture's, where none is
                given.
            camera: that camera.

        Raises:
            VlocError: if there are none, or one has no colours.
        """
        if not keyframes or any(k.image is None for k in keyframes):
            raise VlocError('prior: there are no colours to learn from', 'read pictures with them')
        if camera is None:
            first = keyframes[0].camera
            camera = pinhole_for(first, size_for(first, short_side_px))
        through = {k.camera: Rectified(k.camera, camera) for k in keyframes}
        images, labels = [], []
        for k in keyframes:
            assert k.image is not None
            images.append(through[k.camera].image(k.image))
            if k.labels is not None:
                labels.append(through[k.camera].labels(k.labels))
        T_map_cam = np.stack([k.T_map_cam for k in keyframes])
        known = np.stack(labels) if len(labels) == len(images) else None
        return PriorData(camera, np.stack(images), T_map_cam, known)

    def of_rows(self, rows: NDArray[np.bool_]) -> 'PriorData':
        """Some of the pictures, [N] of all."""
        labels = None if self.labels is None else self.labels[rows]
        return PriorData(self.camera, self.images[rows], self.T_map_cam[rows], labels)

    def scale(self) -> PoseScale:
        """Where its poses are."""
        positions = self.T_map_cam[:, :3, 3]
        spread = positions.std(0).clip(_LEAST_SPREAD_M)
        turn = Rotation.from_matrix(self.T_map_cam[:, :3, :3]).mean().as_quat()
        return PoseScale(*(torch.from_numpy(x) for x in (positions.mean(0), spread, turn)))


def check_classes(pictures: Sequence[NDArray[np.uint8] | None], network: ColorAprConfig) -> None:
    """Raise VlocError if the network is to learn classes that are not known, or has too few."""
    if network.aux != 'classes':
        return
    if any(labels is None for labels in pictures):
        raise VlocError(
            'pose prior: no classes are recorded',
            'record a label topic, or learn colours: --pose-prior.training.network.aux colour',
        )
    found = [
        labels[labels != _UNKNOWN].max(initial=0) for labels in pictures if labels is not None
    ]
    if (most := int(max(found, default=0))) >= network.classes:
        raise VlocError(
            f'pose prior: class {most} is recorded, of {network.classes} that it learns',
            f'--pose-prior.training.network.classes {most + 1}, or correct the label topic',
        )


def train_prior(
    data: PriorData,
    config: ColorAprTraining,
    start: ColorApr | None = None,
    device: str = 'cpu',
    checkpoint: Path | None = None,
    report: Report = lambda step, loss: None,
) -> ColorApr:
    """Fit the network to pictures; the same seed and data give the same one.

    Args:
        data: what is learned from.
        config: how.
        start: a network to go on with, which keeps its own scale of poses.
        device: where.
        checkpoint: as ``optimise`` takes it.
        report: likewise.

    Raises:
        VlocError: if classes are to be learned and are not known.
    """
    check_classes([data.labels], config.network)
    torch.manual_seed(config.seed)
    network = _first(config, data.scale())
    if start is not None:
        network.load_state_dict(start.state_dict())
    model = nn.ModuleDict({'network': network, 'criterion': PoseCriterion(config.loss)})
    model.to(device).train()
    for p in network.parameters():  # a quarter faster on a CPU
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
    shuffle = Shuffle(len(data.images), config.batch, config.seed)

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([17, config.seed, step])
        torch.manual_seed(int(rng.integers(2**31)))  # of dropout: the same whenever it is asked
        batch = _batch(data, shuffle.rows(step).tolist(), config, rng, device)
        return _loss(model, batch, config)

    optimise(model, loss_of, config.loop, checkpoint, report)
    return network.cpu().eval()


def _first(config: ColorAprTraining, scale: PoseScale) -> ColorApr:
    """The network before training, with what was learned elsewhere."""
    network = ColorApr(config.network, scale)
    if isinstance(network.backbone, LightBackbone):
        if config.pretrained:
            network.backbone.start_from(shipped_encoder())
    elif config.weights is not None:
        load_imagenet(network.backbone, config.weights, 'resnet50')
    return network


@dataclass(frozen=True, eq=False)
class _Batch:
    images: Tensor  # [B, 3, H, W] of 0..1
    position: Tensor  # [B, 3] metres, map
    quat_xyzw: Tensor  # [B, 4] the camera's rotation in the map
    labels: Tensor | None  # [B, H, W]


def _batch(
    data: PriorData,
    rows: Sequence[int],
    config: ColorAprTraining,
    rng: np.random.Generator,
    device: str,
) -> _Batch:
    """Pictures as changed at random, and their poses."""
    images, T_map_cam, labels = [], [], []
    most = np.radians(config.turn_deg)
    for row in rows:
        T_cam_turned = se3.exp([0, 0, 0, *rng.uniform(-most, most, 3)])
        image = turned_on_the_spot(data.images[row], data.camera.K, T_cam_turned)
        images.append(colour_jitter(image, config.light, rng))
        T_map_cam.append(data.T_map_cam[row] @ T_cam_turned)
        if data.labels is not None:
            turned = turned_on_the_spot(data.labels[row], data.camera.K, T_cam_turned, False)
            labels.append(turned)
    T = np.stack(T_map_cam)
    position, quat = T[:, :3, 3].astype(np.float32), se3.to_quat_xyzw(T).astype(np.float32)

    def tensor(x: NDArray[Any]) -> Tensor:
        return torch.from_numpy(x).to(device)

    shown = tensor(np.stack(images)).permute(0, 3, 1, 2) / 255
    known = tensor(np.stack(labels)) if labels else None
    return _Batch(shown, tensor(position), tensor(quat), known)


def _loss(model: nn.ModuleDict, batch: _Batch, config: ColorAprTraining) -> Tensor:
    """All losses of a batch."""
    network = model['network']
    assert isinstance(network, ColorApr)
    output = network(batch.images)
    true = Poses(batch.position, network.log_of(batch.quat_xyzw))
    total = model['criterion'](output, true)
    total = total + config.loss.sigma * losses.sigma_loss(output, true)
    if output.task is None:
        return total
    if config.network.aux == 'colour':
        task = losses.colour_loss(output.task, batch.images)
    else:
        assert batch.labels is not None
        task = losses.class_loss_of(output.task, batch.labels)
    return total + config.loss.auxiliary * task
