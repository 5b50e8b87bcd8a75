"""A network's weights as a safetensors file, half precision: nothing in it can run code."""

import safetensors.torch
import torch
from torch import Tensor, nn

from vloc_models.errors import VlocError

_FULL = 'centre'  # metres in the map: half precision would move the map
_FIX = 'train it again, or get the file anew'


def save_weights(module: nn.Module) -> bytes:
    """The weights as float16, buffers named ``centre`` as float32; equal weights, equal bytes.

    Raises:
        VlocError: if a weight is NaN, infinite, or too large for half precision.
    """
    tensors = {}
    for name, tensor in module.state_dict().items():
        kind = torch.float32 if _is_centre(name) else torch.float16
        tensors[name] = tensor.detach().to('cpu', kind).contiguous().clone()
        if not tensors[name].isfinite().all():
            raise VlocError(f'weights: {name} is not finite in half precision', 'train it again')
    return safetensors.torch.save(tensors)


def load_weights(module: nn.Module, data: bytes, where: str) -> None:
    """Fill a module with weights that ``save_weights`` wrote; on an error it stays as it was.

    Args:
        module: of the same architecture; keeps its own precision and device.
        data: the file's bytes.
        where: the file's name, for messages.

    Raises:
        VlocError: if a tensor is missing, unknown, misshapen, no half or single precision, or not
            finite, or the bytes are no safetensors file.
    """
    try:
        found = safetensors.torch.load(data)
    except Exception as e:  # the library lets KeyError and ValueError through
        raise VlocError(f'{where}: no safetensors file: {e}', _FIX) from e
    wanted = module.state_dict()
    for names, what in ((wanted.keys() - found, 'lacks'), (found.keys() - wanted, 'also holds')):
        if names:
            raise VlocError(f'{where}: {what} {_listed(names)}', 'it is of another network')
    for name, tensor in found.items():
        _check(tensor, wanted[name], f'{where}: {name}')
    module.load_state_dict(found)


def _check(tensor: Tensor, wanted: Tensor, who: str) -> None:
    if tensor.shape != wanted.shape:
        shapes = f'{list(tensor.shape)}, expected {list(wanted.shape)}'
        raise VlocError(f'{who} has shape {shapes}', 'it is of another network')
    if tensor.dtype not in (torch.float16, torch.float32):
        raise VlocError(f'{who} is {tensor.dtype}, expected float16 or float32', _FIX)
    if not tensor.isfinite().all():
        raise VlocError(f'{who} holds NaN or infinity', _FIX)


def _is_centre(name: str) -> bool:
    return name.rpartition('.')[2] == _FULL


def _listed(names: set[str]) -> str:
    """A few of the names, each cut short: they may come from a stranger."""
    shown = ', '.join(name[:60] for name in sorted(names)[:3])
    return shown + (f' and {len(names) - 3} more' if len(names) > 3 else '')
