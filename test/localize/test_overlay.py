"""What a person sees: points of the map where the pose sees them."""

import cv2
import numpy as np
import pytest

from vloc_models.frames.working import working_view
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.localize.by_landmarks import Answer
from vloc_models.localize.overlay import draw_map_points, overlay_jpeg
from vloc_models.records import Array, Fix, PoseEstimate, SceneCoordinates, Verdict, View
from vloc_models.solvers.pnp import Observation

T_BASE_CAM = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.1, 0, 0.5])
T_MAP_BASE = se3.exp([1.0, 2.0, 0.1, 0, 0, 0.7])
CAMERA = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)  # of the working size
PIXELS = np.stack(np.meshgrid(np.arange(60, 600, 80), np.arange(60, 460, 80)), -1).reshape(-1, 2)
HALF = len(PIXELS) // 2
GREEN, RED = (40, 190, 90), (235, 60, 30)


def view(size: tuple[int, int] = (640, 480)) -> View:
    """A dark picture of any size that has the shape of the working one."""
    image = np.full((size[1], size[0], 3), 20, np.uint8)
    return View(image, CAMERA.resized(*size), T_BASE_CAM)


def points(off_px: Array | None = None, depth: float = 3.0) -> Array:
    """Map points of the cells, seen from T_MAP_BASE so far off them."""
    seen = PIXELS + (np.zeros(2) if off_px is None else off_px)
    return se3.apply(T_MAP_BASE @ T_BASE_CAM, CAMERA.unproject(seen) * depth)


def answer(
    found: Array, T_map_base: Array | None = T_MAP_BASE, verdict: Verdict = Verdict.ACCEPTED
) -> Answer:
    estimate = None
    if T_map_base is not None:
        estimate = PoseEstimate(T_map_base, np.eye(6), 9, 0.5, 0.75, 2.0)
    coordinates = SceneCoordinates(PIXELS.astype(float), found, np.ones(len(PIXELS), np.float32))
    seen = Observation(coordinates, CAMERA, T_BASE_CAM)
    other = Observation(coordinates, CAMERA, np.eye(4))  # a second camera is not drawn
    return Answer(Fix(0, verdict, 'half of it', estimate), (seen, other), estimate)


def coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """[H, W]: which pixels are of that colour, antialiased ones too."""
    return np.abs(picture.astype(int) - colour).max(-1) < 60


def at_cells(picture: np.ndarray, colour: tuple[int, int, int]) -> list[bool]:
    return coloured(picture, colour)[PIXELS[:, 1], PIXELS[:, 0]].tolist()


def test_points_are_green_where_the_pose_sees_them() -> None:
    picture = draw_map_points(view(), answer(points()))
    assert all(at_cells(picture, GREEN))
    assert not coloured(picture, RED).any()
    assert (picture == 20).all(-1).mean() > 0.95  # the rest is as it was


def test_points_that_are_seen_elsewhere_are_red() -> None:
    off = np.zeros((len(PIXELS), 2))
    off[HALF:] = 15, 0
    picture = draw_map_points(view(), answer(points(off)))
    assert at_cells(picture, GREEN) == [True] * HALF + [False] * (len(PIXELS) - HALF)
    where = PIXELS[HALF:] + np.array([15, 0])
    assert coloured(picture, RED)[where[:, 1], where[:, 0]].all()


@pytest.mark.parametrize(('off_px', 'green'), [(9.9, True), (10.1, False)])
def test_ten_pixels_off_are_still_right(off_px: float, green: bool) -> None:
    picture = draw_map_points(view(), answer(points(np.array([off_px, 0]))))
    assert coloured(picture, GREEN).any() == green
    assert coloured(picture, RED).any() != green


def test_another_pose_may_be_asked_for() -> None:
    turned = T_MAP_BASE @ se3.exp([0, 0, 0, 0, 0, 0.1])  # 50 pixels
    assert not coloured(draw_map_points(view(), answer(points()), turned), GREEN).any()
    wrong = answer(points(), turned)
    assert all(at_cells(draw_map_points(view(), wrong, T_MAP_BASE), GREEN))
    nothing = answer(points(), None)
    assert all(at_cells(draw_map_points(view(), nothing, T_MAP_BASE), GREEN))


@pytest.mark.parametrize('size', [(320, 240), (1280, 960)])
def test_the_picture_has_the_working_size(size: tuple[int, int]) -> None:
    picture = draw_map_points(view(size), answer(points()))
    assert picture.shape == (480, 640, 3)
    assert all(at_cells(picture, GREEN))


def test_points_that_nothing_sees_are_red_at_their_cell() -> None:
    found = points()
    found[:HALF] = np.nan
    found[HALF:] = points(depth=-1.0)[HALF:]  # behind the camera
    assert all(at_cells(draw_map_points(view(), answer(found)), RED))


@pytest.mark.parametrize('size', [(320, 240), (640, 480)])
def test_without_a_pose_there_is_the_picture_alone(size: tuple[int, int]) -> None:
    seen = view(size)
    picture = draw_map_points(seen, answer(points(), None, Verdict.NONE))
    np.testing.assert_array_equal(picture, working_view(seen, 480).image)


def test_the_image_itself_is_not_drawn_on() -> None:
    seen = view()
    draw_map_points(seen, answer(points()))
    overlay_jpeg(seen, answer(points()))
    overlay_jpeg(seen, answer(points(), None, Verdict.NONE))
    assert (seen.image == 20).all()


def decoded(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture)[..., ::-1]


@pytest.mark.parametrize(
    ('max_width', 'shape'), [(640, (480, 640)), (5000, (480, 640)), (320, (240, 320))]
)
def test_the_jpeg_is_no_wider_than_asked_for(max_width: int, shape: tuple[int, int]) -> None:
    jpeg = overlay_jpeg(view((1280, 960)), answer(points()), max_width)
    assert jpeg[:2] == b'\xff\xd8'
    assert decoded(jpeg).shape == (*shape, 3)


@pytest.mark.parametrize('verdict', list(Verdict))
def test_the_jpeg_tells_the_verdict_at_its_top(verdict: Verdict) -> None:
    T_map_base = None if verdict is Verdict.NONE else T_MAP_BASE
    bar = decoded(overlay_jpeg(view(), answer(points(), T_map_base, verdict)))[:20].astype(int)
    redness = (bar[..., 0] - bar[..., 1]).ravel()
    strongest = redness[np.abs(redness).argmax()]
    assert abs(strongest) > 40
    assert (strongest < 0) == (verdict is Verdict.ACCEPTED)
