"""Which encoder a map is made with: ours, or the one ACE's authors published."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_models import npz
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.errors import VlocError
from vloc_models.export.parity import encoder_probe
from vloc_models.export.to_onnx import encoder_graph, round_to_half
from vloc_models.localize import encoder as shipped
from vloc_models.maps import SHORT_SIDES_PX, Encoder
from vloc_models.networks.ace import PublishedEncoder
from vloc_models.solvers.spots import Spots, choose

_ACE_SHORT_SIDE_PX = 480  # as in the paper
_ACE_LICENCE = 'Niantic ACE licence: non-commercial use only (patent pending)'


@dataclass(frozen=True)
class EncoderChoice:
    """The image encoder."""

    preset: Literal['lite', 'ace'] = 'lite'
    """lite: ours, which ships with vloc (Apache-2.0); ace: as in the ACE paper."""
    weights: Path | None = None
    """For ace: the published state dict, which you have to get yourself and may not sell."""
    short_side_px: int | None = None
    """Pictures are brought to this size: time against precision [lite: 360, ace: 480]."""

    def __post_init__(self) -> None:
        size, sizes = self.short_side_px, SHORT_SIDES_PX
        if size is not None and size not in sizes:
            raise VlocError(
                f'--encoder.short-side-px {size} makes no sense',
                f'give {sizes.start} to {sizes.stop - 1}',
            )


@dataclass(frozen=True, eq=False)
class ChosenEncoder:
    """An encoder ready to run, and what a map has to carry of it."""

    record: Encoder
    graph: bytes
    probe: bytes
    engine: OnnxEngine

    def __call__(self, grey: NDArray[np.uint8], every: int = 1) -> Spots:
        """What is in a grey picture [H, W]: the surest cell of each ``every`` by ``every``."""
        rgb = np.repeat(grey[None, :, :, None], 3, 3)
        return choose(self.engine({'image': rgb}), every)


def choose_encoder(choice: EncoderChoice, threads: int = 0) -> ChosenEncoder:
    """Load the encoder.

    Raises:
        VlocError: if the weights are missing, or not those of the architecture.
    """
    if choice.preset == 'lite':
        if choice.weights is not None:
            raise VlocError('encoder: lite ships with its weights', 'leave out the weights')
        graph, probe = shipped.shipped_graph(), npz.pack(shipped.shipped_probe())
        size = choice.short_side_px or shipped.SHORT_SIDE_PX
        record = Encoder(shipped.NAME, _sha256(graph), 'Apache-2.0', size)
    else:
        module = _published(choice.weights)
        round_to_half(module)
        graph = encoder_graph(module)
        probe = npz.pack(encoder_probe(module, np.random.default_rng(0)))
        names = 'encoder.onnx', 'encoder.probe.npz'
        size = choice.short_side_px or _ACE_SHORT_SIDE_PX
        record = Encoder('ace', _sha256(graph), _ACE_LICENCE, size, *names)
    return ChosenEncoder(record, graph, probe, OnnxEngine(graph, record.name, threads))


def _published(path: Path | None) -> PublishedEncoder:
    """ACE's encoder with a user's state dict; only numbers are read from the file."""
    if path is None:
        raise VlocError(
            'encoder ace: its weights do not ship with vloc (non-commercial licence)',
            'get the published file yourself and name it with --encoder.weights, or use lite',
        )
    module = PublishedEncoder()
    try:
        state: Any = torch.load(path, map_location='cpu', weights_only=True)
        module.load_state_dict(state)
    except Exception as e:  # torch raises anything for a file that is no state dict
        reason = next(iter(str(e).splitlines()), type(e).__name__)
        raise VlocError(
            f'{path}: not the published ACE encoder: {reason}', 'name ace_encoder_pretrained.pt'
        ) from e
    if not all(p.isfinite().all() for p in module.parameters()):
        raise VlocError(f'{path}: holds NaN', 'get the file again')
    return module


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
