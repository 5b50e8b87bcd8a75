"""Which topics belong to one camera: its images, depth, labels and camera_info."""

from collections.abc import Sequence
from dataclasses import dataclass

from vloc_models.errors import BagError
from vloc_models.frames.cameras import CameraTimeline, camera_from_info, read_calibration
from vloc_models.frames.index import ImageTopic, Index
from vloc_models.frames.options import BagOptions

# several pictures of one camera: the first of these is taken
_VERSIONS = ('image_raw', 'image_color', 'image', 'image_rect_color', 'image_rect', 'image_mono')
_MINOR = ('infra', 'ir', 'confidence', 'mask', 'debug', 'overlay', 'annotated', 'theora')
_LABELS = ('label', 'semantic', 'segmentation')
_DEPTHS = ('16uc1', '32fc1')
_LEARNED, _MASK = 'self_depth', 'valid'  # in the names of what "vloc depth" writes
_FIX_IMAGES = 'record the camera (sensor_msgs Image or CompressedImage), or check --image-topics'
_FIX_INFO = (
    'record its camera_info (--camera-info-topics names one of another name), or give --camera '
    'with a calibration file'
)


@dataclass(frozen=True)
class ViewTopics:
    """The topics of one camera."""

    image: str
    frame_id: str  # the camera's frame
    encoding: str
    info: str  # the camera_info topic, or the calibration file
    cameras: CameraTimeline
    depth: str = ''  # '' where there is none
    labels: str = ''
    valid: str = ''  # where learned depth is confirmed


def choose_views(index: Index, options: BagOptions) -> tuple[list[ViewTopics], list[str]]:
    """The cameras to use, the first one first, and notes on what was left out.

    Raises:
        BagError: no images, a topic that is not there, no or unusable camera_info.
    """
    names, notes = _image_topics(index, options)
    infos = [_find_info(index, options, i, name) for i, name in enumerate(names)]
    found = list(zip(names, infos, strict=True))
    if not options.image_topics and any(infos):
        notes += [f'{n} is not used: it has no camera_info' for n, i in found if not i]
        names, infos = [n for n, i in found if i], [i for _, i in found if i]
    depths, depth_notes = _companions(index, options.depth_topics, names, 'depth')
    labels, label_notes = _companions(index, options.label_topics, names, 'labels')
    views = []
    for name, info, depth, label in zip(names, infos, depths, labels, strict=True):
        topic = index.images[name]
        cameras = _timeline(index, options, info, name)
        valid = _mask_of(index, depth)
        views.append(
            ViewTopics(name, topic.frame_id, topic.encoding, info, cameras, depth, label, valid)
        )
    return views, notes + depth_notes + label_notes


def kind_of(topic: ImageTopic) -> str:
    """Whether a topic holds colour, depth, its mask or labels, by its encoding and its name."""
    encoding, name = topic.encoding.lower(), topic.name.lower()
    if is_learned(name) and _base(name).endswith(f'/{_MASK}'):
        return 'mask'
    if encoding in _DEPTHS or 'compresseddepth' in encoding or 'depth' in name:
        return 'depth'
    return 'labels' if any(word in name for word in _LABELS) else 'colour'


def is_learned(name: str) -> bool:
    """Whether a depth topic holds what a network learned from the video, by its name."""
    return _LEARNED in name.lower().split('/')


def _mask_of(index: Index, depth: str) -> str:
    """The topic that tells where learned depth holds; '' for a sensor's, which needs none."""
    if not is_learned(depth):
        return ''
    names = [f'{_parent(depth)}/{_MASK}{transport}' for transport in ('/compressed', '')]
    if found := [name for name in names if name in index.images]:
        return found[0]
    raise BagError(
        f'{depth}: learned depth without its mask {names[0]}',
        'write the bag anew with "vloc depth", or give --depth-topics none',
    )


def is_rectified(name: str) -> bool:
    """Whether an image topic holds rectified pictures, by its name."""
    return any(part.startswith('image_rect') for part in name.split('/')) or '_rect' in name


def _base(name: str) -> str:
    """The topic without its transport: /camera/image_raw/compressed is /camera/image_raw."""
    for transport in ('/compressed', '/compressedDepth'):
        name = name.removesuffix(transport)
    return name


def _parent(name: str) -> str:
    return _base(name).rpartition('/')[0]


def _image_topics(index: Index, options: BagOptions) -> tuple[list[str], list[str]]:
    there = ', '.join(sorted(index.images)) or 'none'
    if missing := [name for name in options.image_topics if name not in index.images]:
        raise BagError(f'no images on {", ".join(missing)}; image topics are {there}', _FIX_IMAGES)
    if options.image_topics:
        return list(options.image_topics), []
    found = [t.name for t in index.images.values() if kind_of(t) == 'colour']
    if not found:
        raise BagError(f'no colour or grey images; image topics are {there}', _FIX_IMAGES)
    major = [n for n in found if not any(p.startswith(_MINOR) for p in n.lower().split('/'))]
    cameras: dict[str, list[str]] = {}
    for name in sorted(major or found):
        last = _base(name).rpartition('/')[2]
        cameras.setdefault(_parent(name) if last in _VERSIONS else _base(name), []).append(name)
    chosen = [min(names, key=_version) for names in cameras.values()]
    notes = [f'{n} is not used: it is no main camera' for n in sorted(set(found) - set(major))]
    notes += [f'{n} is not used: another picture of one camera' for n in major if n not in chosen]
    return chosen, notes if major else []


def _version(name: str) -> tuple[int, int]:
    last = _base(name).rpartition('/')[2]
    return (_VERSIONS.index(last) if last in _VERSIONS else 99, len(name))


def _find_info(index: Index, options: BagOptions, i: int, name: str) -> str:
    """The camera_info topic of an image topic, the calibration file's name, or ''."""
    if options.camera is not None:
        return str(options.camera)
    if options.camera_info_topics:
        if i >= len(options.camera_info_topics):
            raise BagError(f'no camera_info topic is named for {name}', 'name one an image topic')
        info = options.camera_info_topics[i]
        if info not in index.infos:
            there = ', '.join(sorted(index.infos)) or 'none'
            raise BagError(f'no camera_info on {info}; there are {there}', _FIX_INFO)
        return info
    for guess in (f'{_parent(name)}/camera_info', f'{_base(name)}/camera_info'):
        if guess in index.infos:
            return guess
    frame = index.images[name].frame_id
    same = [t for t, msgs in index.infos.items() if msgs[0][1].header.frame_id == frame and frame]
    if len(same) == 1:
        return same[0]
    colours = [t for t in index.images.values() if kind_of(t) == 'colour']
    return next(iter(index.infos)) if len(index.infos) == 1 == len(colours) else ''


def _timeline(index: Index, options: BagOptions, info: str, name: str) -> CameraTimeline:
    rectified = is_rectified(name)
    if options.camera is not None:
        return CameraTimeline([0], [read_calibration(options.camera, rectified)])
    if not info:
        raise BagError(f'{name}: no camera_info', _FIX_INFO)
    changes = sorted(index.infos[info], key=lambda change: change[0])
    cameras = [camera_from_info(msg, rectified, info) for _, msg in changes]
    return CameraTimeline([stamp for stamp, _ in changes], cameras)


def _companions(
    index: Index, given: Sequence[str], names: Sequence[str], kind: str
) -> tuple[list[str], list[str]]:
    """The depth or label topic of each image topic, '' for none, and notes."""
    if given:
        if len(given) != len(names):
            raise BagError(
                f'{len(given)} {kind} topics for {len(names)} image topics ({", ".join(names)})',
                'name one an image topic, "none" for a camera without',
            )
        if missing := [n for n in given if n not in index.images and n != 'none']:
            there = ', '.join(sorted(index.images)) or 'none'
            raise BagError(f'no {kind} on {", ".join(missing)}; image topics are {there}', _FIX)
        return ['' if n == 'none' else n for n in given], []
    found = [t for t in index.images.values() if kind_of(t) == kind and t.name not in names]
    chosen, notes = [], []
    for name in names:
        frame = index.images[name].frame_id
        fits = [t for t in found if t.frame_id == frame and t.name not in chosen]
        best = max(fits, key=lambda t, name=name: _closeness(t.name, name), default=None)
        chosen.append(best.name if best else '')
    for topic in found:
        frames = {index.images[n].frame_id for n in names}
        if topic.frame_id not in frames:
            notes.append(
                f'{topic.name} is not used: it is in frame {topic.frame_id!r}, not in the '
                f"image's ({_FIX})"
            )
    return chosen, notes


_FIX = 'record it registered to the colour image, or name it with --depth-topics'


def _closeness(name: str, image: str) -> tuple[bool, bool, int, int]:
    same = next((i for i, (a, b) in enumerate(zip(name, image, strict=False)) if a != b), 0)
    return not is_learned(name), 'aligned' in name, same, -len(name)
