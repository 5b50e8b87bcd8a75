"""A recording with poses becomes a bag with depth that was learned from it, and a mask of it.

All pictures teach the network (at most ``max_images`` of them), then every frame is told and
checked against these, one at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vloc_models import __version__, config
from vloc_models.errors import BagError
from vloc_models.frames.depth_preview import DepthPreview
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.frames.source import FrameSource
from vloc_models.frames.survey import check_mapping
from vloc_models.frames.working import working_view
from vloc_models.frames.write_bag import WriteOptions, write_bag
from vloc_models.mapping.consistency import DepthPicture
from vloc_models.mapping.encoder import ChosenEncoder, EncoderChoice, choose_encoder
from vloc_models.mapping.pseudo_labels import check_label_topics
from vloc_models.mapping.self_depth import (
    Report,
    SelfDepth,
    SelfDepthConfig,
    Teacher,
    check_agreement,
    learn_depth,
)
from vloc_models.mapping.work import Work, fingerprint
from vloc_models.metrics.depth import DepthScore
from vloc_models.records import Array, Frame, View

_SOME = 20  # pictures that tell whether it is worth while to write a bag


@dataclass(frozen=True)
class DepthBagConfig:
    """How depth is learned and written."""

    device: str = 'cpu'
    """Where it is learned: cpu or cuda."""
    max_images: int = 1000
    """Pictures to learn from, evenly along the way; all frames are written."""
    self_depth: SelfDepthConfig = field(default_factory=SelfDepthConfig)


@dataclass
class DepthFigures:
    """What came of it."""

    frames: int = 0
    views: int = 0
    left_out: int = 0  # frames that lack a camera
    valid: float = 0.0  # share of the pixels, of the views together
    all_against_sensor: DepthScore = field(default_factory=DepthScore)
    valid_against_sensor: DepthScore = field(default_factory=DepthScore)

    def add(self, told: View, sensor: View) -> None:
        """Count a view."""
        assert told.depth is not None
        assert told.valid is not None
        self.views += 1
        self.valid += (float(told.valid.mean()) - self.valid) / self.views
        if sensor.depth is not None and sensor.valid is None:
            self.all_against_sensor.add(told.depth, sensor.depth)
            masked = np.where(told.valid, told.depth, np.nan)
            self.valid_against_sensor.add(masked, sensor.depth)

    def as_json(self) -> dict[str, float | None]:
        """All figures by name."""
        every, valid = self.all_against_sensor, self.valid_against_sensor
        return {
            'frames': self.frames,
            'valid_share': self.valid,
            'abs_rel_all': every.abs_rel,
            'abs_rel_valid': valid.abs_rel,
            'within_5_percent_all': every.within_5_percent,
            'within_5_percent_valid': valid.within_5_percent,
            'share_of_sensor_valid': valid.share,
        }


def write_depth_bag(
    source: FrameSource,
    out: Path,
    settings: DepthBagConfig,
    options: WriteOptions,
    report: Report = lambda step, done, total: None,
) -> tuple[DepthFigures, DepthPreview]:
    """Learn depth from a recording, and write its frames with it; a sensor's depth is left out.

    What was learned so far is kept beside ``out`` until the bag is written: interrupted, the same
    call goes on.

    Raises:
        BagError: if the recording has no poses, or does not move, or cannot be read or written.
        VlocError: if depth cannot be learned from it.
    """
    check_mapping(source)
    encoder = choose_encoder(EncoderChoice())
    keyframes = read_keyframes(
        source,
        settings.max_images,
        encoder.record.short_side_px,
        lambda done, total: report('reading', done, total),
        colour=True,
    )
    check_label_topics(source.cameras, keyframes)
    words = config.to_yaml(settings), __version__, encoder.record.sha256
    with Work(out, fingerprint(words, keyframes)) as work:
        teacher = Teacher(encoder, settings.self_depth, settings.device, report)
        network = learn_depth(keyframes, teacher, work.folder / 'depth.pt')
        writer = _Writer(source, encoder, network, keyframes, report)
        write_bag(out, writer.frames(), options, source.odometry())
    return writer.figures, writer.preview


class _Writer:
    """Tells the depth of a recording's frames, and counts what came of it."""

    def __init__(
        self,
        source: FrameSource,
        encoder: ChosenEncoder,
        network: SelfDepth,
        keyframes: list[Keyframe],
        report: Report,
    ) -> None:
        self._source, self._network, self._report = source, network, report
        self._short_side_px = encoder.record.short_side_px
        self.figures = DepthFigures()
        self.preview = DepthPreview(len(source))
        self._others: list[DepthPicture] = []
        for done, k in enumerate(keyframes):
            assert k.image is not None
            self._others.append(network.depth_of(k.image, k.camera, k.T_map_cam))
            report('telling depth', done + 1, len(keyframes))
        self._check(keyframes)

    def _check(self, keyframes: list[Keyframe]) -> None:
        """Find out before a bag is written whether pictures agree at all, by some of them."""
        pairs = list(zip(keyframes, self._others, strict=True))
        some = pairs[:: max(1, len(pairs) // _SOME)]
        told = [self._network.checked(p, self._others, k.camera, k.labels) for k, p in some]
        check_agreement([t.valid for t in told])

    def frames(self) -> Iterator[Frame]:
        """All that have every camera."""
        cameras, figures = len(self._source.cameras), self.figures
        for done, frame in enumerate(self._source.frames()):
            self._report('writing', done + 1, len(self._source))
            if len(frame.views) < cameras:
                figures.left_out += 1
                continue
            views = tuple(self._told(view, frame.T_map_base) for view in frame.views)
            figures.frames += 1
            first = views[0]
            assert first.depth is not None
            assert first.valid is not None
            self.preview.show(first.image, np.where(first.valid, first.depth, np.nan))
            yield replace(frame, views=views)
        if not figures.frames:
            raise BagError('no frame has all cameras', 'name fewer with --image-topics')

    def _told(self, view: View, T_map_base: Array | None) -> View:
        """With depth everywhere, and valid where it is confirmed; nowhere without a pose."""
        small = working_view(view, self._short_side_px)
        T_map_cam = np.eye(4) if T_map_base is None else T_map_base @ view.T_base_cam
        picture = self._network.depth_of(small.image, small.camera, T_map_cam)
        others = [] if T_map_base is None else self._others
        told = self._network.checked(picture, others, small.camera, small.labels)
        rectified = self._network.rectified(view.camera)
        depth = rectified.depth_back(told.depth)
        valid = rectified.mask_back(told.valid) & np.isfinite(depth)
        found = replace(view, depth=depth, valid=valid)
        self.figures.add(found, view)
        return found
