"""A network of convolutions in 8 bits: smaller, and faster where a processor multiplies bytes.

Between explicit Q/DQ nodes weights and activations are bytes. Weights take 7 of the 8 bits: the
short sums of older processors cannot overflow then. Scales come from what the network makes of
some pictures (static quantisation): of each channel's weights the largest, and of activations all
but one in ten thousand, as single outliers would cost all others precision.
"""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from vloc_models.errors import ExportError

_KEPT = 99.99  # per cent of the activations that are not clipped


def int8_graph(graph: bytes, pictures: Iterable[NDArray[np.uint8]]) -> bytes:
    """The graph with its convolutions in 8 bits; inputs and outputs stay as they are.

    Args:
        graph: of an image encoder: ``image`` uint8 [1, H, W, 3].
        pictures: [H, W, 3] of one size, some of what it will see.

    Raises:
        ExportError: if there are no pictures.
    """
    shown = _Shown(pictures)
    if not shown.left:
        raise ExportError('int8: there are no pictures to calibrate with', 'give some dozens')
    with TemporaryDirectory() as folder:
        given, ready, made = (str(Path(folder) / f'{name}.onnx') for name in ('a', 'b', 'c'))
        Path(given).write_bytes(graph)
        quant_pre_process(given, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            made,
            shown,
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=['Conv'],
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={'CalibPercentile': _KEPT},
        )
        return Path(made).read_bytes()


class _Shown(quantization.CalibrationDataReader):
    """Pictures, one after the other."""

    def __init__(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        self.left = list(pictures)

    def get_next(self) -> dict[str, Any]:
        """The next one; nothing after the last."""
        return {'image': self.left.pop(0)[None]} if self.left else {}
