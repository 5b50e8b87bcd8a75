"""ONNX Runtime on the CPU: runs a graph that may come from a stranger's map."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vloc_models.errors import MapError

_TYPES = {
    'tensor(bool)': np.bool_,
    'tensor(uint8)': np.uint8,
    'tensor(int32)': np.int32,
    'tensor(int64)': np.int64,
    'tensor(float16)': np.float16,
    'tensor(float)': np.float32,
}
_DAMAGED = 'copy the map again, or build it again with "vloc map"'
_FOREIGN = 'no vloc writes such a graph: do not use it, build the map with "vloc map"'
_CALLER = 'check the caller, or build the map again with "vloc map"'


class OnnxEngine:
    """A graph, ready to run.

    Args:
        graph: the bytes of an ONNX file; nothing but these is ever read.
        name: where they are from, for messages.
        threads: that one operator may use; 0 = as many as ONNX Runtime likes.

    Raises:
        MapError: if it is no ONNX graph, needs another file or what ONNX Runtime does not have.
    """

    def __init__(self, graph: bytes, name: str, threads: int = 0) -> None:
        # ONNX Runtime would look for weights outside the graph in the current folder. It finds a
        # file by this key only, which stands in the bytes as it is.
        if b'location' in graph:
            raise MapError(f'{name}: keeps its weights in another file', _FOREIGN)
        try:
            self._session = onnxruntime.InferenceSession(
                graph, _options(threads), ['CPUExecutionProvider'], enable_fallback=0
            )
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            # read here once: names that are no text are only found out by reading them
            self._inputs = {x.name: (x.type, x.shape) for x in inputs}
            self._outputs = {x.name: (x.type, x.shape) for x in outputs}
        except Exception as e:  # any bytes may come, and each fault has its own exception
            raise MapError(f'{name}: ONNX Runtime cannot load it: {_short(e)}', _DAMAGED) from e
        self._name = name
        for key, (kind, _) in (self._inputs | self._outputs).items():
            if kind not in _TYPES:
                raise MapError(f'{name}: {key!r} is a {kind}', _FOREIGN)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the arrays it wants."""
        return tuple(self._inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the arrays it gives."""
        return tuple(self._outputs)

    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for the inputs, both by name.

        Raises:
            MapError: if names, shapes or types are not the graph's, or the graph itself fails.
        """
        if arrays.keys() != self._inputs.keys():
            raise MapError(
                f'{self._name}: wants {sorted(self._inputs)}, was given {sorted(arrays)}', _CALLER
            )
        for key, array in arrays.items():
            self._check(key, array)
        try:
            found = self._session.run(self.outputs, dict(arrays))
        except Exception as e:  # as above
            raise MapError(f'{self._name}: ONNX Runtime failed: {_short(e)}', _DAMAGED) from e
        return {key: np.asarray(x) for key, x in zip(self._outputs, found, strict=True)}

    def _check(self, key: str, array: NDArray[Any]) -> None:
        """An axis that the graph leaves open is a name or None there."""
        kind, shape = self._inputs[key]
        fits = len(shape) == array.ndim and array.size > 0
        for want, size in zip(shape, array.shape, strict=False):
            fits &= not isinstance(want, int) or want == size
        if not fits or array.dtype != _TYPES[kind]:
            raise MapError(
                f'{self._name}: {key} is {array.dtype} {list(array.shape)}, '
                f'the graph wants {kind} {shape}',
                _CALLER,
            )


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised, not printed
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    # encoder and head take turns: threads of one that wait busily would slow the other down
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.add_session_config_entry('session.load_model_format', 'ONNX')  # never its own format
    return options


def _short(error: Exception) -> str:
    """Some of the message, without what a terminal could mistake for commands."""
    text = ' '.join(str(error).split())
    return ''.join(c if c.isprintable() else '?' for c in text[:200])
