"""Camera models: where a point lands in the image, and which ray a pixel sees.

Pixels are (u, v) = (column, row) with integers at pixel centres. The models and the order of
their coefficients are OpenCV's, which ROS uses under the names in ``MODELS``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError

Array = NDArray[np.float64]
Model = Literal['pinhole', 'plumb_bob', 'rational_polynomial', 'fisheye']
MODELS: tuple[Model, ...] = get_args(Model)
_COEFFICIENTS = {'pinhole': 0, 'plumb_bob': 5, 'rational_polynomial': 8, 'fisheye': 4}
_ROS_NAMES: dict[str, Model] = {'': 'pinhole', 'none': 'pinhole', 'equidistant': 'fisheye'}


@dataclass(frozen=True)
class Camera:
    """One camera's intrinsics, in pixels; field of view below 180 degrees.

    ``distortion`` holds (k1, k2, p1, p2, k3) for plumb_bob, (k1, k2, p1, p2, k3, k4, k5, k6) for
    rational_polynomial, (k1, k2, k3, k4) for fisheye (equidistant), nothing for pinhole.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: Model = 'pinhole'
    distortion: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        numbers = np.array([self.fx, self.fy, self.cx, self.cy, *self.distortion])
        who = f'camera {self.width}x{self.height}'
        if self.model not in MODELS:
            raise VlocError(f'{who}: unknown model {self.model!r}', f'use one of {list(MODELS)}')
        if self.width < 1 or self.height < 1:
            raise VlocError(f'{who}: the image size is not positive', _FIX_INFO)
        if not np.isfinite(numbers).all() or self.fx <= 0 or self.fy <= 0:
            raise VlocError(f'{who}: fx {self.fx:g}, fy {self.fy:g}: not usable', _FIX_INFO)
        if len(self.distortion) != _COEFFICIENTS[self.model]:
            raise VlocError(
                f'{who}: {self.model} takes {_COEFFICIENTS[self.model]} coefficients, '
                f'got {len(self.distortion)}',
                _FIX_INFO,
            )

    @property
    def K(self) -> Array:
        """The camera matrix [3, 3]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def project(self, points: ArrayLike) -> Array:
        """Pixels [..., 2] of points [..., 3] (optical frame, metres).

        NaN for a point at or behind the camera plane, or so far out that the distortion
        polynomial has turned back (it would land inside the image, wrongly).
        """
        p = np.asarray(points, np.float64)
        check_shape(p, '... 3', 'points')
        front = p[..., 2] > 1e-9
        xy = p[..., :2] / np.where(front, p[..., 2], np.nan)[..., None]
        out = np.linalg.norm(xy, axis=-1) > self._max_radius
        xy = np.where(out[..., None], np.nan, xy)
        return self._distort(xy) * [self.fx, self.fy] + [self.cx, self.cy]

    def unproject(self, pixels: ArrayLike) -> Array:
        """Rays [..., 3] of pixels [..., 2], scaled to z = 1: ``ray * depth`` is the point.

        NaN where no ray within the model's range lands on the pixel.
        """
        uv = np.asarray(pixels, np.float64)
        check_shape(uv, '... 2', 'pixels')
        xy = self._undistort((uv - [self.cx, self.cy]) / [self.fx, self.fy])
        return np.concatenate([xy, np.ones_like(xy[..., :1])], -1)

    def pixel_grid(self) -> Array:
        """The centres of all pixels [H, W, 2]."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        return np.stack([u, v], -1).astype(np.float64)

    def resized(self, width: int, height: int) -> 'Camera':
        """The camera of the image scaled to ``width`` x ``height``."""
        su, sv = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * su,
            fy=self.fy * sv,
            cx=(self.cx + 0.5) * su - 0.5,
            cy=(self.cy + 0.5) * sv - 0.5,
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> 'Camera':
        """The camera of the part that starts at pixel (left, top)."""
        cx, cy = self.cx - left, self.cy - top
        return replace(self, width=width, height=height, cx=cx, cy=cy)

    def undistorted(self) -> 'Camera':
        """The pinhole camera with the same matrix: what a rectified image is seen through."""
        return replace(self, model='pinhole', distortion=())

    @cached_property
    def _max_radius(self) -> float:
        """The normalised radius up to which the radial polynomial grows (infinite for pinhole)."""
        if self.model == 'pinhole':
            return np.inf
        radius = np.tan(np.linspace(0, np.pi / 2 - 1e-3, 4000))
        r = self._distort(np.stack([radius, np.zeros_like(radius)], -1), tangential=False)[:, 0]
        turned = np.flatnonzero(np.diff(r) <= 0)
        return float(radius[turned[0]]) if len(turned) else np.inf

    def _distort(self, xy: Array, tangential: bool = True) -> Array:
        """Normalised [..., 2] -> distorted normalised [..., 2]."""
        if self.model == 'pinhole':
            return xy
        x, y = xy[..., 0], xy[..., 1]
        if self.model == 'fisheye':
            r = np.hypot(x, y)
            theta = np.arctan(r)
            k1, k2, k3, k4 = self.distortion
            t2 = theta**2
            bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
            return xy * np.divide(bent, r, out=np.ones_like(r), where=r > 1e-12)[..., None]
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.distortion, 0.0, 0.0, 0.0)[:8]
        r2 = x**2 + y**2
        scale = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        if not tangential:
            p1 = p2 = 0.0
        dx = 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
        dy = p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
        return np.stack([x * scale + dx, y * scale + dy], -1)

    def _undistort(self, bent: Array) -> Array:
        """The inverse of ``_distort`` by Newton steps with a numerical Jacobian."""
        if self.model == 'pinhole':
            return bent
        if self.model == 'fisheye':  # along the radius only, so start from the ideal lens
            r = np.linalg.norm(bent, axis=-1, keepdims=True)
            theta = np.minimum(r, 1.5)
            xy = bent * np.divide(np.tan(theta), r, out=np.ones_like(r), where=r > 1e-12)
        else:
            xy = bent.copy()
        h = 1e-7
        hu, hv = np.array([h, 0]), np.array([0, h])
        with np.errstate(invalid='ignore', over='ignore', divide='ignore'):
            for _ in range(25):
                error = self._distort(xy) - bent
                if not (np.abs(error) > 1e-13).any():
                    break
                du = (self._distort(xy + hu) - self._distort(xy - hu)) / (2 * h)
                dv = (self._distort(xy + hv) - self._distort(xy - hv)) / (2 * h)
                det = du[..., 0] * dv[..., 1] - dv[..., 0] * du[..., 1]
                step_x = (error[..., 0] * dv[..., 1] - error[..., 1] * dv[..., 0]) / det
                step_y = (error[..., 1] * du[..., 0] - error[..., 0] * du[..., 1]) / det
                xy = xy - np.stack([step_x, step_y], -1)
            error = np.abs(self._distort(xy) - bent).max(-1, keepdims=True)
            good = (error < 1e-9) & (
                np.linalg.norm(xy, axis=-1, keepdims=True) <= self._max_radius
            )
        return np.where(good, xy, np.nan)


_FIX_INFO = 'calibrate the camera and publish a valid camera_info, or give it with --camera'


def camera_from_ros(
    size: tuple[int, int], distortion_model: str, k: Sequence[float], d: Sequence[float]
) -> Camera:
    """A camera from the fields of sensor_msgs/CameraInfo.

    Args:
        size: (width, height), pixels.
        distortion_model: ROS's name; empty means none, equidistant is our fisheye.
        k: the 9 numbers of the camera matrix, by rows.
        d: the coefficients. Trailing zeros may be missing or too many; all zeros is a pinhole.

    Raises:
        VlocError: for an unknown model or numbers no camera can have.
    """
    model = _ROS_NAMES.get(distortion_model.lower(), distortion_model)
    if model not in MODELS:
        raise VlocError(
            f'camera_info: distortion model {distortion_model!r} is not supported',
            f'rectify the images first, or calibrate with one of {list(MODELS)}',
        )
    if len(k) != 9:
        raise VlocError(f'camera_info: K has {len(k)} numbers, not 9', _FIX_INFO)
    numbers = [float(x) for x in d]
    if not any(numbers):  # NaN counts as a number, and is refused below
        model, numbers = 'pinhole', []
    count = _COEFFICIENTS[model]
    if len(numbers) > count and not any(numbers[count:]):
        numbers = numbers[:count]
    numbers += [0.0] * (count - len(numbers))
    fx, fy, cx, cy = (float(k[i]) for i in (0, 4, 2, 5))
    return Camera(size[0], size[1], fx, fy, cx, cy, model, tuple(numbers))
