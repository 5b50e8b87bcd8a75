"""A recording becomes a map: read, look, train, test on held-out blocks, train on, write.

Each step's result is kept beside the map until the end, so that a killed build goes on where it
was and ends with the same map. The self-test asks the head as it was before it saw the held-out
blocks; then training goes on with all pictures, so that the map is no worse than its test.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vloc_models import __version__, config
from vloc_models.errors import BagError, VlocError
from vloc_models.export.to_onnx import SceneNetwork
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.frames.source import FrameSource
from vloc_models.mapping.calibrate import blocks_of
from vloc_models.mapping.check_recording import check_recording
from vloc_models.mapping.encoder import ChosenEncoder, EncoderChoice, choose_encoder
from vloc_models.mapping.heads import (
    Material,
    Method,
    Training,
    label_tree,
    parts,
    train,
)
from vloc_models.mapping.held_out import HeldOutConfig, held_out
from vloc_models.mapping.landmarks import LandmarkConfig, choose_landmarks
from vloc_models.mapping.places import PlacesConfig, index_places
from vloc_models.mapping.prior import (
    PriorConfig,
    PriorFiles,
    prior_files,
    with_prior,
)
from vloc_models.mapping.pseudo_labels import check_label_topics
from vloc_models.mapping.refine import Refined, refine
from vloc_models.mapping.self_depth import (
    DepthKind,
    SelfDepthConfig,
    Teacher,
    depth_chosen,
    with_self_depth,
)
from vloc_models.mapping.self_test import NOT_TESTED, SelfTest, self_test
from vloc_models.mapping.sightings import Sightings, look
from vloc_models.mapping.split import SplitConfig
from vloc_models.mapping.triangulate import triangulate
from vloc_models.mapping.twins import with_twins
from vloc_models.mapping.work import Work, fingerprint
from vloc_models.mapping.write_submap import INDEX, Answering, write_submap
from vloc_models.maps import Map, MapCamera, MapInfo, MapWriter, Provenance
from vloc_models.solvers.landmarks import Landmarks
from vloc_models.solvers.retrieval import Places
from vloc_models.training.ace import AceTraining, Buffer, BufferConfig, fill_buffer, pictures_of
from vloc_models.training.color_apr import check_classes
from vloc_models.training.hscnet import HscnetTraining

_log = logging.getLogger(__name__)
Report = Callable[[str, int, int], None]  # step in words, done, of how many
_SCALE_PERCENT = 0.5  # from which an error of the depth sensor's is worth telling
_FEWEST_TO_TEST = 40  # pictures; with fewer none can be spared


@dataclass(frozen=True)
class MappingConfig:
    """How a map is made; the defaults suit a place of a few rooms."""

    seed: int = 0
    """Of all that is drawn at random; the same one gives the same map."""
    device: str = 'cpu'
    """Where the head is trained: cpu or cuda."""
    max_images: int = 1000
    """Pictures kept in memory, of a part of the place, evenly along the way."""
    min_images: int = 10
    """Fewer are no recording of a place."""
    depth: DepthKind = 'auto'
    """auto: what the recording has; sensor: a sensor's; self: learned from its pictures, where no
    sensor is needed (minutes); none."""
    instant: bool = False
    """No training: landmarks only, in seconds."""
    method: Method = 'ace'
    """What is trained beside the landmarks: ace, one small network for a place of a few rooms;
    hscnet, regions first, for many rooms, and where depth is known."""
    prior: bool = False
    """Train a pose prior too, minutes more: a coarse guess where no pose is found."""
    tested_share: float = 0.6
    """Of the training, before the self-test; the rest is with all pictures."""
    encoder: EncoderChoice = field(default_factory=EncoderChoice)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    training: AceTraining = field(default_factory=AceTraining)
    hscnet: HscnetTraining = field(default_factory=HscnetTraining)
    self_depth: SelfDepthConfig = field(default_factory=SelfDepthConfig)
    landmarks: LandmarkConfig = field(default_factory=LandmarkConfig)
    places: PlacesConfig = field(default_factory=PlacesConfig)
    pose_prior: PriorConfig = field(default_factory=PriorConfig)
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig)
    split: SplitConfig = field(default_factory=SplitConfig)

    @property
    def in_colour(self) -> bool:
        """Whether what is trained wants colours."""
        full = self.method == 'hscnet' and self.hscnet.preset == 'full'
        return self.depth == 'self' or full or self.prior


@dataclass(frozen=True, eq=False)
class _Build:
    """What all steps share."""

    source: FrameSource
    bags: tuple[str, ...]
    config: MappingConfig
    encoder: ChosenEncoder
    keyframes: list[Keyframe]
    report: Report
    like: Places | None


def build_map(
    source: FrameSource,
    bags: Sequence[str],
    out: Path,
    config: MappingConfig,
    report: Report = lambda step, done, total: None,
    like: Places | None = None,
) -> Map:
    """Make a map of one sub-map of a recording.

    Args:
        source: pictures with poses, and depth where there is some.
        bags: what the recording is called, for the map's provenance.
        out: the map folder; an old map there is replaced at the end.
        config: how.
        report: called as the work goes on.
        like: the index of another part, that this one's is to be joined with.

    Raises:
        VlocError: if the recording makes no map, or memory or disk run out; the old map is whole.
    """
    started = time.monotonic()
    _check_device(config.device)
    with MapWriter(out):  # is there a place to write to? known now, not in minutes
        pass
    try:
        encoder = choose_encoder(config.encoder)
        keyframes = read_keyframes(
            source,
            config.max_images,
            encoder.record.short_side_px,
            lambda done, total: report('reading', done, total),
            colour=config.in_colour,
        )
        keyframes = depth_chosen(keyframes, config.depth)
        check_recording(keyframes, encoder, config.min_images)
        if config.method == 'hscnet' and not config.instant:
            _check_for_hscnet(keyframes, config)
        if config.prior:
            check_classes([k.labels for k in keyframes], config.pose_prior.training.network)
        build = _Build(source, tuple(bags), config, encoder, keyframes, report, like)
        with Work(out, _fingerprint(build)) as work:
            return _build(build, work, out, started)
    except MemoryError as e:
        raise VlocError('out of memory', _SMALLER) from e
    except RuntimeError as e:
        if 'memory' not in str(e):
            raise
        raise VlocError(f'out of memory: {str(e).splitlines()[0]}', _SMALLER) from e


_SMALLER = 'lower --buffer.cells or --max-images, or use a machine with more memory'


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as e:  # torch raises either
        raise VlocError(f'device {device}: {str(e).splitlines()[0]}', 'use cpu') from e


def _build(build: _Build, work: Work, out: Path, started: float) -> Map:
    learned, asked = _blocks(build)
    if build.config.depth == 'self':
        check_label_topics(build.source.cameras, build.keyframes)
        teacher = Teacher(
            build.encoder, build.config.self_depth, build.config.device, build.report
        )
        build = replace(build, keyframes=with_self_depth(build.keyframes, learned, teacher, work))
    sightings = _sightings(build, work)
    tested = _measured(build, sightings.of(learned))
    known = _measured(build, sightings) if asked.any() else tested
    _tell_scale(known.depth_scale)
    made, tests = _parts(build, known), NOT_TESTED
    if build.config.instant and made.landmarks is None:
        raise BagError(
            'no points for an instant map: no depth, and the pictures overlap too little',
            'leave out --instant, or record with depth, or more slowly',
        )
    if build.config.prior:
        made = replace(made, prior=_prior(build, work))
    if not build.config.instant:
        made, tests = _trained(build, work, made, tested, (learned, asked))
    elif asked.any():
        tests = _tested(build, _parts(build, tested), asked, work)
    seconds = time.monotonic() - started
    tests = replace(tests, figures=tests.figures | {'map_seconds': seconds})
    return _write(build, made, out, tests)


def _prior(build: _Build, work: Work) -> PriorFiles:
    c, checkpoint = build.config, work.folder / 'prior'
    return prior_files(build.keyframes, c.pose_prior, c.seed, c.device, checkpoint, build.report)


def _trained(
    build: _Build,
    work: Work,
    made: Answering,
    before: Refined,
    blocks: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> tuple[Answering, SelfTest]:
    """With a head that knows all pictures, and a test of one that knew what was ``before``."""
    learned, asked = blocks
    known, training = _material(build, work, before.depth_scale)
    first, second = parts(training, build.config.tested_share, bool(asked.any()))

    def part(
        name: str, words: str, known: Material, training: Training, start: SceneNetwork | None
    ) -> SceneNetwork:
        def report(step: int, loss: float) -> None:
            build.report(words, step, training.loop.steps)

        checkpoint = work.folder / f'{name}.pt'
        return train(known, training, start, build.config.device, checkpoint, report)

    head = part('first', 'training', known.of(learned), first, None)
    tests = NOT_TESTED
    if second is not None:
        tested = replace(_parts(build, before), head=head)
        tests = _tested(build, tested, asked, work)
        head = part('second', 'training with all', known, second, head)
    return replace(made, head=head), tests


def _material(build: _Build, work: Work, depth_scale: float) -> tuple[Material, Training]:
    """What is learned from, and how."""
    config, keyframes = build.config, [k.scaled(depth_scale) for k in build.keyframes]
    buffer = _buffer(build, work, keyframes)
    if config.method == 'ace':
        training = config.training.for_pictures(len(keyframes))
        if any(k.learned for k in keyframes):  # it errs: let go of it in time
            until = min(config.self_depth.until, training.depth_until)
            training = replace(training, depth_until=until)
        return Material(keyframes, buffer), training
    tree = label_tree(keyframes, buffer, config.hscnet)
    return Material(keyframes, buffer, tree), config.hscnet.for_pictures(len(keyframes))


def _check_for_hscnet(keyframes: list[Keyframe], config: MappingConfig) -> None:
    if config.depth != 'self' and all(k.depth is None for k in keyframes):
        raise BagError(
            'hscnet learns from depth, which no picture has',
            'add --depth self, record depth, or use --method ace',
        )
    if config.hscnet.preset == 'sparse' and not config.landmarks.per_picture:
        raise VlocError(
            'hscnet sparse needs landmarks, to find pictures by',
            'leave out --landmarks.per-picture 0, or use --hscnet.preset lite',
        )


def _fingerprint(build: _Build) -> str:
    settings = config.to_yaml(build.config), __version__, build.encoder.record.sha256
    return fingerprint(settings, build.keyframes)


def _sightings(build: _Build, work: Work) -> Sightings:
    kept = work.load('sightings')
    if kept is not None:
        return Sightings(**kept)
    sightings = look(
        build.keyframes,
        build.encoder,
        lambda done, total: build.report('looking', done, total),
    )
    work.save('sightings', vars(sightings))
    return sightings


def _measured(build: _Build, sightings: Sightings) -> Refined:
    """With points: of the depth sensor, or by matching, and as the pictures agree on them."""
    return refine(triangulate(sightings, build.keyframes), build.keyframes)


def _tell_scale(depth_scale: float) -> None:
    off = 100 * (depth_scale - 1)
    if abs(off) >= _SCALE_PERCENT:
        _log.info(f'depth is {abs(off):.1f} % too {"small" if off > 0 else "large"}: corrected')


def _buffer(build: _Build, work: Work, keyframes: Sequence[Keyframe]) -> Buffer:
    kept = work.load('buffer')
    if kept is not None:
        return Buffer(**kept)
    buffer = fill_buffer(
        keyframes,
        build.encoder,
        build.config.buffer,
        build.config.seed,
        lambda done, total: build.report('encoding', done, total),
    )
    config = build.config
    batch = (config.training if config.method == 'ace' else config.hscnet).batch
    if len(buffer.picture) < batch:
        raise VlocError(
            f'{len(buffer.picture)} cells are fewer than a batch of {batch}',
            'raise --buffer.cells or lower the batch',
        )
    work.save('buffer', vars(buffer))
    return buffer


def _blocks(build: _Build) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pictures the first training learns from, and which the self-test asks for."""
    count = len(build.keyframes)
    if count < _FEWEST_TO_TEST:
        return np.ones(count, bool), np.zeros(count, bool)
    return held_out(count, build.config.held_out)


def _tested(build: _Build, parts: Answering, asked: NDArray[np.bool_], work: Work) -> SelfTest:
    """Write a map, and ask it for what it has not seen."""
    if kept := work.load_figures('self_test'):
        return SelfTest.of_json(kept)
    queries = [k for k, ask in zip(build.keyframes, asked, strict=True) if ask]
    path = work.folder / 'tested'
    _write(build, parts, path, NOT_TESTED)
    report = partial(build.report, 'testing')
    tests = self_test(path, queries, blocks_of(asked).tolist(), report)
    work.save_figures('self_test', tests.as_json())
    return tests


def _parts(build: _Build, known: Refined) -> Answering:
    """All but the head."""
    seen, config = known.sightings, build.config
    T_map_cam = np.stack([k.T_map_cam for k in build.keyframes])
    places = index_places(seen, T_map_cam, config.places, config.seed, build.like)
    return Answering(_landmarks(build, known), seen.pictures, places)


def _landmarks(build: _Build, known: Refined) -> Landmarks | None:
    T_map_cam = np.stack([k.T_map_cam for k in build.keyframes])
    config, seed = build.config.landmarks, build.config.seed
    chosen = choose_landmarks(known.sightings, T_map_cam, config, seed)
    if chosen is None:
        return None
    report = partial(build.report, 'looking for places that look alike')
    return with_twins(chosen, build.keyframes[0].camera, report)


def _write(build: _Build, parts: Answering, out: Path, tests: SelfTest) -> Map:
    encoder = build.encoder
    with MapWriter(out) as writer:
        submap = write_submap(writer, parts, pictures_of(build.keyframes).centre)
        submap = replace(submap, encoder=encoder.record.sha256)
        writer.add_arrays(INDEX, **parts.places.arrays())
        if encoder.record.file is not None:
            assert encoder.record.probe is not None
            writer.add_bytes(encoder.record.file, encoder.graph)
            writer.add_bytes(encoder.record.probe, encoder.probe)
        info = MapInfo(
            encoder=encoder.record,
            cameras=tuple(
                MapCamera(c.name, c.camera, tuple(tuple(row) for row in c.T_base_cam.tolist()))
                for c in build.source.cameras
            ),
            submaps=(submap,),
            provenance=Provenance(
                bags=build.bags,
                topics=tuple(c.name for c in build.source.cameras),
                vloc=__version__,
                date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
                self_test=tests.figures,
            ),
            calibration=tests.calibration,
            index=INDEX,
        )
        return writer.finish(with_prior(writer, info, parts.prior))
