"""A probe: inputs of a graph with what torch made of them, so that any engine can be checked.

Arrays ``input_NAME`` and ``output_NAME``, of which the first axis counts the cases; each case is
a batch of one. A robot needs no torch to know that its engine answers as torch did.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import MapError

CASES = 4
TOLERANCE = 1e-3  # for engines that compute in float32; those seen differ by 1e-4 at most

_FIX = 'it was made with other weights or is damaged; build the map again with "vloc map"'


class Engine(Protocol):
    """Whatever runs a graph."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the arrays it wants."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the arrays it gives."""
        ...

    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for the inputs, both by name."""
        ...


def make_probe(engine: Engine, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The probe of a trusted engine and inputs [4, ...] by name."""
    found = _run(engine, inputs)
    probe = {f'input_{key}': value for key, value in inputs.items()}
    return probe | {f'output_{key}': value for key, value in found.items()}


def check_probe(
    engine: Engine, probe: Mapping[str, NDArray[Any]], name: str, tolerance: float = TOLERANCE
) -> float:
    """The largest difference between the engine's outputs and the probe's.

    It is relative to the spread of the output: 1 = as far off as two cells of it are apart.

    Args:
        engine: that shall be checked.
        probe: as ``make_probe`` gives it; may come from a stranger.
        name: of the probe, for messages.
        tolerance: the largest difference allowed.

    Raises:
        MapError: if the probe is not one of this engine's graph, or they disagree.
    """
    inputs, wanted = _parts(engine, probe, name)
    found = _run(engine, inputs)
    worst = 0.0
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            raise MapError(
                f'{name}: {key} has shape {list(value.shape)}, not {list(found[key].shape)}', _FIX
            )
        error = _difference(found[key].astype(np.float64), value.astype(np.float64))
        if not error <= tolerance:  # NaN is no agreement
            raise MapError(f'{name}: {key} differs by {error:.2g} of its spread', _FIX)
        worst = max(worst, error)
    return worst


def _parts(
    engine: Engine, probe: Mapping[str, NDArray[Any]], name: str
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Inputs and outputs by name."""
    inputs = {key: f'input_{key}' for key in engine.inputs}
    outputs = {key: f'output_{key}' for key in engine.outputs}
    expected = {*inputs.values(), *outputs.values()}
    if probe.keys() != expected:
        raise MapError(f'{name}: holds {sorted(probe)}, not {sorted(expected)}', _FIX)
    for key, value in probe.items():
        if value.shape[:1] != (CASES,) or value.size == 0:
            raise MapError(f'{name}: {key} has shape {list(value.shape)}, not {CASES} cases', _FIX)
        if not np.isfinite(value).all():
            raise MapError(f'{name}: {key} holds NaN or infinity', _FIX)
    return (
        {key: probe[of] for key, of in inputs.items()},
        {key: probe[of] for key, of in outputs.items()},
    )


def _run(engine: Engine, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The outputs [4, ...] for inputs [4, ...], case by case."""
    cases = [engine({k: x[i : i + 1] for k, x in inputs.items()}) for i in range(CASES)]
    return {key: np.concatenate([case[key] for case in cases]) for key in engine.outputs}


def _difference(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Of two arrays [4, C, ...], against the spread of the channels.

    Channels are centred one by one, as their means differ (a map far from its origin). At least a
    thousandth of the largest value counts as spread: float32 resolves no finer.
    """
    others = (0, *range(2, wanted.ndim))
    spread = float(np.sqrt(wanted.var(axis=others).mean()))
    spread = max(spread, 1e-3 * float(np.abs(wanted).max()), 1e-12)
    return float(np.abs(found - wanted).max()) / spread
