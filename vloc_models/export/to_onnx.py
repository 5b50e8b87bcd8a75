"""Networks become ONNX graphs that ONNX Runtime 1.16 and newer can run.

Weights are half floats in the file, which is then half the size; the graph casts them to float32,
which ONNX Runtime does once, when it loads them. Round a network before it is exported, so that
torch computes with the same numbers.
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from vloc_models.checks import check_shape
from vloc_models.errors import ExportError
from vloc_models.networks.ace import Head, normalised
from vloc_models.networks.color_apr import ColorApr
from vloc_models.networks.dasgil import DasgilEncoder
from vloc_models.networks.encoder import LiteEncoder
from vloc_models.networks.hscnet import Hscnet, centred
from vloc_models.networks.hscnet_lite import HscnetLite

OPSET, IR_VERSION = 18, 8  # belong together; ONNX Runtime 1.16 knows them
MIN_HALF = 64  # smaller arrays stay float32: the centre of a map must not be rounded
_POINTS_SURE = ('points', 'sure')
PLACE_SIZE = (256, 256)  # H, W of the pictures that places are told by
_POSE_SIGMA = ('pose', 'sigma')
OPEN = ('H', 'W', 'h', 'w')  # axes that may have any size

_LUMA = (0.299, 0.587, 0.114)  # grey of red, green and blue (ITU-R BT.601), as OpenCV's


class ImageEncoder(nn.Module):
    """An encoder of grey pictures behind a camera's image."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Features [1, C, h, w], and sure if it has some, of an image uint8 [1, H, W, 3] RGB."""
        check_shape(image, '1 H W 3', 'image')
        # not a product with a vector: ONNX Runtime takes ten times as long for it
        red, green, blue = image.float().unbind(3)  # each [1, H, W]
        grey = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
        return self.encoder(normalised(grey[:, None]))


class GridHead(nn.Module):
    """A head on the whole grid of cells."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Map points [1, 3, h, w], metres, of features [1, C, h, w]."""
        sizes = check_shape(features, '1 C h w', 'features')
        points = self.head(features[0].flatten(1).T)  # [h w, 3]
        return points.T.reshape(1, 3, sizes['h'], sizes['w'])


class DenseHead(nn.Module):
    """A network that finds map points in a camera's image by itself."""

    def __init__(self, network: Hscnet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map points [1, 3, h, w], metres, and the likelihood [1, 1, h, w] of their regions.

        Args:
            image: uint8 [1, H, W, 3] RGB.
        """
        check_shape(image, '1 H W 3', 'image')
        output = self.network(centred(image.permute(0, 3, 1, 2)))
        return self.network.points(output), self.network.sure(output)


class LiteHead(nn.Module):
    """The light HSCNet on a grid of cells."""

    def __init__(self, network: HscnetLite) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """As ``DenseHead``, of features [1, C, h, w]."""
        output = self.network(features)
        return self.network.points(output), self.network.sure(output)


class SparseHead(nn.Module):
    """The sparse variant of it, which is told a picture of the map that looks alike."""

    def __init__(self, network: HscnetLite) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """As ``LiteHead``; ``picture`` int64 [1] is its number."""
        sizes = check_shape(features, '1 C h w', 'features')
        image = picture[:, None, None].expand(1, sizes['h'], sizes['w'])
        output = self.network(features, image=image)
        return self.network.points(output), self.network.sure(output)


class PlaceEncoder(nn.Module):
    """DASGIL's encoder behind a picture of its size."""

    def __init__(self, encoder: DasgilEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The maps of layers 5 and 6, [1, C, h, w], of an image uint8 [1, 256, 256, 3] RGB."""
        check_shape(image, '1 H W 3', 'image')
        maps = self.encoder(image.permute(0, 3, 1, 2).float() / 255, 6)
        return maps[4], maps[5]


class PosePrior(nn.Module):
    """The pose prior behind a camera's image; what only served to learn is gone."""

    def __init__(self, network: ColorApr) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).without_decoder()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """A coarse pose [1, 7] and how far off it says to be [1, 2], before calibration.

        Args:
            image: uint8 [1, H, W, 3] RGB, of the camera that the network was trained for.

        Returns:
            Position in the map, metres, and the camera's rotation (x, y, z, w); standard
            deviations of each axis, metres and radians.
        """
        check_shape(image, '1 H W 3', 'image')
        output = self.network(image.permute(0, 3, 1, 2).float() / 255)
        pose = torch.cat([output.position, self.network.quat_xyzw(output)], 1)
        return pose, output.log_sigma.exp()


SceneNetwork = Head | Hscnet | HscnetLite


@dataclass(frozen=True, eq=False)
class Port:
    """An input of a graph."""

    example: Tensor
    axes: str  # their names; those in OPEN may have any size


@dataclass(frozen=True, eq=False)
class Exported:
    """A module as a graph will have it."""

    module: nn.Module
    inputs: dict[str, Port]
    outputs: tuple[str, ...]


def as_exported(head: SceneNetwork) -> Exported:
    """What tells map points: of features, of features and a picture's number, or of an image."""
    if isinstance(head, Hscnet):
        return Exported(DenseHead(head), {'image': _image()}, _POINTS_SURE)
    features = Port(torch.zeros(1, head.config.in_channels, 5, 7), '1 C h w')
    if isinstance(head, Head):
        return Exported(GridHead(head), {'features': features}, ('points',))
    if not head.config.images:
        return Exported(LiteHead(head), {'features': features}, _POINTS_SURE)
    picture = Port(torch.zeros(1, dtype=torch.int64), '1')
    inputs = {'features': features, 'picture': picture}
    return Exported(SparseHead(head), inputs, _POINTS_SURE)


def prior_as_exported(network: ColorApr, size: tuple[int, int]) -> Exported:
    """The pose prior, of images of one size: height and width."""
    image = Port(torch.zeros(1, *size, 3, dtype=torch.uint8), f'1 {size[0]} {size[1]} 3')
    return Exported(PosePrior(network), {'image': image}, _POSE_SIGMA)


def prior_graph(network: ColorApr, size: tuple[int, int]) -> bytes:
    """``PosePrior`` as a graph of ``image``; ExportError if it is not rounded."""
    return _graph(prior_as_exported(network, size))


def _image() -> Port:
    return Port(torch.zeros(1, 72, 104, 3, dtype=torch.uint8), '1 H W 3')


def encoder_outputs(encoder: nn.Module) -> tuple[str, ...]:
    """The names of what an encoder gives."""
    return ('features', 'sure') if isinstance(encoder, LiteEncoder) else ('features',)


def encoder_graph(encoder: nn.Module) -> bytes:
    """``ImageEncoder`` as a graph of ``image``; ExportError if it is not rounded."""
    outputs = encoder_outputs(encoder)
    return _graph(Exported(ImageEncoder(encoder), {'image': _image()}, outputs))


def place_exported(encoder: DasgilEncoder) -> Exported:
    """DASGIL's encoder as its graph has it; of one size, as the discriminators learned it."""
    H, W = PLACE_SIZE
    image = Port(torch.zeros(1, H, W, 3, dtype=torch.uint8), f'1 {H} {W} 3')
    return Exported(PlaceEncoder(encoder), {'image': image}, ('layer5', 'layer6'))


def place_graph(encoder: DasgilEncoder) -> bytes:
    """DASGIL's encoder as a graph; ExportError if it is not rounded."""
    return _graph(place_exported(encoder))


def head_graph(head: SceneNetwork) -> bytes:
    """A network of scene coordinates as a graph; ExportError if it is not rounded."""
    return _graph(as_exported(head))


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Round parameters, not buffers, in place; ExportError, and no change, if one is too large."""
    for name, parameter in module.named_parameters():
        if not parameter.half().isfinite().all():
            raise ExportError(
                f'{name}: holds weights beyond 65504, infinite or NaN',
                'the training went wrong: train again, with a lower learning rate',
            )
    for parameter in module.parameters():
        parameter.copy_(parameter.half())


def _graph(wanted: Exported) -> bytes:
    for name, parameter in wanted.module.named_parameters():
        if not torch.equal(parameter.half().float(), parameter):
            raise ExportError(f'{name}: not rounded to half', 'call round_to_half first')
    axes = [port.axes.split() for port in wanted.inputs.values()]
    free = [{i: torch.export.Dim.DYNAMIC for i, x in enumerate(a) if x in OPEN} for a in axes]
    with _quiet():
        program = torch.onnx.export(
            copy.deepcopy(wanted.module).cpu().eval(),
            tuple(port.example for port in wanted.inputs.values()),
            input_names=list(wanted.inputs),
            output_names=list(wanted.outputs),
            dynamic_shapes=tuple(free),
            opset_version=OPSET,
            dynamo=True,  # the older exporter cannot trace check_shape, and is to go
            verbose=False,
        )
        assert program is not None
        model = _plain(program.model_proto.graph, axes)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _plain(graph: onnx.GraphProto, axes: Sequence[list[str]]) -> onnx.ModelProto:
    """The graph without torch's notes (paths, stack traces), weights as half floats."""
    nodes, weights = [], []
    for tensor in graph.initializer:
        name, array = tensor.name, numpy_helper.to_array(tensor)
        half = array.astype(np.float16)  # a buffer of the module may not fit: that stays as it is
        if array.dtype == np.float32 and array.size >= MIN_HALF and np.array_equal(half, array):
            nodes.append(helper.make_node('Cast', [f'{name}_half'], [name], to=TensorProto.FLOAT))
            name, array = f'{name}_half', half
        weights.append(numpy_helper.from_array(array, name))
    for n in graph.node:
        kept = {'op_type': n.op_type, 'input': n.input, 'output': n.output}
        nodes.append(onnx.NodeProto(**kept, attribute=n.attribute))
    inputs = [_border(value, names) for value, names in zip(graph.input, axes, strict=True)]
    outputs = [_border(output, ['1', 'C', 'h', 'w']) for output in graph.output]
    return helper.make_model(
        helper.make_graph(nodes, 'vloc', inputs, outputs, weights),
        producer_name='vloc',
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid('', OPSET)],
    )


def _border(value: onnx.ValueInfoProto, axes: list[str]) -> onnx.ValueInfoProto:
    """An input or output of the graph with our names for the axes that are open."""
    kind = value.type.tensor_type
    dims = kind.shape.dim  # an output may have fewer axes than there are names
    sizes = [x if x in OPEN else d.dim_value for d, x in zip(dims, axes, strict=False)]
    return helper.make_tensor_value_info(value.name, kind.elem_type, sizes)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, and of the exporter's log errors only."""
    log = logging.getLogger('torch.onnx')
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        log.setLevel(level)
