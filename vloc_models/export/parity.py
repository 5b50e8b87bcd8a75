"""Probes: what torch makes of a few inputs travels with a graph, so that engines can be checked.

A probe must be made of the very module that was exported: rounded to half floats before.
"""

from typing import Any

import numpy as np
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
from vloc_models.networks.hscnet import Hscnet

IMAGE = (40, 48)  # H, W: the least that still has 2x2 cells at stride 32
GRID = (3, 4)  # h, w
TRIED = 64  # pictures, of which those with the clearest classes become a probe


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


@torch.no_grad()
def dense_head_probe(network: Hscnet, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """``input_image`` uint8 [4, H, W, 3], and the ``output_points`` and ``output_sure`` of it.

    Where two classes are about as likely, engines may rightly differ, and then by metres. So many
    pictures are tried, and those taken whose least clear cell is clearest.
    """
    tried = _pictures(TRIED, rng)
    output = network(to_unit(torch.from_numpy(tried)))
    best = np.argsort(-_clearness(output.logits, TRIED), kind='stable')[:CASES]
    return make_probe(
        TorchEngine(DenseHead(network), ('image',), DENSE_OUTPUTS), {'image': tried[best]}
    )


def _pictures(count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Of squares and noise, [count, H, W, 3]."""
    H, W = IMAGE
    squares = rng.integers(0, 256, (count, H // 8, W // 8, 3)).repeat(8, 1).repeat(8, 2)
    return (squares + rng.normal(0, 12, squares.shape)).clip(0, 255).astype(np.uint8)
