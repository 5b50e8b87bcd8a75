"""HSCNet, hierarchical scene coordinates (Li et al., CVPR 2020, arXiv 1909.06216).

For each 8x8 cell of a colour picture: which region of the place it shows, which part of that
region, and how far the point is from the part's centre. Each answer is conditioned on those
before it, cell by cell, so that the first may look far around and the last only close by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError
from vloc_models.networks.blocks import (
    Activation,
    CellBranch,
    Up,
    conv,
    dilated_down,
    init_xavier,
    one_hot,
)

STRIDE = 8
_TRUNK_STRIDES = (1, 2, 2, 1, 2, 1, 1, 1)


def centred(rgb: Tensor) -> Tensor:
    """Colours of 0..255 as the network wants them, -1..1."""
    return rgb.float() / 127.5 - 1


@dataclass(frozen=True)
class Widths:
    """Channels of the layers; the names in brackets are the published code's."""

    context: int  # of all layers between the trunk and the classifiers but for
    deepest: int  # the one at stride 32 (dsconv2)
    coarse: tuple[int, ...]  # of the coarse classifier (convc5, convc6)
    fine: tuple[int, ...]  # of the fine classifier (convc2, convc3)
    fine_generator: tuple[int, ...]  # from the coarse label, to the code of the fine classifier
    regressor_generator: tuple[int, ...]  # from both labels, to the code of the regressor
    trunk: tuple[int, ...] = (64, 128, 128, 256, 256, 512, 512, 512)  # (conv1a to conv4c)

    def __post_init__(self) -> None:
        if len(self.trunk) != len(_TRUNK_STRIDES):
            raise VlocError(
                f'hscnet: a trunk of {len(self.trunk)} layers',
                f'give {len(_TRUNK_STRIDES)} widths',
            )


ONE_SCENE = Widths(128, 256, (128, 64), (128, 64), (32, 64, 128), (50, 64, 128, 256, 512))
TO_7_SCENES = Widths(
    context=256,
    deepest=256,
    coarse=(256, 128),
    fine=(256, 128),
    fine_generator=(128, 128, 128, 256, 256),
    regressor_generator=(128, 128, 128, 256, 512),
)
MORE_SCENES = Widths(
    context=256,
    deepest=256,
    coarse=(256, 256),
    fine=(256, 128),
    fine_generator=(256, 128, 128, 256, 256),
    regressor_generator=(256, 128, 128, 256, 512),
)


@dataclass(frozen=True)
class HscnetConfig:
    """Which of the published networks; the defaults are HSCNet of a single scene."""

    branching: tuple[int, int] = (25, 25)  # regions of a scene, parts of a region
    scenes: int = 1  # in one network: each has its own regions
    classified: bool = True  # False: regress the map point at once, with ReLU (SCRNet)
    conditioned: bool = True  # False: no answer knows of those before it
    # what a cell sees: coarse 409 px, fine 185 px, regressor 73 px; far: 409 px each, near: 73 px
    sight: Literal['published', 'far', 'near'] = 'published'
    regressor: tuple[int, ...] = (4096, 4096)  # hidden layers; none: answers are parts' centres
    widths: Widths | None = None  # of the other layers; None: as published for so many scenes

    def __post_init__(self) -> None:
        if min(*self.branching, self.scenes) < 1:
            raise VlocError(
                f'hscnet: {self.scenes} scenes of {self.branching} regions', 'give at least one'
            )
        if not self.classified and not self.regressor:
            raise VlocError('hscnet: neither classes nor a regressor', 'choose one of them')
        if not self.classified and self.sight != 'published':
            raise VlocError('hscnet: without classes a cell sees 73 pixels', 'leave out sight')

    @property
    def classes(self) -> tuple[int, ...]:
        """Of each level: regions of all scenes together, and parts of each."""
        coarse, fine = self.branching
        return (coarse * self.scenes, fine) if self.classified else ()

    @property
    def leaves(self) -> int:
        """Parts of all regions of all scenes; 1, the whole place, without classes."""
        return self.classes[0] * self.classes[1] if self.classified else 1

    @property
    def generators(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Widths from the labels to the code of fine classifier and regressor; () for none."""
        if not (self.classified and self.conditioned):
            return (), ()
        coarse, fine = self.classes
        widths = self.layers
        return (coarse, *widths.fine_generator), (coarse + fine, *widths.regressor_generator)

    @property
    def layers(self) -> Widths:
        """The widths given, or those published."""
        published = {1: ONE_SCENE, **dict.fromkeys(range(2, 8), TO_7_SCENES)}
        return self.widths or published.get(self.scenes, MORE_SCENES)


# The paper's networks and ablations. Of the last four we know but words ("smaller regressor, more
# conditioning layers", "bigger regression-only net"): the layers that make them true are ours.
VARIANTS = {
    'hscnet': HscnetConfig(),
    'i7': HscnetConfig(scenes=7),
    'i12': HscnetConfig(scenes=12),
    'i19': HscnetConfig(scenes=19),
    'scrnet': HscnetConfig(classified=False),
    'unconditioned': HscnetConfig(conditioned=False),
    'classes only': HscnetConfig(regressor=()),
    'rf+': HscnetConfig(sight='far'),
    'rf-': HscnetConfig(sight='near'),
    'capacity-': HscnetConfig(regressor=(512,) * 4),
    'capacity+': HscnetConfig(classified=False, regressor=(4096,) * 3),
}


@dataclass(frozen=True, eq=False)
class HscnetOutput:
    """What the network says of each cell."""

    logits: tuple[Tensor, ...]  # [B, K, h, w] of each level
    labels: Tensor  # [B, L, h, w] of each level: as given, or the likeliest
    residual: Tensor | None  # [B, 3, h, w] metres, from the part's centre; None without regressor


class Hscnet(nn.Module):
    """36.96 M parameters as published for one scene, 25.90 M without classes (SCRNet).

    ``centre`` [leaves, 3], metres in the map, are the centres of the parts, those of a region in
    a row; without classes the one centre of the place.
    """

    centre: Tensor

    def __init__(self, config: HscnetConfig, centre: Tensor) -> None:
        super().__init__()
        check_shape(centre, f'{config.leaves} 3', 'centre')
        self.config = config
        self.register_buffer('centre', centre.clone().float())
        widths, activation = config.layers, nn.ELU if config.classified else nn.ReLU
        self.trunk = _trunk(widths.trunk, activation)
        self.context, sees = None, (0, 0, widths.trunk[-1])
        fine_generator, regressor_generator = config.generators
        if config.classified:
            self.context = _Context(widths, config.sight)
            sees = self.context.channels
            coarse, fine = config.classes
            self.coarse = CellBranch(sees[0], widths.coarse, coarse)
            self.fine = CellBranch(sees[1], widths.fine, fine, fine_generator)
        self.regressor = None
        if config.regressor:
            self.regressor = CellBranch(
                sees[2], config.regressor, 3, regressor_generator, activation
            )
        init_xavier(self)

    def forward(self, image: Tensor, labels: Tensor | None = None) -> HscnetOutput:
        """What the cells of pictures [B, 3, H, W], RGB in [-1, 1], show.

        Each cell answers for the centre of its 8x8 pixels; h and w are an eighth, rounded up.

        Args:
            image: the pictures.
            labels: true labels [B, L, h, w] to condition on, -1 where there is none, in training;
                without them each level is conditioned on the likeliest of those before it.
        """
        check_shape(image, 'B 3 H W', 'image')
        features = self.trunk(image)
        B, _, h, w = features.shape
        if labels is not None:
            check_shape(labels, f'B {len(self.config.classes)} h w', 'labels', B=B, h=h, w=w)
        if self.context is None:
            assert self.regressor is not None
            none = torch.zeros(B, 0, h, w, dtype=torch.long, device=image.device)
            return HscnetOutput((), none, self.regressor(features))
        for_coarse, for_fine, for_regressor = self.context(features)
        coarse = self.coarse(for_coarse)
        region = coarse.argmax(1) if labels is None else labels[:, 0]
        known = one_hot(region, self.config.classes[0], image.dtype)
        fine = self.fine(for_fine, known)
        part = fine.argmax(1) if labels is None else labels[:, 1]
        residual = None
        if self.regressor is not None:
            also = one_hot(part, self.config.classes[1], image.dtype)
            residual = self.regressor(for_regressor, torch.cat([known, also], 1))
        return HscnetOutput((coarse, fine), torch.stack([region, part], 1), residual)

    def points(self, output: HscnetOutput) -> Tensor:
        """Map points [B, 3, h, w], metres; of no meaning where a label is -1."""
        if not self.config.classified:
            assert output.residual is not None
            return output.residual.float() + self.centre.T[..., None]
        region, part = output.labels.clamp(min=0).unbind(1)
        centre = self.centre[region * self.config.classes[1] + part].permute(0, 3, 1, 2)
        return centre if output.residual is None else output.residual.float() + centre

    def sure(self, output: HscnetOutput) -> Tensor:
        """The likelihood [B, 1, h, w] of the likeliest part; 1 without classes."""
        if not output.logits:
            assert output.residual is not None
            return torch.ones_like(output.residual[:, :1])
        coarse, fine = (x.float().softmax(1).amax(1, keepdim=True) for x in output.logits)
        return coarse * fine


def _trunk(widths: Sequence[int], activation: Activation) -> nn.Sequential:
    """Features at stride 8."""
    sizes = zip((3, *widths[:-1]), widths, _TRUNK_STRIDES, strict=True)
    return nn.Sequential(*(conv(a, b, stride=s, activation=activation) for a, b, s in sizes))


class _Context(nn.Module):
    """What each of the three answers sees of the picture, and in how many ``channels``."""

    channels: tuple[int, int, int]  # for the coarse and the fine classifier, and the regressor

    def __init__(self, widths: Widths, sight: str) -> None:
        super().__init__()
        features, width, deepest = widths.trunk[-1], widths.context, widths.deepest
        self.sight = sight
        self.near = conv(features, width, 1 if sight == 'near' else 3)  # convc1
        self.channels = (width, width, features)
        if sight == 'near':
            return
        self.down = dilated_down(width, width)  # dsconv1, stride 16
        self.deepest = dilated_down(width, deepest)  # dsconv2, stride 32
        self.up_deepest = Up(deepest, width)  # upconv2
        self.merge = conv(2 * width, width)  # convc4
        self.up_far = Up(width, width)  # upconv3
        self.channels = (2 * width, 2 * width, features + width * (sight == 'far'))
        self.up_middle = Up(width, width) if sight == 'published' else None  # upconv1

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the trunk's features [B, C, h, w]."""
        near = self.near(features)
        if self.sight == 'near':
            return near, near, features
        middle = self.down(near)
        far = self.up_deepest(self.deepest(middle), middle)
        far = self.up_far(self.merge(torch.cat([far, middle], 1)), near)
        both = torch.cat([far, near], 1)
        if self.up_middle is None:
            return both, both, torch.cat([features, far], 1)
        return both, torch.cat([self.up_middle(middle, near), near], 1), features


def labels_of(leaf: Tensor, parts: int) -> Tensor:
    """Labels [B, 2, h, w], region and part, of leaf numbers [B, h, w]; -1 stays -1.

    ``parts`` of each region are numbered in a row. The published label pictures count from 1:
    take 1 off.
    """
    check_shape(leaf, 'B h w', 'leaf')
    labels = torch.stack([leaf // parts, leaf % parts], 1)
    return torch.where(leaf[:, None] < 0, -1, labels)


@dataclass(frozen=True)
class HscnetLoss:
    """How much each error weighs; the defaults are published for single scenes."""

    w_regress: float = 10.0  # per metre; published for combined scenes: 100 000
    w_coarse: float = 1.0  # of the cross-entropy of the first level
    w_fine: float = 1.0  # and of each level after it


def hscnet_loss(
    logits: Sequence[Tensor],  # [N, K] of each level
    points: Tensor | None,  # [N, 3] predicted, map frame, metres; None where none are regressed
    labels: Tensor,  # [N, L] true labels, -1 where not known
    truth: Tensor,  # [N, 3] where the points are
    config: HscnetLoss,
) -> Tensor:
    """The loss of the cells whose map point is known (section 3.3); 0 if there are none.

    ``w_regress mean |X - X'| + w_coarse CE + w_fine CE``, the distance not squared. A cell counts
    in the levels where its label is known, and in the regression if all are.
    """
    sizes = check_shape(labels, 'N L', 'labels', L=len(logits))
    check_shape(truth, 'N 3', 'truth', N=sizes['N'])
    loss = truth.new_zeros(())
    for level, scores in enumerate(logits):
        check_shape(scores, 'N K', 'logits', N=sizes['N'])
        weight = config.w_fine if level else config.w_coarse
        wanted = labels[:, level]
        entropy = F.cross_entropy(scores.float(), wanted, ignore_index=-1, reduction='sum')
        loss = loss + weight * entropy / (wanted >= 0).sum().clamp(min=1)
    if points is not None:
        check_shape(points, 'N 3', 'points', N=sizes['N'])
        known = (labels >= 0).all(1)
        off = (points - truth)[known].norm(dim=1)
        loss = loss + config.w_regress * off.sum() / known.sum().clamp(min=1)
    return loss
