"""Classes of pictures: the recording's where there are any, else clusters that persist."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import BagError
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.frames.rectify import Rectified, pinhole_for
from vloc_models.mapping.encoder import ChosenEncoder
from vloc_models.mapping.pseudo_labels import labels_of

SIZE = (64, 64)


@pytest.fixture(scope='module')
def keyframes(gallery: Any) -> list[Keyframe]:
    return read_keyframes(gallery, 8, 120)


def rectified(keyframes: list[Keyframe]) -> list[Rectified]:
    return [Rectified(k.camera, pinhole_for(k.camera, SIZE)) for k in keyframes]


def test_clusters_are_the_nearest_centres_of_features_between_cells(
    keyframes: list[Keyframe], toy_encoder: ChosenEncoder
) -> None:
    """Recomputed without the shortcut: features interpolated first, then the nearest centre."""
    found = labels_of(keyframes, rectified(keyframes), toy_encoder, 5, 0)
    assert found.images.shape == (len(keyframes), *SIZE)
    assert found.images.dtype == np.uint8
    assert not found.exact
    assert set(np.unique(found.images).tolist()) == set(range(5))
    assert '5 clusters' in found.words
    pixels = rectified(keyframes)[0].pixels
    grids = [toy_encoder(k.grey).grid for k in keyframes]
    between = np.stack([interpolated(g, pixels) for g in grids])
    means = np.stack([between[found.images == c].mean(0) for c in range(5)])
    nearest = ((between[..., None, :] - means) ** 2).sum(-1).argmin(-1)
    assert (nearest == found.images).mean() > 0.8  # k-means: nearly a fixed point


def interpolated(grid: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    at = np.clip((pixels - 3.5) / 8, 0, np.array(grid.shape[1::-1]) - 1.001)
    low = at.astype(int)
    a, b = np.moveaxis(at - low, -1, 0)[..., None]
    u, v = np.moveaxis(low, -1, 0)
    top = (1 - a) * grid[v, u] + a * grid[v, u + 1]
    return (1 - b) * top + b * ((1 - a) * grid[v + 1, u] + a * grid[v + 1, u + 1])


def test_a_cluster_is_the_same_in_every_picture(
    keyframes: list[Keyframe], toy_encoder: ChosenEncoder
) -> None:
    twice = [keyframes[0], *keyframes, keyframes[0]]
    found = labels_of(twice, rectified(twice), toy_encoder, 5, 0).images
    np.testing.assert_array_equal(found[0], found[-1])
    again = labels_of(twice, rectified(twice), toy_encoder, 5, 0).images
    np.testing.assert_array_equal(found, again)


def test_the_recording_knows_better(keyframes: list[Keyframe], toy_encoder: ChosenEncoder) -> None:
    labels = np.zeros(keyframes[0].grey.shape, np.uint8)
    labels[:, 80:] = 3
    labelled = [replace(k, labels=labels) for k in keyframes[:3]] + [keyframes[3]]
    found = labels_of(labelled, rectified(labelled), toy_encoder, 4, 0)
    assert found.exact
    assert set(np.unique(found.images[0]).tolist()) == {0, 3}
    assert (found.images[3] == 255).all()  # this one has none
    assert "recording's" in found.words


def test_classes_that_the_network_does_not_have(
    keyframes: list[Keyframe], toy_encoder: ChosenEncoder
) -> None:
    labels = np.full(keyframes[0].grey.shape, 9, np.uint8)
    labelled = [replace(keyframes[0], labels=labels)]
    with pytest.raises(BagError, match=r'class 9 at .* s, but there are 4 \(0 to 3, and 255'):
        labels_of(labelled, rectified(labelled), toy_encoder, 4, 0)
    nothing = [replace(keyframes[0], labels=np.full_like(labels, 255))]
    assert (labels_of(nothing, rectified(nothing), toy_encoder, 4, 0).images == 255).all()
