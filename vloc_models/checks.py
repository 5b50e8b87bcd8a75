"""Checks at the border of every public function: the shape of an array, the sanity of a pose."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError


class HasShape(Protocol):
    """A numpy array or a torch tensor: anything with a shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        ...


def check_shape(x: HasShape, spec: str, name: str = 'array', **sizes: int) -> dict[str, int]:
    """Check the shape of ``x`` against e.g. ``'B 3 H W'`` and return the sizes of the named axes.

    Args:
        x: a numpy array or a torch tensor.
        spec: one word an axis: a number must match, a name is bound (twice the same name = twice
            the same size); a leading ``...`` allows any axes before.
        name: what to call ``x`` in the message.
        **sizes: names already bound, so that several arrays can be checked against each other.

    Raises:
        VlocError: if the shape does not fit.
    """
    words, shape, bound = spec.split(), tuple(x.shape), dict(sizes)
    if words[:1] == ['...']:
        words = words[1:]
        shape = shape[-len(words) :] if words else ()
    fits = len(shape) == len(words)
    for word, size in zip(words, shape, strict=False):
        fits &= size == (int(word) if word.isdigit() else bound.setdefault(word, size))
    if not fits:
        known = f' with {sizes}' if sizes else ''
        raise VlocError(
            f'{name} has shape {list(x.shape)}, expected [{spec}]{known}', 'check the caller'
        )
    return bound


def check_se3(T: NDArray[np.floating], name: str = 'transform') -> None:
    """Check that ``T`` is one rigid 4x4 transform: finite, orthonormal, right-handed.

    Raises:
        VlocError: with the first reason found.
    """
    check_shape(T, '4 4', name)
    R = T[:3, :3]
    if not np.isfinite(T).all():
        reason = 'holds NaN or infinity'
    elif not np.allclose(T[3], [0, 0, 0, 1], atol=1e-9):
        reason = f'has the last row {T[3].tolist()}, not [0, 0, 0, 1]'
    elif not np.allclose(R @ R.T, np.eye(3), atol=1e-5):
        reason = 'has a rotation part that is not orthonormal'
    elif np.linalg.det(R) < 0:
        reason = 'mirrors space (determinant -1)'
    else:
        return
    raise VlocError(f'{name} {reason}', 'a pose must be a rotation and a translation in metres')
