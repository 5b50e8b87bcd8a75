"""A map's pose prior: trained on its pictures, calibrated on blocks that it has not seen.

As with a map's head, a part of the training is without the held-out blocks, which then tell how
far off it is where it was not shown anything; the rest is with all pictures.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_models.export.parity import prior_probe
from vloc_models.export.to_onnx import prior_graph, round_to_half
from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry import se3
from vloc_models.mapping.held_out import HeldOutConfig, held_out
from vloc_models.maps import MapInfo, MapWriter, PriorUse
from vloc_models.networks.color_apr import ColorApr
from vloc_models.training.color_apr import (
    ColorAprTraining,
    PriorData,
    check_classes,
    train_prior,
)

Array = NDArray[np.float64]
Report = Callable[[str, int, int], None]  # step in words, done, of how many
_FEWEST_TO_TEST = 40  # pictures; with fewer none can be spared
_UNTESTED = (4.0, 4.0)  # times the sigmas, where nothing was held out
_WORST = 10.0  # times the median; a picture that errs more is no matter of scale
_AT_ONCE = 32  # pictures
_AXES = 3
_LEAST, _MOST = 0.5, 100.0  # of what sigmas are multiplied by


@dataclass(frozen=True)
class PriorConfig:
    """How a map's pose prior is made."""

    training: ColorAprTraining = field(default_factory=ColorAprTraining)
    tested_share: float = 0.6
    """Of the training, before it is calibrated; the rest is with all pictures."""
    held_out: HeldOutConfig = field(default_factory=lambda: HeldOutConfig(2, 0.3, 0.03))
    """Longer blocks than the map's own: an answer is the surer, the nearer a picture that was
    seen, and a robot comes by other ways."""


@dataclass(frozen=True, eq=False)
class PriorFiles:
    """A pose prior as a map carries it."""

    graph: bytes
    probe: dict[str, NDArray[Any]]
    use: PriorUse


def prior_files(
    keyframes: Sequence[Keyframe],
    config: PriorConfig,
    seed: int,
    device: str,
    checkpoint: Path | None,
    report: Report = lambda step, done, total: None,
) -> PriorFiles:
    """Train, calibrate and export a pose prior.

    Args:
        keyframes: in time order, with colours, and with classes where those are learned.
        config: how.
        seed: of all that is drawn.
        device: where it is trained.
        checkpoint: the two parts of the training are kept beside it, and continued from; None:
            nothing is kept.
        report: called as the work goes on.

    Raises:
        VlocError: if there are no colours, or no classes where those are learned.
    """
    check_classes([k.labels for k in keyframes], config.training.network)
    training = replace(config.training, seed=seed).for_pictures(len(keyframes))
    data = PriorData.of(keyframes, training.short_side_px)
    learned, asked = blocks(len(keyframes), config.held_out)
    first, second = _parts(training, config.tested_share if asked.any() else 1.0)

    def part(
        name: str, known: PriorData, how: ColorAprTraining, start: ColorApr | None
    ) -> ColorApr:
        kept = checkpoint and checkpoint.with_name(f'{checkpoint.stem}_{name}.pt')
        words, steps = f'training the pose prior, {name} part', how.loop.steps
        return train_prior(
            known, how, start, device, kept, lambda step, loss: report(words, step, steps)
        )

    network, scale = part('first', data.of_rows(learned), first, None), _UNTESTED
    if second is not None:
        scale = sigma_scale(network, data.of_rows(asked))
        network = part('second', data, second, network)
    network = copy.deepcopy(network)
    round_to_half(network)
    size = data.camera.height, data.camera.width
    probe = prior_probe(network, size, np.random.default_rng(0))
    use = PriorUse(data.camera, scale, int(asked.sum()))
    return PriorFiles(prior_graph(network, size), probe, use)


def with_prior(writer: MapWriter, info: MapInfo, files: PriorFiles | None) -> MapInfo:
    """The record of a map, with its pose prior written; as it is without one."""
    if files is None:
        return info
    graph, probe = 'prior.onnx', 'prior.probe.npz'
    writer.add_bytes(graph, files.graph)
    writer.add_arrays(probe, **files.probe)
    return replace(info, prior=graph, prior_probe=probe, prior_use=files.use)


def blocks(count: int, config: HeldOutConfig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pictures the first part learns from, and which then calibrate it."""
    if count < _FEWEST_TO_TEST:
        return np.ones(count, bool), np.zeros(count, bool)
    return held_out(count, config)


def _parts(
    training: ColorAprTraining, share: float
) -> tuple[ColorAprTraining, ColorAprTraining | None]:
    """The training before calibration, of a ``share`` of the steps, and the one after it."""
    if share >= 1:
        return training, None
    loop = training.loop
    steps = max(1, round(share * loop.steps))
    rest = replace(loop, steps=max(1, loop.steps - steps), max_lr=loop.max_lr / 2)
    second = replace(training, loop=rest, seed=training.seed + 1)
    return replace(training, loop=replace(loop, steps=steps)), second


def sigma_scale(network: ColorApr, data: PriorData) -> tuple[float, float]:
    """What to multiply sigmas by, of position and rotation, so that errors are what they say.

    The mean of squared errors in sigmas becomes 1 an axis; no picture counts for more than ten
    times the median, or one wrong answer would make all others useless.
    """
    found = []
    for squared in normalised_errors(network, data).T:
        typical = np.minimum(squared, _WORST * np.median(squared))
        found.append(float(np.sqrt(typical.mean()).clip(_LEAST, _MOST)))
    return found[0], found[1]


@torch.no_grad()
def normalised_errors(network: ColorApr, data: PriorData) -> Array:
    """Squared errors in sigmas, an axis, of position and rotation [N, 2]."""
    rows = []
    for start in range(0, len(data.images), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        output = network(torch.from_numpy(data.images[some]).permute(0, 3, 1, 2) / 255)
        quat, sigma = network.quat_xyzw(output).numpy(), output.log_sigma.exp().numpy()
        T_map_told = np.stack(
            [se3.from_quat_xyzw(t, q) for t, q in zip(output.position.numpy(), quat, strict=True)]
        )
        T_map_cam = data.T_map_cam[some]
        away = np.linalg.norm(T_map_told[:, :3, 3] - T_map_cam[:, :3, 3], axis=1)
        turn = T_map_told[:, :3, :3] @ np.swapaxes(T_map_cam[:, :3, :3], 1, 2)
        errors = np.stack([away, se3.angle_rad(turn)], 1)
        rows.append(errors**2 / (_AXES * sigma.astype(np.float64) ** 2))
    return np.concatenate(rows)
