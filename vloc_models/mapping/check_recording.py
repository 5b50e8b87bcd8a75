"""Whether a recording is one that a map can be made of."""

from collections.abc import Sequence

import numpy as np

from vloc_models.errors import BagError
from vloc_models.frames.keyframes import Keyframe
from vloc_models.mapping.check_poses import check_poses
from vloc_models.mapping.encoder import ChosenEncoder


def check_recording(
    keyframes: Sequence[Keyframe], encoder: ChosenEncoder, min_images: int
) -> None:
    """Check that there are pictures enough, that they differ, and that poses fit to them.

    Raises:
        BagError: if not.
    """
    if len(keyframes) < min_images:
        raise BagError(
            f'{len(keyframes)} pictures with a pose are too few for a map',
            f'record at least {min_images}, from many places',
        )
    spread = np.array([k.grey[::8, ::8].std() for k in keyframes])
    if np.median(spread) < 2:
        raise BagError(
            f'{(spread < 2).sum()} of {len(keyframes)} pictures are of one colour',
            'was the lens covered, or the light off? record the place again',
        )
    first = keyframes[0].grey
    if all(k.grey.shape == first.shape and (k.grey == first).all() for k in keyframes[1:]):
        raise BagError('all pictures are the same', 'does the camera driver repeat one picture?')
    check_poses(keyframes, encoder)
