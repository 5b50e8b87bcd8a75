"""HSCNet on our encoder's features, every cell on its own; small enough to train on a CPU.

The structure is the published one (networks/hscnet.py): a region, then a part of it given that,
then the rest of the way to the point given both. The encoder, which is trained already and sees
far, stands in for the trunk and for the wide receptive fields.

With ``images`` it is the paper's sparse variant: every answer is conditioned on a picture of the
map too, by its number: in training the picture itself, later one that looks alike.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError
from vloc_models.networks.ace import Whitening
from vloc_models.networks.blocks import CellBranch, conv, init_xavier, one_hot
from vloc_models.networks.hscnet import HscnetOutput


@dataclass(frozen=True)
class HscnetLiteConfig:
    """The size of a network, and which of its parts there are."""

    in_channels: int = 128  # the encoder's; vloc map sets it
    branching: tuple[int, ...] = (25, 25)  # labels of each level, of the first in all scenes
    width: int = 256  # of the layers that all answers share
    classifier: tuple[int, ...] = (128, 128)  # hidden layers of each level
    regressor: tuple[int, ...] = (256, 256)  # likewise; none: answers are the parts' centres
    generator: tuple[int, ...] = (64, 128)  # from what is known of a cell to a code
    images: int = 0  # of the sparse variant; 0: not conditioned on a picture
    image_code: int = 64  # numbers that a picture is told as
    conditioned: bool = True  # False: no level knows what those above it told

    def __post_init__(self) -> None:
        if not self.branching or min(self.branching) < 2:
            raise VlocError(
                f'hscnet: levels of {list(self.branching)} labels', 'give each two or more'
            )


class HscnetLite(nn.Module):
    """Labels and map points of cells, 0.75 M parameters.

    ``centre`` [leaves, 3], metres in the map, are the centres of the parts, those of a region in
    a row. Features are whitened first, as in ACE's head.
    """

    centre: Tensor
    mean: Tensor
    whiten: Tensor

    def __init__(
        self, config: HscnetLiteConfig, centre: Tensor, whitening: Whitening | None = None
    ) -> None:
        super().__init__()
        leaves = int(torch.tensor(config.branching).prod())
        check_shape(centre, f'{leaves} 3', 'centre')
        self.config = config
        channels, width = config.in_channels, config.width
        whitening = whitening or Whitening(torch.zeros(channels), torch.eye(channels))
        self.enter = conv(channels, width, 1)
        self.trunk = nn.ModuleList(
            nn.Sequential(conv(width, width, 1), conv(width, width, 1)) for _ in range(2)
        )
        levels = range(len(config.branching))
        self.levels = nn.ModuleList(
            CellBranch(width, config.classifier, k, self._generator(level))
            for level, k in zip(levels, config.branching, strict=True)
        )
        self.regressor = None
        if config.regressor:
            self.regressor = CellBranch(width, config.regressor, 3, self._generator(len(levels)))
        init_xavier(self)
        self.image_code = nn.Embedding(config.images, config.image_code) if config.images else None
        self.register_buffer('centre', centre.clone().float())
        self.register_buffer('mean', whitening.mean.clone())
        self.register_buffer('whiten', whitening.matrix.clone())

    def _generator(self, level: int) -> tuple[int, ...]:
        """Widths from what is known at a level to its code; () where nothing is."""
        c = self.config
        known = sum(c.branching[:level]) if c.conditioned else 0
        known += c.image_code if c.images else 0
        return (known, *c.generator) if known else ()

    def forward(
        self, features: Tensor, labels: Tensor | None = None, image: Tensor | None = None
    ) -> HscnetOutput:
        """What the cells of features [B, C, h, w] show.

        Args:
            features: of the encoder.
            labels: true labels [B, L, h, w] to condition on, in training; without them each level
                is conditioned on the likeliest of those before it.
            image: numbers [B, h, w] of pictures of the map, for the sparse variant.
        """
        sizes = check_shape(features, 'B C h w', 'features', C=self.config.in_channels)
        grid = {axis: sizes[axis] for axis in 'Bhw'}
        if labels is not None:
            check_shape(labels, f'B {len(self.levels)} h w', 'labels', **grid)
        x = (features - self.mean[:, None, None]).movedim(1, 3) @ self.whiten
        x = self.enter(x.movedim(3, 1))
        for block in self.trunk:
            x = x + block(x)
        known = [x[:, :0]]
        if self.image_code is not None:
            assert image is not None
            check_shape(image, 'B h w', 'image', **grid)
            known.append(self.image_code(image).movedim(3, 1))
        logits, path = list[Tensor](), list[Tensor]()
        for level, count in zip(self.levels, self.config.branching, strict=True):
            logits.append(level(x, torch.cat(known, 1)))
            path.append(logits[-1].argmax(1) if labels is None else labels[:, len(path)])
            if self.config.conditioned:
                known.append(one_hot(path[-1], count, x.dtype))
        residual = None
        if self.regressor is not None:
            residual = self.regressor(x, torch.cat(known, 1))
        return HscnetOutput(tuple(logits), torch.stack(path, 1), residual)

    def points(self, output: HscnetOutput) -> Tensor:
        """Map points [B, 3, h, w], metres."""
        leaf = torch.zeros_like(output.labels[:, 0])
        for level, count in enumerate(self.config.branching):
            leaf = leaf * count + output.labels[:, level].clamp(min=0)
        centre = self.centre[leaf].movedim(3, 1)
        return centre if output.residual is None else output.residual.float() + centre

    def sure(self, output: HscnetOutput) -> Tensor:
        """The likelihood [B, 1, h, w] of the labels that were likeliest."""
        sure = torch.ones_like(output.logits[0][:, :1])
        for logits in output.logits:
            sure = sure * logits.float().softmax(1).amax(1, keepdim=True)
        return sure
