"""A map's network of scene coordinates: trained by ACE or HSCNet, and as files of the map."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.export.parity import head_probe
from vloc_models.export.to_onnx import SceneNetwork, head_graph, round_to_half
from vloc_models.frames.keyframes import Keyframe
from vloc_models.mapping.label_tree import LabelTree, grow, scenes_of
from vloc_models.networks.ace import Head
from vloc_models.networks.hscnet import Hscnet
from vloc_models.networks.hscnet_lite import HscnetLite
from vloc_models.training.ace import AceTraining, Buffer, pictures_of, train_head
from vloc_models.training.hscnet import HscnetTraining, Labelled, train_full, train_lite
from vloc_models.training.loop import Report
from vloc_models.training.weights import save_weights

Method = Literal['ace', 'hscnet']
Training = AceTraining | HscnetTraining
_OVERLAP = 'record depth, or pictures that overlap more, or use --hscnet.preset lite'
_LATE = 0.8  # progress of ACE's curriculum where the second part begins


@dataclass(frozen=True, eq=False)
class Material:
    """What a network is trained on."""

    keyframes: Sequence[Keyframe]  # of the whole recording
    buffer: Buffer  # cells of them
    tree: LabelTree | None = None  # for HSCNet

    def of(self, pictures: NDArray[np.bool_]) -> 'Material':
        """What some pictures, [K] of all, show; their numbers stay."""
        if pictures.all():
            return self
        rows = pictures[self.buffer.picture]
        keyframes = [
            k if kept else replace(k, image=None, depth=None)
            for k, kept in zip(self.keyframes, pictures.tolist(), strict=True)
        ]
        buffer = Buffer(*(column[rows] for column in vars(self.buffer).values()))
        return Material(keyframes, buffer, self.tree)


def label_tree(
    keyframes: Sequence[Keyframe], buffer: Buffer, training: HscnetTraining
) -> LabelTree:
    """The regions of a place, from the points of all cells."""
    points = buffer.points.astype(np.float64)
    centres = np.stack([k.T_map_cam[:3, 3] for k in keyframes])
    scene = scenes_of(centres, training.scenes, training.seed)[buffer.picture]
    return grow(points, training.branching, training.seed, scene)


def parts(training: Training, share: float, tested: bool) -> tuple[Training, Training | None]:
    """The training before the self-test, of a ``share`` of the steps, and the one after it."""
    if not tested:
        return training, None
    loop = training.loop
    steps = max(1, round(share * loop.steps))
    rest = replace(loop, steps=max(1, loop.steps - steps), max_lr=loop.max_lr / 2)
    second = replace(training, loop=rest, seed=training.seed + 1)
    if isinstance(second, AceTraining):
        second = replace(second, from_progress=_LATE)
    return replace(training, loop=replace(loop, steps=steps)), second


def train(
    known: Material,
    training: Training,
    start: SceneNetwork | None,
    device: str,
    checkpoint: Path,
    report: Report,
) -> SceneNetwork:
    """A network of the kind that ``training`` is of."""
    if isinstance(training, AceTraining):
        assert start is None or isinstance(start, Head)
        fitting = replace(training.head, in_channels=known.buffer.features.shape[1])
        training = replace(training, head=fitting)
        pictures = pictures_of(known.keyframes)
        return train_head(known.buffer, pictures, training, start, device, checkpoint, report)
    assert known.tree is not None
    labelled = Labelled(known.tree, known.buffer, known.keyframes)
    if training.preset == 'full':
        assert start is None or isinstance(start, Hscnet)
        return train_full(labelled, training, start, device, checkpoint, report)
    assert start is None or isinstance(start, HscnetLite)
    return train_lite(labelled, training, start, device, checkpoint, report)


@dataclass(frozen=True, eq=False)
class HeadFiles:
    """A network as a map carries it."""

    network: str
    graph: bytes
    probe: dict[str, NDArray[Any]]
    weights: bytes


def told_pictures(head: SceneNetwork, pictures: NDArray[np.int64]) -> SceneNetwork:
    """A copy in evaluation mode; the sparse network is told pictures by their numbers in a map.

    Args:
        head: was told numbers of keyframes.
        pictures: those keyframes that the map has, in its order.
    """
    twin = copy.deepcopy(head).eval()
    if isinstance(twin, HscnetLite) and twin.image_code is not None:
        if not len(pictures):
            raise VlocError('hscnet sparse: no picture of the map can be found again', _OVERLAP)
        code = twin.image_code.weight.detach()[torch.from_numpy(pictures)]
        twin.image_code = torch.nn.Embedding.from_pretrained(code)
        twin.config = replace(twin.config, images=len(pictures))
    return twin


def head_files(head: SceneNetwork, pictures: NDArray[np.int64]) -> HeadFiles:
    """The files, in half precision; ``head`` stays as it is.

    Args:
        head: a trained network.
        pictures: numbers of the keyframes that the map's landmarks were seen in, in its order.
    """
    twin = told_pictures(head, pictures)
    round_to_half(twin)
    name = 'ace' if isinstance(twin, Head) else 'hscnet'
    probe = head_probe(twin, np.random.default_rng(0))
    return HeadFiles(name, head_graph(twin), probe, save_weights(twin))
