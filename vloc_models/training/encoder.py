"""Train our encoder on photos under homographies and on rendered views with depth."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_models.errors import VlocError
from vloc_models.frames.pairs import Pair, PairConfig, frame_pair, photo_pair
from vloc_models.networks.ace import normalised
from vloc_models.networks.encoder import (
    ContrastConfig,
    LiteEncoder,
    contrastive_loss,
    sample,
)
from vloc_models.records import Frame
from vloc_models.training.loop import LoopConfig, Report, optimise

_log = logging.getLogger(__name__)
_TRIES = 50


@dataclass(frozen=True)
class EncoderTraining:
    """The recipe of the shipped encoder."""

    seed: int = 0
    pairs: int = 8  # a step
    photo_share: float = 0.6  # of the pairs; the others are rendered views
    apart: int = 6  # rendered views of one pair are up to this many frames apart
    cut: PairConfig = field(default_factory=PairConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(3000, max_lr=2e-3, checkpoint_s=60)
    )


@dataclass(frozen=True, eq=False)
class EncoderData:
    """What it is trained on, all in memory."""

    photos: Sequence[NDArray[np.uint8]]  # each [H, W]
    drives: Sequence[Sequence[Frame]]  # frames with depth and poses, in order


def train_encoder(
    data: EncoderData,
    config: EncoderTraining,
    device: str = 'cpu',
    checkpoint: Path | None = None,
    report: Report = lambda step, loss: None,
) -> LiteEncoder:
    """Train an encoder from nothing; the same seed and data give the same one.

    Raises:
        VlocError: if there are neither photos nor drives, or no pair can be cut from them.
    """
    if not data.photos and not data.drives:
        raise VlocError('encoder: nothing to train on', 'give photos, or worlds to render')
    torch.manual_seed(config.seed)
    encoder = LiteEncoder().to(device)
    with ThreadPoolExecutor(1) as ahead:  # the next batch is cut while this one is learned
        waiting = {}

        def loss_of(step: int) -> Tensor:
            for later in (step, step + 1):
                if later not in waiting and later < config.loop.steps:
                    waiting[later] = ahead.submit(_batch, data, config, later)
            return _loss(encoder, waiting.pop(step).result(), config.contrast, device)

        optimise(encoder, loss_of, config.loop, checkpoint, report)
    return encoder.eval()


def _batch(data: EncoderData, config: EncoderTraining, step: int) -> list[Pair]:
    rng = np.random.default_rng([3, config.seed, step])
    pairs = [pair for _, pair in zip(range(config.pairs), _pairs(data, config, rng), strict=False)]
    if len(pairs) < config.pairs:
        raise VlocError('encoder: the pictures share too little', 'give other pictures')
    return pairs


def _pairs(data: EncoderData, config: EncoderTraining, rng: np.random.Generator) -> Iterator[Pair]:
    for _ in range(_TRIES * config.pairs):
        if data.photos and (not data.drives or rng.random() < config.photo_share):
            pair = photo_pair(data.photos[int(rng.integers(len(data.photos)))], config.cut, rng)
        else:
            drive = data.drives[int(rng.integers(len(data.drives)))]
            here = int(rng.integers(len(drive)))
            there = here + int(rng.integers(-config.apart, config.apart + 1))
            other = drive[int(np.clip(there, 0, len(drive) - 1))]
            pair = frame_pair(drive[here], other, config.cut, rng)
        if pair is not None:
            yield pair


def _loss(
    encoder: LiteEncoder, pairs: list[Pair], contrast: ContrastConfig, device: str
) -> Tensor:
    pictures = np.stack([p.first for p in pairs] + [p.second for p in pairs])[:, None]
    features = encoder(normalised(torch.from_numpy(pictures).to(device)))
    pixels = np.stack([p.pixels_first for p in pairs] + [p.pixels_second for p in pairs])
    there = torch.from_numpy(pixels).float().to(device)
    found = sample(features, there)
    n = len(pairs)
    return contrastive_loss(found[:n], found[n:], there[n:], contrast)
