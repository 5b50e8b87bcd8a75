"""The pictures of one moment become an answer: the work of the worker thread. Raises nothing."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from vloc_models.errors import VlocError
from vloc_models.localize.by_landmarks import Answer
from vloc_models.localize.localizer import Localizer
from vloc_models.localize.overlay import overlay_jpeg
from vloc_models.records import Array, View
from vloc_ros.camera_input import Picture
from vloc_ros.rig_input import Moment

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """The pictures of one moment, and who is to solve them."""

    pictures: Moment
    localizer: Localizer
    run: int  # counts the restarts of the clock; answers of an earlier run are worth nothing
    overlay: bool  # whether the picture for people is wanted
    prior: Array | None = None  # T_map_base [4, 4] to look at first


@dataclass(frozen=True, eq=False)
class Solved:
    """What came of a job: an answer, or only faults in words."""

    job: Job
    pictures: Moment  # that were solved; all of the job's, where none could be read
    answer: Answer | None
    faults: Mapping[str, str]  # of parts of the node
    took_ms: float
    overlay: bytes = b''


def solve(job: Job) -> Solved:
    """Decode the images and find the pose; those that are damaged are done without."""
    began = time.perf_counter()
    views: dict[Picture, View] = {}
    faults: dict[str, str] = {}
    for picture in job.pictures:
        view = _decoded(picture)
        if isinstance(view, View):
            views[picture] = view
        else:
            faults[picture.part] = view
    pictures = tuple(views) or job.pictures
    try:
        if views:
            seen = list(views.values())
            answer = job.localizer.explain(seen, job.prior, pictures[0].stamp_ns)
            took_ms = (time.perf_counter() - began) * 1e3
            drawn = overlay_jpeg(seen[0], answer) if job.overlay else b''
            return Solved(job, pictures, answer, faults, took_ms, drawn)
    except Exception as e:
        faults[pictures[0].part] = _words(e)
    return Solved(job, pictures, None, faults, (time.perf_counter() - began) * 1e3)


def _decoded(picture: Picture) -> View | str:
    """What is to be seen, or what is wrong with it."""
    try:
        return picture.view()
    except Exception as e:  # a live node never dies of one picture
        return _words(e)


def _words(e: Exception) -> str:
    if isinstance(e, VlocError):
        return f'{e.what}; {e.fix}'
    log.error('a picture could not be solved', exc_info=e)
    return f'{type(e).__name__}: {e}; please report this'
