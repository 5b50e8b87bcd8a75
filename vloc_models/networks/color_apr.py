"""Colorization-aided absolute pose regression (arXiv 2107.00222): one picture, a coarse pose.

Two networks look at the same picture. C-Net learns to tell its colours from its lightness, for
which it has to know what is where in the place; L-Net sees the colours and learns the pose. What
both know at stride 16 is fused and attended to, and the pose regressed from it. C-Net's decoder
is for training only. The losses are in ``color_apr_losses.py``.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError
from vloc_models.geometry.tensors import quat_exp, quat_log, quat_multiply
from vloc_models.networks.ace import GREY_MEAN, GREY_STD
from vloc_models.networks.encoder import LiteEncoder
from vloc_models.networks.lab import lab
from vloc_models.networks.resnet import ResNet

Aux = Literal['colour', 'classes', 'none']
STRIDE = 16  # pictures must be multiples of it
_LUMA = (0.299, 0.587, 0.114)  # the grey that the light backbone was made for
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LOG_SIGMA = -7.0, 4.0  # bounds
_FIRST_LOG_SIGMA = -1.5  # 22 cm and 13 deg


@dataclass(frozen=True)
class ColorAprConfig:
    """The size of the network, and what it learns beside poses."""

    backbone: Literal['light', 'resnet50'] = 'light'
    """light: the layers of vloc's own encoder, minutes on a CPU; resnet50: as published."""
    aux: Aux = 'colour'
    """What C-Net learns: colours, classes (which must be recorded), or nothing: there is none."""
    classes: int = 15
    """For classes."""
    widths: tuple[int, ...] = (8, 16, 32, 64)
    """Of C-Net at strides 2, 4, 8, 16, which tells its task at half the size then; five: 1 too."""
    fused: int = 256
    """Channels after the fusion."""
    hidden: int = 256
    """Of the regressor."""
    dropout: float = 0.3
    """Share of the regressor's hidden values that are left out in training."""

    def __post_init__(self) -> None:
        if len(self.widths) not in (4, 5) or min(*self.widths, self.fused, self.hidden) < 1:
            raise VlocError(
                f'prior: widths {self.widths}, {self.fused} fused, {self.hidden} hidden',
                'give four or five positive widths, and positive sizes',
            )
        if not 2 <= self.classes <= 255 or not 0 <= self.dropout < 1:
            raise VlocError(
                f'prior: {self.classes} classes, dropout {self.dropout:g}',
                'give 2 to 255 classes, and a dropout of at least 0 and below 1',
            )

    @staticmethod
    def published(aux: Aux = 'colour') -> 'ColorAprConfig':
        """As in the paper; what it does not tell is chosen as for networks of its kind."""
        return ColorAprConfig('resnet50', aux, 15, (32, 64, 128, 256, 256), 2048, 2048, 0.5)


@dataclass(frozen=True, eq=False)
class PoseScale:
    """Where the poses of a place are: what is regressed is of about unit size relative to it."""

    centre: Tensor  # [3] metres, map
    spread: Tensor  # [3] metres
    turn: Tensor  # [4] x, y, z, w: the mean rotation


@dataclass(frozen=True, eq=False)
class ColorAprOutput:
    """What is told of a batch of pictures."""

    position: Tensor  # [B, 3] metres, map
    log_quat: Tensor  # [B, 3] of the rotation, seen from the place's mean rotation
    log_sigma: Tensor  # [B, 2] log of standard deviations of each axis: metres, radians
    task: Tensor | None  # [B, 2, h, w] a and b as shares of 110, or logits [B, classes, h, w]


class ColorApr(nn.Module):
    """Poses of pictures [B, 3, H, W] of 0..1, both sides multiples of 16."""

    centre: Tensor
    spread: Tensor
    turn: Tensor

    def __init__(self, config: ColorAprConfig, scale: PoseScale) -> None:
        super().__init__()
        self.config = config
        for name, values, size in (('centre', scale.centre, '3'), ('spread', scale.spread, '3')):
            check_shape(values, size, name)
            self.register_buffer(name, values.clone().float())
        check_shape(scale.turn, '4', 'turn')
        self.register_buffer('turn', scale.turn.clone().float())
        light = config.backbone == 'light'
        self.backbone = LightBackbone() if light else ResNet(50, dilated=True)
        channels, self.colour = self.backbone.widths[-1], None
        if config.aux != 'none':
            classes = config.classes if config.aux == 'classes' else 0
            self.colour = ColourNet(config.widths, classes)
            channels += config.widths[-1]
        fuse = nn.Conv2d(channels, config.fused, 1, bias=False)
        self.fuse = nn.Sequential(fuse, nn.BatchNorm2d(config.fused), nn.ReLU())
        hidden = nn.Linear(config.fused, config.hidden)
        self.regress = nn.Sequential(hidden, nn.ReLU(), nn.Dropout(config.dropout))
        self.position = nn.Linear(config.hidden, 3)
        self.log_quat = nn.Linear(config.hidden, 3)
        self.log_sigma = nn.Linear(config.hidden, 2)
        nn.init.constant_(self.log_sigma.bias, _FIRST_LOG_SIGMA)

    def forward(self, image: Tensor) -> ColorAprOutput:
        """All that is told; the task too unless the decoder was left out."""
        sizes = check_shape(image, 'B 3 H W', 'image')
        if sizes['H'] % STRIDE or sizes['W'] % STRIDE:
            raise VlocError(
                f'prior: pictures of {sizes["W"]}x{sizes["H"]}',
                f'bring both sides to a multiple of {STRIDE}',
            )
        seen, task = self.backbone(_normalised(image, self.config.backbone))[-1], None
        if self.colour is not None:
            maps = self.colour.encode(lab(image)[:, :1] / 50 - 1)
            seen = torch.cat([seen, maps[-1]], 1)
            task = self.colour.decode(maps)
        x = self.regress(attended(self.fuse(seen)).mean((2, 3)))
        position = self.centre + self.spread * self.position(x)
        log_sigma = self.log_sigma(x.detach()).clamp(*_LOG_SIGMA)  # poses learn nothing from it
        return ColorAprOutput(position, self.log_quat(x), log_sigma, task)

    def quat_xyzw(self, output: ColorAprOutput) -> Tensor:
        """The rotations in the map as unit quaternions [B, 4]; either sign."""
        return quat_multiply(self.turn.expand(len(output.log_quat), 4), quat_exp(output.log_quat))

    def log_of(self, quat_xyzw: Tensor) -> Tensor:
        """What ``log_quat`` should be of rotations in the map [B, 4]."""
        back = self.turn * self.turn.new_tensor([-1, -1, -1, 1])
        return quat_log(quat_multiply(back.expand(len(quat_xyzw), 4), quat_xyzw))

    def without_decoder(self) -> 'ColorApr':
        """Itself, and what only serves to learn is gone."""
        if self.colour is not None:
            self.colour.ups = nn.ModuleList()
        return self


def attended(fused: Tensor) -> Tensor:
    """Squeeze-and-excite by the maximum, a mask of the cells, and the sum with what was there.

    Args:
        fused: [B, C, h, w].
    """
    excited = fused.amax((2, 3), keepdim=True).sigmoid() * fused
    mask = excited.mean(1, keepdim=True).sigmoid()
    return fused + mask * fused


class LightBackbone(nn.Module):
    """The layers of vloc's own encoder on colours, the last stage dilated: 192 channels."""

    widths = (192,)

    def __init__(self) -> None:
        super().__init__()
        lite = LiteEncoder(norm=False)
        self.detail, self.context = lite.detail, lite.context
        first, deep = self.detail[0], list(self.context)[2:]
        assert isinstance(first, nn.Sequential)
        first[0] = nn.Conv2d(3, 16, 3, 2, 1)
        for number, block in enumerate(deep):
            assert isinstance(block, nn.Sequential)
            conv = block[0]
            assert isinstance(conv, nn.Conv2d)
            dilation = 2 if number else 1
            conv.stride, conv.padding, conv.dilation = (1, 1), (dilation,) * 2, (dilation,) * 2

    @torch.no_grad()
    def start_from(self, encoder: LiteEncoder) -> None:
        """Take the weights of an encoder of grey pictures; at first colours do not count."""
        detail = encoder.detail.state_dict()
        luma = torch.tensor(_LUMA)[None, :, None, None]
        self.detail.load_state_dict(detail | {'0.0.weight': detail['0.0.weight'] * luma})
        self.context.load_state_dict(encoder.context.state_dict())

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features [B, 192, H / 16, W / 16] of normalised pictures [B, 3, H, W]."""
        return (self.context(self.detail(x)),)


class ColourNet(nn.Module):
    """C-Net: a U-Net with four halvings and as many doublings; one less of four widths."""

    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        """To tell classes; or colours, where there are 0."""
        super().__init__()
        halved = len(widths) == 4
        self.downs = nn.ModuleList(
            nn.Sequential(
                _layer(before, width, 2 if halved and before == 1 else 1), _layer(width, width)
            )
            for before, width in pairwise((1, *widths))
        )
        self.ups = nn.ModuleList(
            nn.Sequential(_layer(deep + beside, beside), _layer(beside, beside))
            for deep, beside in pairwise(widths[::-1])
        )
        self.ups.append(nn.Conv2d(widths[0], classes or 2, 3, 1, 1))
        self.classes = classes

    def encode(self, light: Tensor) -> tuple[Tensor, ...]:
        """The maps of all stages of lightness [B, 1, H, W] of -1..1; the last is at stride 16."""
        maps, x = [], light
        for number, stage in enumerate(self.downs):
            x = stage(F.max_pool2d(x, 2) if number else x)
            maps.append(x)
        return tuple(maps)

    def decode(self, maps: tuple[Tensor, ...]) -> Tensor | None:
        """The task [B, C, h, w] in the size of the first map; None without a decoder."""
        if not len(self.ups):
            return None
        *ups, head = self.ups
        x = maps[-1]
        for up, beside in zip(ups, maps[-2::-1], strict=True):
            x = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)
            x = up(torch.cat([x, beside], 1))
        x = head(x)
        return x if self.classes else x.tanh()


def _layer(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


def _normalised(image: Tensor, backbone: str) -> Tensor:
    if backbone == 'light':
        return (image - GREY_MEAN) / GREY_STD
    mean, std = (image.new_tensor(x)[:, None, None] for x in _IMAGENET)
    return (image - mean) / std
