"""Learn to find places: DASGIL's recipe (TIP 2021, arXiv 2010.00573).

Depth, classes and triplets of rendered places; a discriminator that learns to tell real pictures'
features from theirs, and an encoder that learns to deceive it. One step of each in turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError
from vloc_models.frames.places import Place
from vloc_models.networks import dasgil_losses as losses
from vloc_models.networks.dasgil import COARSEST, Dasgil, DasgilConfig, DasgilOutput, Maps
from vloc_models.networks.dasgil_discriminators import DISCRIMINATORS, DiscriminatorName
from vloc_models.networks.dasgil_losses import DasgilLoss
from vloc_models.networks.fsre_losses import class_loss
from vloc_models.training.loop import LoopConfig, Report, optimise
from vloc_models.training.triplets import Shot, Triplet, TripletConfig, draw_triplet

_PARTS = 3  # of a triplet
_FLIPPED = 0.5  # share of real pictures


@dataclass(frozen=True)
class DasgilTraining:
    """How places are learned."""

    seed: int = 0  # of the first weights, and of what is drawn
    network: DasgilConfig = field(default_factory=DasgilConfig)
    loss: DasgilLoss = field(default_factory=DasgilLoss)
    triplets: TripletConfig = field(default_factory=TripletConfig)
    discriminator: DiscriminatorName = 'cascade'
    discriminator_lr: float = 1e-3  # Adam's, betas 0.5 and 0.9
    batch: int = 8  # triplets a step, and as many real pictures
    half: bool = False  # bfloat16 in the convolutions: twice as fast where the processor knows it
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(2000, 2e-3, 0.0))

    def __post_init__(self) -> None:
        if self.batch < 1 or not self.discriminator_lr > 0:
            raise VlocError(
                f'dasgil: a batch of {self.batch}, a rate of {self.discriminator_lr:g}',
                'give more of both',
            )


@dataclass(frozen=True, eq=False)
class DasgilData:
    """What is learned from; all pictures of one size, multiples of 256."""

    places: Sequence[Place]
    real: NDArray[np.uint8] | None = None  # [N, H, W, 3] RGB; None: nothing is adapted to

    def check(self, config: DasgilTraining) -> tuple[int, int]:
        """Check that it can be learned from.

        Returns:
            Height and width.

        Raises:
            VlocError: with the first fault found.
        """
        if not self.places:
            raise VlocError('dasgil: there are no places', 'give one or more worlds')
        sizes: dict[str, int] = {}
        for number, place in enumerate(self.places):
            name = f'place {number}: images'
            found = check_shape(place.images, 'L M H W 3', name, **sizes)
            sizes = {'H': found['H'], 'W': found['W']}
            told = place.labels[place.labels != 255]
            if config.network.classes and told.size and told.max() >= config.network.classes:
                fix = f'the network has {config.network.classes} classes: give more'
                raise VlocError(f'place {number}: label {told.max()}', fix)
        if sizes['H'] % COARSEST or sizes['W'] % COARSEST:
            raise VlocError(
                f'dasgil: pictures of {sizes["W"]}x{sizes["H"]}',
                f'bring both sides to a multiple of {COARSEST}',
            )
        if config.discriminator != 'none':
            if self.real is None or not len(self.real):
                raise VlocError(
                    'dasgil: there are no real pictures to adapt to',
                    "give some, or the discriminator 'none'",
                )
            check_shape(self.real, 'N H W 3', 'real pictures', **sizes)
        return sizes['H'], sizes['W']


class Adversary:
    """A discriminator with its own optimiser.

    Args:
        config: its kind and rate.
        size: height and width of the pictures.
        device: where it is trained.
    """

    def __init__(self, config: DasgilTraining, size: tuple[int, int], device: str) -> None:
        kind = DISCRIMINATORS[config.discriminator]
        self.network = kind(config.network.widths, size).to(device)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), config.discriminator_lr, betas=(0.5, 0.9)
        )

    def learn(self, real: Maps, synthetic: Maps, weight: float) -> None:
        """One step; the encoder learns nothing from it."""
        told = (self.network(tuple(m.detach() for m in maps)) for maps in (real, synthetic))
        loss = weight * losses.discriminator_loss(*told)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def deceived(self, synthetic: Maps) -> Tensor:
        """What the encoder pays for features that are told from real ones."""
        return losses.deception_loss(self.network(synthetic))


def train_dasgil(
    data: DasgilData,
    config: DasgilTraining,
    device: str = 'cpu',
    checkpoint: Path | None = None,
    report: Report = lambda step, loss: None,
) -> Dasgil:
    """Learn from rendered places, and from real pictures what those look like.

    Args:
        data: what is learned from.
        config: the recipe.
        device: where to train.
        checkpoint: continued from if it is there.
        report: called after every step.

    Returns:
        The network in evaluation mode, on the CPU; the same seed and data give the same.

    Raises:
        VlocError: if the data cannot be learned from.
    """
    size = data.check(config)
    torch.manual_seed(config.seed)
    # the order that convolutions want: a third faster on processors
    network = Dasgil(config.network).to(device, memory_format=torch.channels_last)  # pyright: ignore
    adversary = None if config.discriminator == 'none' else Adversary(config, size, device)
    beside = (
        {}
        if adversary is None
        else {
            'discriminator': adversary.network,
            'discriminator_optimizer': adversary.optimizer,
        }
    )

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([14, config.seed, step])
        triplets = [draw_triplet(data.places, config.triplets, rng) for _ in range(config.batch)]
        batch = _batch(data.places, triplets, device)
        with torch.autocast(device, torch.bfloat16, enabled=config.half):
            output = network(batch.images).full()
        total = _loss(output, batch, config.loss)
        if adversary is not None:
            synthetic = _part(output.maps, 0)
            with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=config.half):
                real = network.encoder(_real(data, config.batch, rng, device))
            real = tuple(m.float() for m in real)
            adversary.learn(real, synthetic, config.loss.adversarial)
            total = total + config.loss.adversarial * adversary.deceived(synthetic)
        return total

    optimise(network, loss_of, config.loop, checkpoint, report, beside)
    return network.eval().cpu()


@dataclass(frozen=True, eq=False)
class _Batch:
    """B anchors, then B of the same places, then B of others."""

    images: Tensor  # [3 B, 3, H, W] of 0..1
    depth: Tensor  # [3 B, H, W] metres, nan where unknown
    labels: Tensor  # [3 B, H, W]


def _batch(places: Sequence[Place], triplets: Sequence[Triplet], device: str) -> _Batch:
    shots: list[tuple[Shot, bool]] = [(t.anchor, t.mirrored[0]) for t in triplets]
    shots += [(t.same, t.mirrored[0]) for t in triplets]
    shots += [(t.other, t.mirrored[1]) for t in triplets]

    def stacked(name: str) -> Tensor:
        found = []
        for shot, mirrored in shots:
            rows: NDArray[Any] = getattr(places[shot.place], name)
            picture = rows[shot.look, shot.frame] if name == 'images' else rows[shot.frame]
            found.append(picture[:, ::-1] if mirrored else picture)
        return torch.from_numpy(np.stack(found)).to(device)

    return _Batch(_as_input(stacked('images')), stacked('depth').float(), stacked('labels'))


def _real(data: DasgilData, count: int, rng: np.random.Generator, device: str) -> Tensor:
    """Some real pictures [B, 3, H, W], half of them mirrored."""
    assert data.real is not None
    chosen = data.real[rng.integers(len(data.real), size=count)]
    mirrored = rng.random(count) < _FLIPPED
    chosen = np.where(mirrored[:, None, None, None], chosen[:, :, ::-1], chosen)
    return _as_input(torch.from_numpy(chosen).to(device))


def _as_input(pictures: Tensor) -> Tensor:
    """[B, 3, H, W] of 0..1 of pictures [B, H, W, 3] of 0..255."""
    return pictures.permute(0, 3, 1, 2).contiguous() / 255


def _part(maps: Maps, part: int) -> Maps:
    """The maps of the anchors (0), of the same places (1), or of others (2)."""
    return tuple(m.chunk(_PARTS)[part] for m in maps)


def _loss(output: DasgilOutput, batch: _Batch, config: DasgilLoss) -> Tensor:
    """Depth and classes of each part of the triplets, and their distances."""
    parts = [_part(output.maps, part) for part in range(_PARTS)]
    total = losses.ratio_triplet_loss(parts[0], parts[1], parts[2], config)
    for part in range(_PARTS):
        if output.depths:
            told = _part(output.depths, part)
            total = total + config.depth * losses.depth_loss(told, batch.depth.chunk(_PARTS)[part])
        if output.logits is not None:
            logits = output.logits.chunk(_PARTS)[part]
            known = batch.labels.chunk(_PARTS)[part]
            total = total + config.classes * class_loss(logits, known)
    return total
