"""Landmarks drawn at random, seen in ten pictures along a line."""

import numpy as np

from vloc_models.geometry import se3
from vloc_models.solvers.landmarks import Landmarks

_rng = np.random.default_rng(0)
M, C, D, W = 500, 16, 8, 5  # landmarks; numbers of a feature and of a descriptor; words
AXES = np.linalg.qr(_rng.normal(size=(C, D)))[0].astype(np.float32)
SHORT = _rng.integers(-127, 128, (M, D), np.int8)
WORDS = _rng.normal(0, 0.4, (W, D)).astype(np.float32)
PICTURE = np.arange(M, dtype=np.int32) // 50
POSES = np.stack([se3.exp([0.3 * k, 0, 0, 0, 0, 0.1 * k]) for k in range(10)]).astype(np.float32)
POINTS = _rng.uniform(-5, 5, (M, 3)).astype(np.float32)
PLACES = _rng.integers(-127, 128, (10, W * D), np.int8)
MARKS = Landmarks(POINTS, SHORT, AXES, PICTURE, POSES, WORDS, PLACES)
