"""Probes: what torch makes of a few inputs travels with a graph, so that engines can be checked.

A probe must be made of the very module that was exported: rounded to half floats before.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vloc_models.engines.probe import CASES, make_probe
from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.export.to_onnx import (
    PLACE_SIZE,
    ImageEncoder,
    SceneNetwork,
    as_exported,
    encoder_outputs,
    place_exported,
    prior_as_exported,
)
from vloc_models.networks.ace import Head
from vloc_models.networks.color_apr import ColorApr
from vloc_models.networks.dasgil import DasgilEncoder
from vloc_models.networks.hscnet import Hscnet
from vloc_models.networks.hscnet_lite import HscnetLite

IMAGE = (40, 48)  # H, W: the least that still has 2x2 cells at stride 32
GRID = (3, 4)  # h, w
TRIED = 32  # pictures, of which those with the clearest classes become a probe


def encoder_probe(encoder: nn.Module, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """``input_image`` uint8 [4, H, W, 3], of squares and noise, and what comes of it."""
    return make_probe(
        TorchEngine(ImageEncoder(encoder), ('image',), encoder_outputs(encoder)),
        {'image': _pictures(CASES, rng)},
    )


def place_probe(encoder: DasgilEncoder, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """What DASGIL's encoder makes of four pictures."""
    wanted = place_exported(encoder)
    engine = TorchEngine(wanted.module, tuple(wanted.inputs), wanted.outputs)
    return make_probe(engine, {'image': _pictures(CASES, rng, PLACE_SIZE)})


def head_probe(head: SceneNetwork, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """What a network of scene coordinates makes of four inputs.

    Where two regions are as likely as each other engines may rightly differ, and then by metres.
    So many inputs are tried, and those taken of which the least clear cell is clearest.
    """
    wanted = as_exported(head)
    tried = {name: _tried(name, head, rng) for name in wanted.inputs}
    if not isinstance(head, Head):
        best = np.argsort(-_clearness(wanted.module, head, tried), kind='stable')
        tried = {name: x[best] for name, x in tried.items()}
    engine = TorchEngine(wanted.module, tuple(wanted.inputs), wanted.outputs)
    return make_probe(engine, {name: x[:CASES] for name, x in tried.items()})


def prior_probe(
    network: ColorApr, size: tuple[int, int], rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """What the pose prior makes of four pictures of its size, height and width."""
    wanted = prior_as_exported(network, size)
    engine = TorchEngine(wanted.module, tuple(wanted.inputs), wanted.outputs)
    return make_probe(engine, {'image': _pictures(CASES, rng, size)})


def _tried(name: str, head: SceneNetwork, rng: np.random.Generator) -> NDArray[Any]:
    """Many values of an input."""
    if isinstance(head, Hscnet):
        return _pictures(TRIED, rng)
    if name == 'picture':
        assert isinstance(head, HscnetLite)
        return rng.integers(0, head.config.images, TRIED)
    features = rng.normal(size=(TRIED, head.config.in_channels, *GRID))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32)


@torch.no_grad()
def _clearness(
    module: nn.Module, head: Hscnet | HscnetLite, tried: dict[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """The least lead of a cell's likeliest class, of each input, in spreads of the logits."""
    told = list[tuple[Tensor, ...]]()
    with head.register_forward_hook(lambda _, __, output: told.append(output.logits)):
        for n in range(TRIED):
            module(*(torch.from_numpy(x[n : n + 1]) for x in tried.values()))
    least = np.ones(TRIED, np.float32)
    for level in zip(*told, strict=True):
        logits = torch.cat(level)
        if logits.shape[1] > 1:
            first, second = logits.topk(2, dim=1).values.unbind(1)
            lead = (first - second).flatten(1).amin(1) / (logits.std() + 1e-12)
            least = np.minimum(least, lead.numpy())
    return least


def _pictures(
    count: int, rng: np.random.Generator, size: tuple[int, int] = IMAGE
) -> NDArray[np.uint8]:
    """Of squares and noise, [count, H, W, 3]."""
    H, W = size
    squares = rng.integers(0, 256, (count, H // 8, W // 8, 3)).repeat(8, 1).repeat(8, 2)
    return (squares + rng.normal(0, 12, squares.shape)).clip(0, 255).astype(np.uint8)
