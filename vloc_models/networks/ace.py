"""ACE, Accelerated Coordinate Encoding (Brachmann et al., CVPR 2023, arXiv 2305.14059).

A fixed encoder turns a grey picture into a vector for each 8x8 cell; a small head, which is the
map, turns each vector into the map point that the cell's centre shows.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.checks import check_shape
from vloc_models.geometry import tensors

GREY_MEAN, GREY_STD = 0.4, 0.25  # of pixels in 0..1
STRIDE = 8


def normalised(grey: Tensor) -> Tensor:
    """Grey pictures of 0..255 as the encoders want them."""
    return (grey.float() / 255 - GREY_MEAN) / GREY_STD


class PublishedEncoder(nn.Module):
    """The paper's encoder: 5,568,000 parameters, 512 channels, receptive field 81 px.

    Layer names are those of the published state dict, so that a user can load one.
    """

    channels = 512

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 2, 1)
        self.conv3 = nn.Conv2d(64, 128, 3, 2, 1)
        self.conv4 = nn.Conv2d(128, 256, 3, 2, 1)
        self.res1_conv1 = nn.Conv2d(256, 256, 3, 1, 1)
        self.res1_conv2 = nn.Conv2d(256, 256, 1, 1, 0)
        self.res1_conv3 = nn.Conv2d(256, 256, 3, 1, 1)
        self.res2_conv1 = nn.Conv2d(256, 512, 3, 1, 1)
        self.res2_conv2 = nn.Conv2d(512, 512, 1, 1, 0)
        self.res2_conv3 = nn.Conv2d(512, 512, 3, 1, 1)
        self.res2_skip = nn.Conv2d(256, 512, 1, 1, 0)

    def forward(self, grey: Tensor) -> Tensor:
        """Features [B, 512, h, w] of normalised grey pictures [B, 1, H, W]."""
        check_shape(grey, 'B 1 H W', 'grey')
        x = grey
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(conv(x))
        y = x
        for conv in (self.res1_conv1, self.res1_conv2, self.res1_conv3):
            y = F.relu(conv(y))
        x = y = x + y
        for conv in (self.res2_conv1, self.res2_conv2, self.res2_conv3):
            y = F.relu(conv(y))
        return self.res2_skip(x) + y


@dataclass(frozen=True)
class HeadConfig:
    """The size of a head."""

    in_channels: int = 512  # the encoder's; vloc map sets it
    width: int = 512  # of the hidden layers
    extra_blocks: int = 1  # residual blocks of three layers after the first
    min_scale: float = 0.01  # bounds of the homogeneous scale
    max_scale: float = 4.0  # the other bound


@dataclass(frozen=True, eq=False)
class Whitening:
    """Brings features to zero mean and, where they vary enough, unit uncorrelated variance."""

    mean: Tensor  # [C]
    matrix: Tensor  # [C, C]

    @staticmethod
    def of(features: Tensor) -> 'Whitening':
        """From some features [N, C]; the numbers are exact in half floats."""
        check_shape(features, 'N C', 'features')
        mean = features.mean(0)
        variances, axes = torch.linalg.eigh(torch.cov(features.T))
        damping = 0.01 * variances.mean() + 1e-12  # or dead channels would become noise
        matrix = axes / (variances.clamp(min=0) + damping).sqrt() @ axes.T
        return Whitening(mean.half().float(), matrix.half().float())


class Head(nn.Module):
    """Scene coordinates from features, every cell on its own (the paper's 1x1 convolutions).

    2,103,300 parameters at the published width. ``centre`` [3], metres, is added to the output:
    the mean of the mapping cameras' centres. Features are whitened first (not in the paper): what
    tells two cells apart lies in directions in which features vary little.
    """

    centre: Tensor
    mean: Tensor
    whiten: Tensor

    def __init__(
        self, config: HeadConfig, centre: Tensor, whitening: 'Whitening | None' = None
    ) -> None:
        super().__init__()
        check_shape(centre, '3', 'centre')
        channels = config.in_channels
        whitening = whitening or Whitening(torch.zeros(channels), torch.eye(channels))
        self.config = config
        width = config.width
        blocks = [_block(config.in_channels, width)]
        blocks += [_block(width, width) for _ in range(config.extra_blocks)]
        self.blocks = nn.ModuleList(blocks)
        same = config.in_channels == width
        self.skip = nn.Identity() if same else nn.Linear(config.in_channels, width)
        self.fc1, self.fc2 = nn.Linear(width, width), nn.Linear(width, width)
        self.fc3 = nn.Linear(width, 4)
        self.register_buffer('centre', centre.clone().float())
        self.register_buffer('mean', whitening.mean.clone())
        self.register_buffer('whiten', whitening.matrix.clone())

    def forward(self, features: Tensor) -> Tensor:
        """Map points [N, 3], metres, of the features [N, C] of any cells."""
        check_shape(features, 'N C', 'features', C=self.config.in_channels)
        features = (features - self.mean) @ self.whiten
        x = self.skip(features) + self.blocks[0](features)
        for block in self.blocks[1:]:
            x = x + block(x)
        x = self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))
        scale = homogeneous_scale(x[:, 3:].float(), self.config)
        return x[:, :3].float() / scale + self.centre


def homogeneous_scale(w: Tensor, config: HeadConfig) -> Tensor:
    """The fourth output as the divisor of the first three; 1 where the output is 0.

    Softplus with a sharpness that puts h(0) at 1, shifted so that the inverse scale lies in
    [1 / max_scale, 1 / min_scale].
    """
    beta = math.log(2) / (1 - 1 / config.max_scale)
    h = F.softplus(w, beta=beta) + 1 / config.max_scale
    return h.clamp(max=1 / config.min_scale)


def _block(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(3):
        layers += [nn.Linear(channels if i == 0 else width, width), nn.ReLU()]
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class LossConfig:
    """The reprojection loss."""

    soft_px: float = 50.0  # the curriculum starts with errors up to about this
    final_px: float = 1.0  # and ends with these
    hard_px: float = 1000.0  # beyond it a point is invalid
    min_depth_m: float = 0.1  # nearer points are invalid
    max_depth_m: float = 1000.0  # further ones too
    proxy_depth_m: float = 10.0  # where invalid points are drawn to, along their pixel's ray


def tolerance_px(progress: float, config: LossConfig) -> float:
    """The curriculum's width ("dyntanh", circle schedule); ``progress`` runs from 0 to 1."""
    return config.soft_px * math.sqrt(max(0.0, 1 - progress**2)) + config.final_px


def reprojection_loss(
    points: Tensor,  # [N, 3] predicted, map frame, metres
    pixels: Tensor,  # [N, 2] where the camera saw them
    T_cam_map: Tensor,  # [N, 4, 4]
    K: Tensor,  # [N, 3, 3]
    progress: float,
    config: LossConfig,
) -> Tensor:
    """The mean loss of a batch of cells.

    Valid points: ``tau tanh(e / tau)`` of the L1 pixel error e. Invalid ones (behind the camera,
    too far, or off by more than ``hard_px``): the L1 distance to a point at ``proxy_depth_m``
    on the pixel's ray.
    """
    sizes = check_shape(points, 'N 3', 'points')
    check_shape(pixels, 'N 2', 'pixels', **sizes)
    check_shape(T_cam_map, 'N 4 4', 'T_cam_map', **sizes)
    check_shape(K, 'N 3 3', 'K', **sizes)
    in_camera = tensors.apply(T_cam_map, points[:, None])
    seen = tensors.project(K, in_camera, config.min_depth_m)[:, 0]
    error = (seen - pixels).abs().sum(1)
    z = in_camera[:, 0, 2]
    invalid = (z < config.min_depth_m) | (z > config.max_depth_m) | (error > config.hard_px)
    tau = tolerance_px(progress, config)
    proxy = config.proxy_depth_m * tensors.unproject(K, pixels[:, None])[:, 0]
    pull = (proxy - in_camera[:, 0]).abs().sum(1)
    return torch.where(invalid, pull, tau * torch.tanh(error / tau)).mean()


def measured_loss(
    points: Tensor,  # [N, 3] predicted, map frame, metres
    measured: Tensor,  # [N, 3] where depth puts them; NaN where it is not known
    pixels: Tensor,  # [N, 2] where the camera saw them
    T_cam_map: Tensor,  # [N, 4, 4]
    K: Tensor,  # [N, 3, 3]
    progress: float,
    config: LossConfig,
) -> Tensor:
    """The mean loss ``tau log(1 + e / tau)`` against measured points (not in the paper).

    The distance e is told in pixels, as if all of it were across the ray, so that one tolerance
    serves both losses. Unlike tanh the logarithm never lets go: in a place of several rooms all
    points are far off at first.
    """
    sizes = check_shape(points, 'N 3', 'points')
    check_shape(measured, 'N 3', 'measured', **sizes)
    known = measured.isfinite().all(1)
    there = torch.where(known[:, None], measured, points.detach())
    z = tensors.apply(T_cam_map, there[:, None])[:, 0, 2].clamp(min=config.min_depth_m)
    error = (points - there).abs().sum(1) * K[:, 0, 0] / z
    tau = tolerance_px(progress, config)
    return torch.where(known, tau * torch.log1p(error / tau), torch.zeros_like(error)).mean()
