"""DASGIL (Hu et al., TIP 2021, arXiv 2010.00573): what a picture shows, for finding its place.

One small encoder learns to tell depth and classes; its features in the middle are what pictures
are compared by. The two decoders are for training only. The discriminators, which make real
pictures' features look as synthetic ones', are in ``dasgil_discriminators.py``; the losses in
``dasgil_losses.py``.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError

LAYERS = 8
COARSEST = 2**LAYERS  # pictures must be multiples of it
SCALES = 4  # at which depth is told: 1, 1/2, 1/4, 1/8
Maps = tuple[Tensor, ...]  # of the layers: [B, C, H / 2^i, W / 2^i], i = 1..8


@dataclass(frozen=True)
class DasgilConfig:
    """The size of the network, and what it learns beside places."""

    width: int = 8  # channels of the first layer; four layers on there are eight times as many
    depth: bool = True
    classes: int = 15  # 0: none are learned

    def __post_init__(self) -> None:
        if self.width < 1 or not 0 <= self.classes <= 255:
            raise VlocError(
                f'dasgil: a width of {self.width}, {self.classes} classes',
                'give a positive width and 0 to 255 classes',
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the layers."""
        return tuple(self.width * min(2**i, 8) for i in range(LAYERS))


@dataclass(frozen=True, eq=False)
class DasgilOutput:
    """What is told of a batch of pictures."""

    maps: Maps
    depths: tuple[Tensor, ...]  # [B, 1, H / 2^s, W / 2^s] metres, s = 3..0; none without depth
    logits: Tensor | None  # [B, classes, H, W]

    def full(self) -> 'DasgilOutput':
        """In full precision, as losses want it."""
        maps, depths = (tuple(x.float() for x in some) for some in (self.maps, self.depths))
        return DasgilOutput(maps, depths, None if self.logits is None else self.logits.float())


class Dasgil(nn.Module):
    """Encoder and decoders; both sides of pictures multiples of 256."""

    def __init__(self, config: DasgilConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.encoder = DasgilEncoder(config.widths)
        if config.depth:
            last = 4 * w, 2 * w, w, 1
            self.depth = Decoder(config.widths, last)
            self.depth_heads = nn.ModuleList(_depth_head(c) for c in last)
        if config.classes:
            self.classes = Decoder(config.widths, (4 * w, 4 * w, 4 * w, 4 * w))
            self.class_head = nn.Sequential(
                nn.Conv2d(4 * w, 4 * w, 3, 1, 1, padding_mode='reflect'),
                nn.ReLU(),
                nn.Conv2d(4 * w, config.classes, 1),
            )
        self.apply(start_small)

    def forward(self, image: Tensor) -> DasgilOutput:
        """What pictures [B, 3, H, W], RGB of 0..1, show."""
        maps = self.encoder(image)
        depths, logits = (), None
        if self.config.depth:
            told = zip(self.depth_heads, self.depth(maps), strict=True)
            depths = tuple(head(x) for head, x in told)
        if self.config.classes:
            logits = self.class_head(self.classes(maps)[-1])
        return DasgilOutput(maps, depths, logits)


class DasgilEncoder(nn.Module):
    """Eight layers, each half the size: convolution 4x4; normalised but for the first and last."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.layers = nn.ModuleList()
        for number, (before, width) in enumerate(pairwise((3, *widths))):
            layer: list[nn.Module] = [nn.LeakyReLU(0.2)] if number else []
            layer.append(nn.Conv2d(before, width, 4, 2, 1))
            if 0 < number < LAYERS - 1:
                layer.append(nn.BatchNorm2d(width))
            self.layers.append(nn.Sequential(*layer))

    def forward(self, image: Tensor, most: int = LAYERS) -> Maps:
        """The first ``most`` maps of pictures [B, 3, H, W], RGB of 0..1."""
        sizes = check_shape(image, 'B 3 H W', 'image')
        if sizes['H'] % 2**most or sizes['W'] % 2**most:
            raise VlocError(
                f'dasgil: pictures of {sizes["W"]}x{sizes["H"]}',
                f'bring both sides to a multiple of {2**most}',
            )
        layers, first = self.layers[:most], 2 * image - 1
        every = accumulate(layers, lambda x, layer: layer(x), initial=first)
        return tuple(every)[1:]


class Decoder(nn.Module):
    """Eight steps up, each twice the size and beside the encoder's map of that size."""

    def __init__(self, encoder_widths: tuple[int, ...], last: tuple[int, int, int, int]) -> None:
        super().__init__()
        beside = (*encoder_widths[-2::-1], 0)
        widths = (*encoder_widths[:3:-1], *last)
        before = (
            encoder_widths[-1],
            *(w + b for w, b in zip(widths[:-1], beside[:-1], strict=True)),
        )
        self.steps = nn.ModuleList()
        for number, (i, o) in enumerate(zip(before, widths, strict=True)):
            step: list[nn.Module] = [nn.ReLU(), nn.ConvTranspose2d(i, o, 4, 2, 1)]
            if number < LAYERS - 1:
                step.append(nn.BatchNorm2d(o))
            self.steps.append(nn.Sequential(*step))

    def forward(self, maps: Maps) -> tuple[Tensor, ...]:
        """The last four steps' [B, C, H / 2^s, W / 2^s], s = 3..0."""
        x, told = maps[-1], []
        for step, beside in zip(self.steps, (*maps[-2::-1], None), strict=True):
            told.append(x := step(x))
            if beside is not None:
                x = torch.cat([x, beside], 1)
        return tuple(told[-SCALES:])


def _depth_head(channels: int) -> nn.Sequential:
    layer = nn.Conv2d(channels, 1, 3, 1, 1, padding_mode='reflect')
    return nn.Sequential(layer, nn.LeakyReLU(0.2))


def start_small(module: nn.Module) -> None:
    """First weights as published: N(0, 0.02), no bias; to be used with ``nn.Module.apply``."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def flat(maps: Maps) -> Tensor:
    """All values of maps side by side [B, N]."""
    return torch.cat([m.flatten(1) for m in maps], 1)
