"""Colours as OpenCV has them."""

import cv2
import numpy as np
import torch

from vloc_models.networks.lab import AB_RANGE, lab


def test_it_is_opencvs() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((40, 50, 3), np.float32)
    image[:5] *= 0.05  # dark: the straight parts of both curves
    image[5, :3] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5]]
    found = lab(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    # OpenCV looks up in a coarse table
    np.testing.assert_allclose(found, cv2.cvtColor(image, cv2.COLOR_RGB2LAB), atol=0.6)
    np.testing.assert_allclose(found[5, 0], 0, atol=1e-3)
    np.testing.assert_allclose(found[5, 1], [100, 0, 0], atol=0.01)


def test_known_colours_of_screens() -> None:
    """Red, green and blue, as tables tell them (D65)."""
    rgb = torch.eye(3)[:, :, None, None]
    wanted = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab(rgb)[:, :, 0, 0], wanted, atol=0.05)
    assert lab(rgb)[:, 1:].abs().max() < AB_RANGE


def test_black_has_a_gradient() -> None:
    rgb = torch.zeros(1, 3, 2, 2, requires_grad=True)
    lab(rgb).sum().backward()
    assert rgb.grad is not None
    assert rgb.grad.isfinite().all()
