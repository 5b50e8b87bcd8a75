"""One picture becomes an answer: the work of the worker thread. Raises nothing."""

import logging
import time
from dataclasses import dataclass

from vloc_models.errors import VlocError
from vloc_models.frames.live import LiveCamera
from vloc_models.localize.by_landmarks import Answer
from vloc_models.localize.localizer import Localizer
from vloc_models.localize.overlay import overlay_jpeg
from vloc_models.records import Array
from vloc_ros.camera_input import Picture

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """A picture, and who is to solve it."""

    picture: Picture
    camera: LiveCamera
    localizer: Localizer
    run: int  # counts the restarts of the clock; answers of an earlier run are worth nothing
    overlay: bool  # whether the picture for people is wanted
    prior: Array | None = None  # T_map_base [4, 4] to look at first


@dataclass(frozen=True, eq=False)
class Solved:
    """What came of a job: an answer, or a fault in words."""

    job: Job
    answer: Answer | None
    fault: str
    took_ms: float
    overlay: bytes = b''


def solve(job: Job) -> Solved:
    """Decode the image and find the pose."""
    began = time.perf_counter()
    picture = job.picture
    try:
        view = job.camera.view(picture.message, picture.place)
        answer = job.localizer.explain([view], job.prior, picture.stamp_ns)
        took_ms = (time.perf_counter() - began) * 1e3
        drawn = overlay_jpeg(view, answer) if job.overlay else b''
        return Solved(job, answer, '', took_ms, drawn)
    except VlocError as e:
        fault = f'{e.what}; {e.fix}'
    except Exception as e:  # a live node never dies of one picture
        log.exception('a picture could not be solved')
        fault = f'{type(e).__name__}: {e}; please report this'
    return Solved(job, None, fault, (time.perf_counter() - began) * 1e3)
