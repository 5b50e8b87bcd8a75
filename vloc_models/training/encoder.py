"""Train our encoder on photos under homographies and on rendered views with depth."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_models.errors import VlocError
from vloc_models.frames.pairs import Pair, PairConfig, photo_pair, scene_pair
from vloc_models.frames.scenes import Scene
from vloc_models.networks.ace import normalised
from vloc_models.networks.encoder import (
    ContrastConfig,
    LiteEncoder,
    Seen,
    Truth,
    encoder_loss,
)
from vloc_models.training.loop import LoopConfig, Report, optimise

_log = logging.getLogger(__name__)
_TRIES = 50


@dataclass(frozen=True)
class EncoderTraining:
    """The recipe of the shipped encoder."""

    seed: int = 0
    pairs: int = 8  # a step
    photo_share: float = 0.5  # of the pairs; the others are rendered views
    easy: PairConfig = field(default_factory=PairConfig)
    hard: PairConfig = field(default_factory=PairConfig.hard)
    hard_share: float = 0.6  # of the pairs, from the middle of the training on; 0 at its start
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(5500, max_lr=3e-3, checkpoint_s=60)
    )


@dataclass(frozen=True, eq=False)
class EncoderData:
    """What it is trained on, all in memory."""

    photos: Sequence[NDArray[np.uint8]]  # each [H, W]
    scenes: Sequence[Scene]


def train_encoder(
    data: EncoderData,
    config: EncoderTraining,
    device: str = 'cpu',
    checkpoint: Path | None = None,
    report: Report = lambda step, loss: None,
) -> LiteEncoder:
    """Train an encoder from nothing; the same seed and data give the same one.

    Raises:
        VlocError: if there are neither photos nor scenes, or no pair can be cut from them.
    """
    if not data.photos and not data.scenes:
        raise VlocError('encoder: nothing to train on', 'give photos, or worlds to render')
    torch.manual_seed(config.seed)
    encoder = LiteEncoder().to(device)
    encoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # 15 % faster
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
    progress = step / config.loop.steps
    pairs = list(islice(_pairs(data, config, progress, rng), config.pairs))
    if len(pairs) < config.pairs:
        raise VlocError('encoder: the pictures share too little', 'give other pictures')
    return pairs


def _pairs(
    data: EncoderData, config: EncoderTraining, progress: float, rng: np.random.Generator
) -> Iterator[Pair]:
    """Pairs of different pictures and places, as points of other pairs count as different."""
    photos, scenes = (rng.permutation(len(all_)).tolist() for all_ in (data.photos, data.scenes))
    hard_share = config.hard_share * min(1.0, 2 * progress)
    for n in range(_TRIES * config.pairs):
        cut = config.hard if rng.random() < hard_share else config.easy
        if photos and (not scenes or rng.random() < config.photo_share):
            pair = photo_pair(data.photos[photos[n % len(photos)]], cut, rng)
        else:
            pair = scene_pair(data.scenes[scenes[n % len(scenes)]], cut, rng)
        if pair is not None:
            yield pair


def _loss(
    encoder: LiteEncoder, pairs: list[Pair], contrast: ContrastConfig, device: str
) -> Tensor:
    pictures = np.stack([p.first for p in pairs] + [p.second for p in pairs])[:, None]
    features, sure = encoder(normalised(torch.from_numpy(pictures).to(device)))
    n = len(pairs)
    first, second = (Seen(features[part], sure[part]) for part in (np.s_[:n], np.s_[n:]))

    def all_of(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(p, name) for p in pairs])).to(device)

    points = [all_of(name).float() for name in ('pixels_first', 'pixels_second')]
    truth = Truth(points[0], points[1], all_of('hidden_first'), all_of('hidden_second'))
    return encoder_loss(first, second, truth, contrast)
