"""A torch module behind an engine's call: what other engines are compared with."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vloc_models.errors import MapError


class TorchEngine:
    """A copy of a module as it is now, in evaluation mode.

    Args:
        module: takes one tensor for each input, gives a tensor or a tuple of them.
        inputs: names of its arguments, in order.
        outputs: names of what it returns, in order.
        device: where it runs.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        device: torch.device | str = 'cpu',
    ) -> None:
        self._module = copy.deepcopy(module).to(device).eval()
        self._inputs, self._outputs, self._device = inputs, outputs, device

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the arrays it wants."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the arrays it gives."""
        return self._outputs

    @torch.no_grad()
    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for the inputs, both by name.

        Raises:
            MapError: if the names are not those of its inputs.
        """
        if arrays.keys() != set(self._inputs):
            raise MapError(
                f'the network wants {sorted(self._inputs)}, was given {sorted(arrays)}',
                'check the caller',
            )
        tensors = [torch.tensor(arrays[key], device=self._device) for key in self._inputs]
        found = self._module(*tensors)
        if isinstance(found, Tensor):
            found = (found,)
        return {k: x.cpu().numpy() for k, x in zip(self._outputs, found, strict=True)}
