"""Learn depth from a video: FSRE-Depth's recipe (arXiv 2108.08829), with poses where there are.

Known poses replace the paper's pose network and give depth its scale in metres. A hand-held or
driven camera often turns without moving: pictures are then held against those that the poses say
have a base line, not against the next ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError
from vloc_models.frames.augment import Colour, colour_jitter
from vloc_models.geometry import tensors
from vloc_models.networks import fsre_losses as losses
from vloc_models.networks.encoder import LiteEncoder
from vloc_models.networks.fsre import (
    Fsre,
    FsreConfig,
    FsreOutput,
    LightTrunk,
    PoseNetwork,
    make_encoder,
)
from vloc_models.networks.fsre_losses import FsreLoss, Neighbours
from vloc_models.networks.resnet import without_classifier
from vloc_models.training.hints import HintConfig
from vloc_models.training.loop import LoopConfig, Report, optimise
from vloc_models.training.video import NeighbourConfig, Video, neighbours_of
from vloc_models.training.weights import load_weights

__all__ = ['FsreTraining', 'Video', 'predict_depth', 'shipped_encoder', 'train_fsre']


@dataclass(frozen=True)
class FsreTraining:
    """How depth is learned."""

    seed: int = 0  # of the first weights, the batches and the augmentation
    network: FsreConfig = field(default_factory=FsreConfig)
    loss: FsreLoss = field(default_factory=FsreLoss)
    neighbours: NeighbourConfig = field(default_factory=NeighbourConfig)
    hints: HintConfig = field(default_factory=HintConfig)
    batch: int = 4  # pictures a step, beside their neighbours
    flip_share: float = 0.5  # of the pictures, mirrored left to right
    jitter_share: float = 0.5  # of the pictures, shown to the network in other colours
    jitter: Colour = field(default_factory=Colour)
    pretrained: bool = True  # the light encoder starts from the one that ships with vloc
    weights: Path | None = None  # an ImageNet state dict (torchvision's names) for a ResNet
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(400, max_lr=3e-4))

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise VlocError(f'depth: a batch of {self.batch} pictures', 'give more')
        if self.weights is not None and self.network.encoder == 'light':
            raise VlocError('depth: the light encoder ships with its weights', 'leave them out')


@dataclass(frozen=True, eq=False)
class _Batch:
    shown: Tensor  # [B, 3, H, W] in other colours
    images: Tensor  # [B, 3, H, W]
    K: Tensor  # [B, 3, 3]
    near: Neighbours
    earlier: Tensor  # [B, N] whether a neighbour comes before the picture
    labels: Tensor | None  # [B, H, W]
    hints: Tensor | None  # [B, H, W] metres, nan where there is none


def train_fsre(
    video: Video,
    config: FsreTraining,
    device: str = 'cpu',
    checkpoint: Path | None = None,
    report: Report = lambda step, loss: None,
) -> Fsre:
    """Learn the depth of what a video shows; the same seed and video give the same network.

    Args:
        video: with poses depth is in metres, without in a unit of its own.
        config: the recipe.
        device: where to train.
        checkpoint: continued from if it is there.
        report: called after every step.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        VlocError: if the video cannot be learned from, or weights cannot be read.
    """
    video.check(config.network.classes)
    choices = neighbours_of(video, config.neighbours)
    torch.manual_seed(config.seed)
    network = Fsre(config.network)
    network.size.copy_(torch.tensor(video.images.shape[1:3]))
    _start(network.encoder.trunk, config)
    model = nn.ModuleDict({'depth': network})
    if video.T_map_cam is None:
        encoder = make_encoder(config.network.encoder)
        _start(encoder.trunk, config)
        model['motion'] = PoseNetwork(encoder)
    model.to(device)

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([9, config.seed, step])
        batch = _batch(video, choices, config, rng, device)
        if 'motion' in model:
            batch = _with_motion(batch, model['motion'])
        return _loss(network(batch.shown), batch, config.loss)

    optimise(model, loss_of, config.loop, checkpoint, report)
    return network.eval().cpu()


@torch.no_grad()
def predict_depth(network: Fsre, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Depth z [H, W], metres, of an RGB picture [H, W, 3] of any size.

    It is shown to the network at the size of the video that it learned from; the camera must be
    that of the video.
    """
    sizes = check_shape(image, 'H W 3', 'image')
    device = network.size.device
    x = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None] / 255
    learned = int(network.size[0]), int(network.size[1])
    if all(learned) and learned != x.shape[2:]:
        x = F.interpolate(x, learned, mode='bilinear', antialias=True, align_corners=False)
    told = network(x).inverse_depths[0]
    size = sizes['H'], sizes['W']
    told = F.interpolate(told, size, mode='bilinear', align_corners=False)
    return (1 / told[0, 0]).cpu().numpy()


def shipped_encoder() -> LiteEncoder:
    """The encoder that ships with vloc, in evaluation mode."""
    encoder = LiteEncoder(norm=False)
    file = resources.files('vloc_models.weights') / 'encoder.safetensors'
    load_weights(encoder, file.read_bytes(), 'the encoder that ships with vloc')
    return encoder.eval()


def _start(trunk: nn.Module, config: FsreTraining) -> None:
    """Fill an encoder with what was learned elsewhere, where there is something."""
    if isinstance(trunk, LightTrunk):
        if config.pretrained:
            shipped = shipped_encoder()
            trunk.detail.load_state_dict(shipped.detail.state_dict())
            trunk.context.load_state_dict(shipped.context.state_dict())
    elif config.weights is not None:
        load_imagenet(trunk, config.weights, config.network.encoder)


def load_imagenet(trunk: nn.Module, path: Path, name: str) -> None:
    """Fill a ResNet with a state dict of torchvision's; ``name`` is the network's, for messages.

    Raises:
        VlocError: if the file is none of that network.
    """
    try:
        state: Any = torch.load(path, map_location='cpu', weights_only=True)
        trunk.load_state_dict(without_classifier(state))
    except Exception as e:  # torch raises anything for a file that is no state dict
        reason = next(iter(str(e).splitlines()), type(e).__name__)
        raise VlocError(
            f'{path}: no weights of {name}: {reason}', "name a state dict as torchvision's"
        ) from e


def _batch(
    video: Video,
    choices: Sequence[NDArray[np.int64]],
    config: FsreTraining,
    rng: np.random.Generator,
    device: str,
) -> _Batch:
    """Some pictures with some of their neighbours, mirrored and in other colours."""
    usable = np.array([i for i, others in enumerate(choices) if len(others)])
    chosen = rng.choice(usable, config.batch, replace=len(usable) < config.batch)
    count = config.neighbours.count
    others = np.stack([rng.choice(choices[i], count, len(choices[i]) < count) for i in chosen])
    mirrored = rng.random(config.batch) < config.flip_share
    numbers = np.concatenate([chosen[:, None], others], 1)  # [B, 1 + N]
    images, K = video.images[numbers], video.K[numbers]
    labels = None if video.labels is None else video.labels[chosen]
    T = np.broadcast_to(np.eye(4), (*others.shape, 4, 4)).copy()
    if video.T_map_cam is not None:
        T_cam_map = np.linalg.inv(video.T_map_cam[others])
        T = T_cam_map @ video.T_map_cam[chosen][:, None]
    hints = None if video.hints is None else video.hints[chosen]
    images, K, T = _mirror(mirrored, images, K, T)
    labels, hints = _flipped(mirrored, labels), _flipped(mirrored, hints)
    shown = images[:, 0].copy()
    for b in np.flatnonzero(rng.random(config.batch) < config.jitter_share):
        shown[b] = colour_jitter(shown[b], config.jitter, rng)

    def tensor(x: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(device)

    def picture(x: NDArray[np.uint8]) -> Tensor:
        return tensor(x).movedim(-1, -3) / 255

    near = Neighbours(picture(images[:, 1:]), tensor(K[:, 1:]).float(), tensor(T).float())
    return _Batch(
        picture(shown),
        picture(images[:, 0]),
        tensor(K[:, 0]).float(),
        near,
        tensor(others < chosen[:, None]),
        None if labels is None else tensor(labels),
        None if hints is None else tensor(hints),
    )


def _mirror(
    mirrored: NDArray[np.bool_],  # [B]
    images: NDArray[np.uint8],  # [B, 1 + N, H, W, 3]
    K: NDArray[np.float64],  # [B, 1 + N, 3, 3]
    T: NDArray[np.float64],  # [B, N, 4, 4]
) -> tuple[Any, Any, Any]:
    """Some of the samples as if the world were seen in a mirror: x becomes -x in every camera."""
    side = np.diag([-1.0, 1, 1, 1])
    K = K.copy()
    K[mirrored, :, 0, 2] = images.shape[3] - 1 - K[mirrored, :, 0, 2]
    images = np.where(mirrored[:, None, None, None, None], images[..., ::-1, :], images)
    T = np.where(mirrored[:, None, None, None], side @ T @ side, T)
    return images, K, T


def _flipped(mirrored: NDArray[np.bool_], pictures: NDArray[Any] | None) -> NDArray[Any] | None:
    """Pictures [B, H, W], some of them left to right."""
    if pictures is None:
        return None
    return np.where(mirrored[:, None, None], pictures[..., ::-1], pictures)


def _with_motion(batch: _Batch, motion: nn.Module) -> _Batch:
    """The batch with the motion that a network tells; it is always asked forwards in time."""
    found = []
    for n in range(batch.near.images.shape[1]):
        other, before = batch.near.images[:, n], batch.earlier[:, n]
        swap = before[:, None, None, None]
        T_later_earlier = motion(
            torch.where(swap, other, batch.images), torch.where(swap, batch.images, other)
        )
        turned = tensors.inverse(T_later_earlier)
        found.append(torch.where(before[:, None, None], turned, T_later_earlier))
    near = Neighbours(batch.near.images, batch.near.K, torch.stack(found, 1))
    return replace(batch, near=near)


def _loss(output: FsreOutput, batch: _Batch, config: FsreLoss) -> Tensor:
    """The sum of all losses, equation 8; scale s counts 1 / 2^s."""
    size = batch.images.shape[2:]
    still = losses.still_error(batch.images, batch.near, config)
    total = batch.images.new_zeros(())
    for s, told in enumerate(output.inverse_depths):
        full = F.interpolate(told, size, mode='bilinear', align_corners=False)
        warped = losses.reprojected(1 / full, batch.K, batch.near)
        smaller = F.avg_pool2d(batch.images, 2**s)
        photometric = losses.reprojection_loss(batch.images, warped, still, config)
        smooth = losses.smoothness_loss(told, smaller)
        total = total + (photometric + config.smooth * smooth) / 2**s
        if batch.hints is not None:
            total = total + config.hints * losses.hint_loss(full, batch.hints) / 2**s
    if batch.labels is not None and output.logits is not None and config.classes:
        total = total + config.classes * losses.class_loss(output.logits, batch.labels)
    if batch.labels is not None and config.triplet:
        for s, features in enumerate(output.features, 1):
            labels = losses.resized_labels(batch.labels, *features.shape[2:])
            part = losses.triplet_loss(features, labels, config)
            total = total + config.triplet * part / 2**s
    return total
