"""Probes: what torch makes of a few inputs travels with a graph, so that engines can be checked.

A probe must be made of the very module that was exported: rounded to half floats before.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vloc_models.engines.probe import CASES, make_probe
from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.export.to_onnx import (
    DENSE_OUTPUTS,
    DenseHead,
    GridHead,
    ImageEncoder,
    encoder_outputs,
)
from vloc_models.networks.ace import Head
from vloc_models.networks.hscnet import Hscnet, centred

IMAGE = (40, 48)  # H, W: the least that still has 2x2 cells at stride 32
GRID = (3, 4)  # h, w
TRIED = 32  # pictures, of which those with the clearest classes become a probe


def encoder_probe(encoder: nn.Module, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """``input_image`` uint8 [4, H, W, 3], of squares and noise, and what comes of it."""
    return make_probe(
        TorchEngine(ImageEncoder(encoder), ('image',), encoder_outputs(encoder)),
        {'image': _pictures(CASES, rng)},
    )


def head_probe(head: Head, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """``input_features`` float32 [4, C, h, w], of unit length, and ``output_points``, metres."""
    features = rng.normal(size=(CASES, head.config.in_channels, *GRID))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return make_probe(
        TorchEngine(GridHead(head), ('features',), ('points',)),
        {'features': features.astype(np.float32)},
    )


def dense_head_probe(network: Hscnet, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """``input_image`` uint8 [4, H, W, 3], and the ``output_points`` and ``output_sure`` of it.

    Where two classes are as likely as each other engines may rightly differ, and then by metres.
    So many pictures are tried, and those taken of which the least clear cell is clearest.
    """
    tried = _pictures(TRIED, rng)
    best = np.argsort(-_clearness(network, tried), kind='stable')[:CASES]
    return make_probe(
        TorchEngine(DenseHead(network), ('image',), DENSE_OUTPUTS), {'image': tried[best]}
    )


@torch.no_grad()
def _clearness(network: Hscnet, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The least lead of a cell's likeliest class, of each picture, in spreads of the logits."""
    image = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(network.centre.device)
    least = torch.ones(len(pictures))
    for logits in network(centred(image)).logits:
        if logits.shape[1] > 1:
            first, second = logits.topk(2, dim=1).values.unbind(1)
            lead = (first - second).flatten(1).amin(1) / (logits.std() + 1e-12)
            least = least.minimum(lead.cpu())
    return least.numpy()


def _pictures(count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Of squares and noise, [count, H, W, 3]."""
    H, W = IMAGE
    squares = rng.integers(0, 256, (count, H // 8, W // 8, 3)).repeat(8, 1).repeat(8, 2)
    return (squares + rng.normal(0, 12, squares.shape)).clip(0, 255).astype(np.uint8)
