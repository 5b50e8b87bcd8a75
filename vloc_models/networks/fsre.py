"""FSRE-Depth (Jung et al., ICCV 2021, arXiv 2108.08829): depth and classes of one picture.

One encoder, two decoders that tell each other what they see (cross-task multi-embedding
attention, CMA), and, for videos without poses, a network for the motion between two pictures.
The losses are in ``fsre_losses.py``.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError
from vloc_models.geometry import tensors
from vloc_models.networks.ace import normalised
from vloc_models.networks.encoder import LiteEncoder
from vloc_models.networks.resnet import ResNet

EncoderName = Literal['light', 'resnet18', 'resnet50']
Widths = tuple[int, int, int, int, int]
COARSEST = 32  # pictures must be multiples of it
SCALES = 4  # at which depth is told: 1, 1/2, 1/4, 1/8
_ATTENDED = (4, 3, 2)  # the stages after which the decoders look at each other


@dataclass(frozen=True)
class FsreConfig:
    """The size of the network and the depths it can tell."""

    encoder: EncoderName = 'light'  # light: starts from vloc's own; as published: resnet18
    widths: Widths = (96, 64, 48, 32, 16)  # of the decoders at strides 16, 8, 4, 2 and 1
    classes: int = 16  # 0: no decoder for them
    attention: bool = True  # between the decoders
    heads: int = 4  # of the attention
    min_depth_m: float = 0.3  # nothing is told to be nearer
    max_depth_m: float = 10.0  # or further
    first_depth_m: float = 2.0  # told of everything before training

    def __post_init__(self) -> None:
        near, first, far = self.min_depth_m, self.first_depth_m, self.max_depth_m
        if not 0 < near < first < far:
            raise VlocError(
                f'depth: {near:g} m at least, {first:g} m at first, {far:g} m at most',
                'give three positive depths, the least first',
            )
        if not 0 <= self.classes <= 255 or min(*self.widths, self.heads) < 1:
            raise VlocError(
                f'depth: {self.classes} classes, widths {self.widths}, {self.heads} heads',
                'give 0 to 255 classes, and positive sizes',
            )
        if self.attention and not self.classes:
            raise VlocError(
                'depth: attention needs a decoder for classes', 'give classes, or no attention'
            )

    @staticmethod
    def published() -> 'FsreConfig':
        """As in the paper, for streets: 25.2 M parameters."""
        return FsreConfig('resnet18', (256, 128, 64, 32, 16), 19, True, 4, 0.1, 100.0, 0.2)


@dataclass(frozen=True, eq=False)
class FsreOutput:
    """What is told of a batch of pictures."""

    inverse_depths: tuple[Tensor, ...]  # [B, 1, H / 2^s, W / 2^s] 1/m, s = 0..3
    logits: Tensor | None  # [B, classes, H, W]
    features: tuple[Tensor, ...]  # the depth decoder's at s = 1, 2, 3, [B, C, H / 2^s, W / 2^s]

    @property
    def depth(self) -> Tensor:
        """[B, 1, H, W] metres, z."""
        return 1 / self.inverse_depths[0]


class Fsre(nn.Module):
    """Depth and classes of a picture; both sides multiples of 32."""

    size: Tensor

    def __init__(self, config: FsreConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config.encoder)
        self.depth = Decoder(self.encoder.widths, config.widths)
        self.heads = nn.ModuleList(_reflected(w, 1) for w in config.widths[:0:-1])
        span = 1 / config.min_depth_m - 1 / config.max_depth_m
        share = (1 / config.first_depth_m - 1 / config.max_depth_m) / span
        for head in self.heads:
            nn.init.constant_(head.get_parameter('1.bias'), math.log(share / (1 - share)))
        if config.classes:
            self.classes = Decoder(self.encoder.widths, config.widths)
            self.class_head = _reflected(config.widths[-1], config.classes)
        if config.attention:
            self.depth_attention, self.class_attention = (
                nn.ModuleList(Attention(config.widths[4 - i], config.heads) for i in _ATTENDED)
                for _ in range(2)
            )
        self.register_buffer('size', torch.zeros(2))

    def forward(self, image: Tensor) -> FsreOutput:
        """What pictures [B, 3, H, W], RGB of 0..1, show."""
        check_size(image)
        features = self.encoder(image)
        at_stage: list[Tensor] = []  # depth's features, stages 3 to 0
        x = y = features[-1]
        for i in range(4, -1, -1):
            x = self.depth.stage(i, x, features)
            if self.config.classes:
                y = self.classes.stage(i, y, features)
            if self.config.attention and i in _ATTENDED:
                n = _ATTENDED.index(i)
                x, y = self.depth_attention[n](x, y), self.class_attention[n](y, x)
            at_stage.append(x)
        shown = at_stage[:0:-1]  # stages 0 to 3
        told = tuple(self._told(h(x)) for h, x in zip(self.heads, shown, strict=True))
        logits = self.class_head(y) if self.config.classes else None
        return FsreOutput(told, logits, tuple(shown[1:]))

    def _told(self, x: Tensor) -> Tensor:
        """Inverse depth of a head's output."""
        far, near = 1 / self.config.max_depth_m, 1 / self.config.min_depth_m
        return far + (near - far) * torch.sigmoid(x)


class Decoder(nn.Module):
    """Five stages up; stage i has ``widths[4 - i]`` channels and the resolution H / 2^i."""

    def __init__(self, in_widths: tuple[int, ...], widths: Widths) -> None:
        super().__init__()
        before = (in_widths[-1], *widths[:-1])
        beside = (*in_widths[-2::-1], 0)
        self.first = nn.ModuleList(_elu(b, w) for b, w in zip(before, widths, strict=True))
        self.second = nn.ModuleList(_elu(w + s, w) for w, s in zip(widths, beside, strict=True))

    def stage(self, i: int, x: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Stage i, of what came before and the encoder's features."""
        x = F.interpolate(self.first[4 - i](x), scale_factor=2.0, mode='nearest')
        if i:
            x = torch.cat([x, features[i - 1]], 1)
        return self.second[4 - i](x)


class Attention(nn.Module):
    """What one decoder takes over of what the other sees in the same place (CMA, section 3.3).

    Each pixel is embedded in several ways (heads); the weights are over these, not over space.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.head_count, self.inner = heads, 2 * channels
        self.query, self.key, self.value = (
            nn.Conv2d(channels, heads * self.inner, 1) for _ in range(3)
        )
        self.out = nn.Sequential(
            nn.Conv2d(self.inner, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.merge = nn.Sequential(_elu(2 * channels, channels), nn.Conv2d(channels, channels, 1))

    def forward(self, target: Tensor, reference: Tensor) -> Tensor:
        """``target`` [B, C, H, W] with what it takes over of ``reference``."""
        check_shape(target, 'B C H W', 'target', **check_shape(reference, 'B C H W'))
        value = self.value(target).unflatten(1, (self.head_count, self.inner))
        taken = (self.weights(target, reference)[:, :, None] * value).sum(1)
        return self.merge(torch.cat([target, self.out(taken)], 1))

    def weights(self, target: Tensor, reference: Tensor) -> Tensor:
        """Of the heads at each pixel [B, heads, H, W]; their sum is 1."""
        split = self.head_count, self.inner
        query = self.query(reference).unflatten(1, split)
        key = self.key(target).unflatten(1, split)
        alike = (query * key).sum(2) / math.sqrt(self.head_count * self.inner)
        return alike.softmax(1)


class LightTrunk(nn.Module):
    """The layers of vloc's own encoder, as features at five strides; colours do not count."""

    widths = (16, 32, 96, 128, 192)

    def __init__(self) -> None:
        super().__init__()
        lite = LiteEncoder(norm=False)
        self.detail, self.context = lite.detail, lite.context

    def forward(self, grey: Tensor) -> tuple[Tensor, ...]:
        """Features [B, widths[i], H / 2^(i+1), W / 2^(i+1)] of normalised grey pictures."""
        taken, x = [], grey
        for number, layer in enumerate((*self.detail, *self.context)):
            x = layer(x)
            if number in (0, 2, 6, 8, 11):
                taken.append(x)
        return tuple(taken)


class RgbEncoder(nn.Module):
    """A trunk that takes one RGB picture, or several side by side, of 0..1."""

    def __init__(self, trunk: LightTrunk | ResNet) -> None:
        super().__init__()
        self.trunk, self.widths = trunk, trunk.widths

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Features at strides 2, 4, 8, 16, 32 of pictures [B, 3 n, H, W]."""
        if isinstance(self.trunk, LightTrunk):
            weights = image.new_tensor([0.299, 0.587, 0.114])[:, None, None]
            grey = (image.unflatten(1, (-1, 3)) * weights).sum(2)
            return self.trunk(normalised(255 * grey))
        return self.trunk((image - 0.45) / 0.225)


def make_encoder(name: EncoderName) -> RgbEncoder:
    """An encoder of one picture, at random."""
    if name == 'light':
        return RgbEncoder(LightTrunk())
    return RgbEncoder(ResNet(18 if name == 'resnet18' else 50))


class PoseNetwork(nn.Module):
    """The motion between two pictures: an encoder of both together and four convolutions."""

    def __init__(self, encoder: RgbEncoder) -> None:
        """From an encoder of one picture, whose first layer is laid out for two."""
        super().__init__()
        self.encoder = encoder
        widen_first(encoder)
        self.head = nn.Sequential(
            nn.Conv2d(encoder.widths[-1], 256, 1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(256, 6, 1),
        )

    def forward(self, earlier: Tensor, later: Tensor) -> Tensor:
        """``T_later_earlier`` [B, 4, 4] of pictures [B, 3, H, W] of 0..1, of no known scale."""
        check_shape(later, 'B 3 H W', 'later', **check_shape(earlier, 'B 3 H W'))
        deepest = self.encoder(torch.cat([earlier, later], 1))[-1]
        motion = 0.01 * self.head(deepest).mean((2, 3))
        return tensors.rigid(motion[:, :3], motion[:, 3:])


def widen_first(encoder: RgbEncoder) -> None:
    """Let the first layer take two pictures and answer as before where they are equal."""
    trunk = encoder.trunk
    conv = trunk.conv1 if isinstance(trunk, ResNet) else trunk.detail.get_submodule('0.0')
    assert isinstance(conv, nn.Conv2d)
    conv.in_channels *= 2
    conv.weight = nn.Parameter(conv.weight.detach().repeat(1, 2, 1, 1) / 2)


def check_size(image: Tensor) -> None:
    """Check pictures [B, 3, H, W].

    Raises:
        VlocError: unless both sides are multiples of 32, and at least 64.
    """
    sizes = check_shape(image, 'B 3 H W', 'image')
    height, width = sizes['H'], sizes['W']
    if height % COARSEST or width % COARSEST or min(height, width) < 2 * COARSEST:
        raise VlocError(
            f'depth: pictures of {width}x{height}',
            f'give ones of which both sides are multiples of {COARSEST}, from {2 * COARSEST} on',
        )


def _reflected(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 convolution that sees the picture mirrored beyond its border."""
    return nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(in_channels, out_channels, 3))


def _elu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(_reflected(in_channels, out_channels), nn.ELU())
