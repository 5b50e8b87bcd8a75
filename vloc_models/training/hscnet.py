"""Train HSCNet: labels of regions first, then the way from a region to the point (section 3.3).

The light presets learn from the same buffer of cells as ACE's head; the published network from
whole pictures, one at a time, turned, moved, zoomed and sheared. Points stay attached to their
pixels, so that poses and intrinsics do not matter here. Cells without a measured point teach
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_models.errors import VlocError
from vloc_models.frames.augment import Affine, affine, apply_homography, moved_on_noise
from vloc_models.frames.keyframes import Keyframe
from vloc_models.networks.ace import Whitening
from vloc_models.networks.hscnet import (
    STRIDE,
    Hscnet,
    HscnetConfig,
    HscnetLoss,
    HscnetOutput,
    centred,
    hscnet_loss,
)
from vloc_models.networks.hscnet_lite import HscnetLite, HscnetLiteConfig
from vloc_models.training.ace import Buffer
from vloc_models.training.loop import LoopConfig, Report, Shuffle, optimise

Array = NDArray[np.float64]
_NO_DEPTH = 'record depth, or learn it from the pictures with --depth self'
_STEPS = (3000, 12_000)  # of the light presets, where they follow from the number of pictures


@dataclass(frozen=True)
class HscnetTraining:
    """How it is trained."""

    preset: Literal['lite', 'sparse', 'full'] = 'lite'
    """lite: on our encoder, minutes on a CPU; sparse: with a picture that looks alike as a hint;
    full: as published, a day on a GPU."""
    branching: tuple[int, ...] = (25, 25)
    """Regions, parts of each, and so on."""
    scenes: int = 1
    """Groups of rooms that get as many regions each."""
    seed: int = 0
    """Of the regions, the order of the cells and the first weights."""
    batch: int = 2048
    """Cells a step, of the light presets."""
    steps_per_picture: int = 30
    """Of the light presets, where loop.steps is 0."""
    lite: HscnetLiteConfig = field(default_factory=HscnetLiteConfig)
    full: HscnetConfig = field(default_factory=HscnetConfig)
    loss: HscnetLoss = field(default_factory=HscnetLoss)
    augment: Affine = field(default_factory=Affine)
    """Of the published network's pictures."""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(0, max_lr=2e-3))
    """Of the light presets."""
    full_loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(300_000, 1e-4, 0.0, schedule='halving')
    )
    """Of the published network."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.scenes < 1:
            raise VlocError(
                f'hscnet: {self.scenes} scenes, a batch of {self.batch} cells', 'give more'
            )
        if self.preset == 'full' and len(self.branching) != 2:
            raise VlocError(
                f'hscnet: the published network has two levels, not {len(self.branching)}',
                'give two with --hscnet.branching, or use --hscnet.preset lite',
            )

    def for_pictures(self, count: int) -> 'HscnetTraining':
        """With its preset's ``loop``, of as many steps as so many pictures need if not given."""
        if self.preset == 'full':
            return replace(self, loop=self.full_loop)
        if self.loop.steps:
            return self
        steps = int(np.clip(self.steps_per_picture * count, *_STEPS))
        return replace(self, loop=replace(self.loop, steps=steps))


class Tree(Protocol):
    """Where regions are (mapping/label_tree.py)."""

    @property
    def branching(self) -> tuple[int, ...]:
        """Labels of each level."""
        ...

    @property
    def leaves(self) -> Array:
        """Centres of the last level, [product of the branching, 3]."""
        ...

    def labels(self, points: Array) -> NDArray[np.int64]:
        """[N, L] of points [N, 3]; -1 where they are not finite."""
        ...


@dataclass(frozen=True, eq=False)
class Labelled:
    """What there is to learn from."""

    tree: Tree
    cells: Buffer | None = None  # for the light presets
    keyframes: Sequence[Keyframe] = ()  # for the published network: with colours


def train_lite(
    known: Labelled,
    config: HscnetTraining,
    start: HscnetLite | None = None,
    device: str = 'cpu',
    checkpoint: Path | None = None,
    report: Report = lambda step, loss: None,
) -> HscnetLite:
    """Fit the light network to cells; the same seed and data give the same one.

    Args:
        known: cells and their regions, and all pictures, of which the sparse preset has a code.
        config: how.
        start: a network to go on with.
        device: where.
        checkpoint: as ``optimise`` takes it.
        report: likewise.

    Raises:
        VlocError: if no cell has a point.
    """
    assert known.cells is not None
    cells = known.cells
    rows = np.flatnonzero(np.isfinite(cells.points).all(1))
    if not len(rows):
        raise VlocError('hscnet: no cell has a known point', _NO_DEPTH)
    sparse = config.preset == 'sparse'
    size = replace(
        config.lite,
        in_channels=cells.features.shape[1],
        branching=known.tree.branching,
        images=len(known.keyframes) if sparse else 0,
    )
    torch.manual_seed(config.seed)
    some = cells.features[:: len(cells.features) // 50_000 + 1].astype(np.float32)
    whitening = Whitening.of(torch.from_numpy(some))
    network = HscnetLite(size, torch.from_numpy(known.tree.leaves), whitening)
    if start is not None:
        network.load_state_dict(start.state_dict())
    network.to(device)
    columns = cells.features[rows], cells.points[rows], cells.picture[rows]
    features, points, picture = (torch.from_numpy(x) for x in columns)
    labels = torch.from_numpy(known.tree.labels(cells.points[rows].astype(np.float64)))
    shuffle = Shuffle(len(rows), config.batch, config.seed)

    def loss_of(step: int) -> Tensor:
        chosen = shuffle.rows(step)
        x, truth, path = (c[chosen].to(device) for c in (features, points, labels))
        image = picture[chosen].long().to(device)[None, None] if sparse else None
        output = network(_grid(x.float()), _grid(path), image)
        return _loss(output, network.points(output), path, truth, config.loss)

    optimise(network, loss_of, config.loop, checkpoint, report)
    return network.cpu().eval()


def train_full(
    known: Labelled,
    config: HscnetTraining,
    start: Hscnet | None = None,
    device: str = 'cpu',
    checkpoint: Path | None = None,
    report: Report = lambda step, loss: None,
) -> Hscnet:
    """Fit the published network to pictures, one a step; arguments as of ``train_lite``.

    Raises:
        VlocError: if no picture has depth.
    """
    usable = [k for k in known.keyframes if k.image is not None and k.depth is not None]
    if not usable:
        raise VlocError('hscnet: no picture has depth', _NO_DEPTH)
    torch.manual_seed(config.seed)
    coarse, fine = config.branching
    size = replace(config.full, branching=(coarse, fine), scenes=config.scenes)
    leaves = known.tree.leaves if size.classified else known.tree.leaves.mean(0, keepdims=True)
    network = Hscnet(size, torch.from_numpy(leaves))
    if start is not None:
        network.load_state_dict(start.state_dict())
    network.to(device)
    order = Shuffle(len(usable), 1, config.seed)

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([10, config.seed, step])
        image, points = _sample(usable[int(order.rows(step))], config.augment, rng)
        path = torch.from_numpy(known.tree.labels(points.reshape(-1, 3))).to(device)
        given = path.T.reshape(1, -1, *points.shape[:2]) if size.classified else None
        x = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
        output = network(centred(x), given)
        truth = torch.from_numpy(points.reshape(-1, 3)).float().to(device)
        return _loss(output, network.points(output), path, truth, config.loss)

    optimise(network, loss_of, config.loop, checkpoint, report)
    return network.cpu().eval()


def _sample(
    keyframe: Keyframe, augment: Affine, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Array]:
    """A picture [H, W, 3] as moved at random, and its cells' map points [h, w, 3]; NaN unknown."""
    assert keyframe.image is not None
    height, width = keyframe.grey.shape
    H = affine(width, height, augment, rng)
    image = moved_on_noise(keyframe.image, H, augment, rng)
    v, u = np.mgrid[0:height:STRIDE, 0:width:STRIDE] + (STRIDE - 1) / 2
    pixels = apply_homography(H, np.stack([u.ravel(), v.ravel()], 1))
    return image, keyframe.points(pixels).reshape(*u.shape, 3)


def _grid(rows: Tensor) -> Tensor:
    """Rows [N, C] as a picture of one row of cells, [1, C, 1, N]."""
    return rows.T[None, :, None]


def _loss(
    output: HscnetOutput, points: Tensor, path: Tensor, truth: Tensor, config: HscnetLoss
) -> Tensor:
    """Of those of one picture's cells whose point is known."""
    known = truth.isfinite().all(1)
    logits = [x[0].flatten(1).T[known] for x in output.logits]
    regressed = None if output.residual is None else points[0].flatten(1).T[known]
    return hscnet_loss(logits, regressed, path[known, : len(logits)], truth[known], config)
