"""One camera of a running robot: its messages, as they come, become the Views a bag gives too."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.cameras import CameraTimeline, camera_from_info, read_calibration
from vloc_models.frames.decode import decode_image
from vloc_models.frames.rig import is_rectified
from vloc_models.frames.transforms import TransformTree
from vloc_models.frames.views import check_size
from vloc_models.geometry.camera import Camera
from vloc_models.records import View

Array = NDArray[np.float64]
_KEPT = 8  # changes of camera_info
_FIX_PARENT = 'let only one node publish each transform'
_FIX_MOUNT = (
    'publish base frame -> camera on /tf_static (robot_state_publisher, or '
    'static_transform_publisher), or set base_frame to "" to take the camera as the body'
)


class LiveCamera:
    """What is known of a camera by now."""

    def __init__(self, topic: str, info_topic: str, base_frame: str, file: str = '') -> None:
        """A camera.

        Args:
            topic: of its images; by its name they are rectified or not.
            info_topic: of its camera_info, for messages.
            base_frame: the robot's body; '' = the camera itself.
            file: a calibration file to use in place of camera_info; '' = none.

        Raises:
            BagError: if the file is no calibration.
        """
        self.topic, self.info_topic, self.base_frame = topic, file or info_topic, base_frame
        self._by_file = bool(file)
        self._infos: list[tuple[int, Camera]] = []  # changes, by their stamp
        self._last: Camera | None = None  # that came
        self._body = base_frame
        self._fault: BagError | None = BagError(
            f'no camera_info on {info_topic}',
            'start the camera driver, remap camera_info, or set camera_file',
        )
        if file:
            self._keep(0, read_calibration(Path(file), is_rectified(topic)))

    def add_info(self, msg: Any) -> None:
        """Take a sensor_msgs/CameraInfo; it holds for the images from its stamp on.

        Raises:
            BagError: for numbers that no camera can have; there is no camera until the next one.
        """
        if self._by_file:
            return
        try:
            camera = camera_from_info(msg, is_rectified(self.topic), self.info_topic)
        except BagError as e:
            self._fault = e
            self._infos.clear()
            raise
        self._keep(msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec, camera)

    def restart(self) -> None:
        """The clock was set back: only the last camera_info holds, and for any stamp."""
        if self._infos and self._last is not None:
            self._infos = [(0, self._last)]

    def place(self, tree: TransformTree, frame_id: str, stamp_ns: int) -> tuple[Camera, Array]:
        """The camera at the stamp of an image, and ``T_base_cam``.

        Args:
            tree: the robot's transforms.
            frame_id: of the image.
            stamp_ns: of the image.

        Raises:
            BagError: if one of them is not known, or not yet.
        """
        if self._fault is not None:
            raise self._fault
        stamps, cameras = zip(*self._infos, strict=True)
        camera = CameraTimeline(list(stamps), list(cameras)).at(stamp_ns)
        frame_id = frame_id.lstrip('/')
        if not frame_id:
            fix = 'set the frame id of the camera driver'
            raise BagError(f'{self.topic}: its images have no frame_id', fix)
        self._body = self._body or frame_id
        if frame_id == self._body:
            return camera, np.eye(4)
        if not self.base_frame:
            what = f'{self.topic}: its frame was {self._body!r} and is {frame_id!r} now'
            raise BagError(what, 'let one camera publish there, or set base_frame')
        try:
            return camera, tree.lookup(self.base_frame, frame_id, stamp_ns, 5 * 10**8)
        except BagError as e:
            what = f'where {self.topic} sits on the robot is not known: {e.what}'
            raise BagError(what, _FIX_PARENT if 'one node' in e.fix else _FIX_MOUNT) from e

    def view(self, msg: Any, place: tuple[Camera, Array]) -> View:
        """Decode an image (sensor_msgs Image or CompressedImage) taken from that place.

        Raises:
            BagError: if it is damaged, of an unknown encoding, or not of the camera's size.
        """
        try:
            image = decode_image(msg)
        except BagError as e:
            raise BagError(f'{self.topic}: {e.what}', e.fix) from e
        check_size(image, place[0], self.topic, self.info_topic)
        return View(image, *place)

    def _keep(self, stamp_ns: int, camera: Camera) -> None:
        self._fault, self._last = None, camera
        before = [change for change in self._infos if change[0] <= stamp_ns]
        if stamp_ns == 0:
            self._infos = [(0, camera)]
        elif not before or before[-1][1] != camera:
            after = self._infos[len(before) :]
            self._infos = [*before, (stamp_ns, camera), *after][-_KEPT:]
