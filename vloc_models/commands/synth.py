"""``vloc synth``: record a drive through a synthetic world into a bag."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import track

from vloc_models.errors import VlocError
from vloc_models.frames.cameras import read_calibration
from vloc_models.frames.synthetic import SyntheticSource, SyntheticSpec
from vloc_models.frames.synthetic.preview import write_preview
from vloc_models.frames.synthetic.rigs import RIGS, Mount, RigName
from vloc_models.frames.write_bag import WriteOptions, check_replaceable, write_bag
from vloc_models.records import Frame, View

_DEFAULT = SyntheticSpec()


def synth(
    bag: tyro.conf.Positional[Path],
    spec: Annotated[SyntheticSpec, tyro.conf.arg(name='')] = _DEFAULT,
    camera: Path | None = None,
    depth: Literal['auto', 'yes', 'no'] = 'auto',
    labels: bool = False,
    preview: bool = True,
    storage: Literal['mcap', 'sqlite3'] = 'mcap',
    overwrite: bool = False,
    cache: Path | None = None,
) -> None:
    """Drive through a synthetic world and write what the robot's cameras and wheels saw.

    A mapping drive and a query drive through the same building, by evening light:
        vloc synth house_map --world.seed 3
        vloc synth house_query --world.seed 3 --drive.kind query --look evening

    Args:
        bag: the rosbag2 folder to write.
        spec: the world, the drive, the light and the cameras.
        camera: a calibration file (yaml of camera_calibration) for the rig's cameras.
        depth: write depth images; auto: in mapping drives.
        labels: write images of the 15 semantic classes.
        preview: write BAG.preview.jpg beside the bag: pictures and the way driven.
        storage: the kind of bag.
        overwrite: replace a bag that is there.
        cache: where rendered pictures are kept [$VLOC_CACHE, else the user's cache folder].
    """
    mapping = spec.drive.kind == 'mapping'
    with_depth = depth == 'yes' or (depth == 'auto' and mapping)
    console = Console(stderr=True, markup=False)
    if overwrite:
        check_replaceable(bag)
    elif bag.exists():  # before minutes of work, not after
        raise VlocError(f'{bag} exists already', 'choose another name, or add --overwrite')
    source = SyntheticSource(spec, cache, _mounts(spec.rig, camera))
    seconds = (source.span_ns[1] - source.span_ns[0]) / 1e9
    console.print(
        f'{spec.drive.kind} drive of {source.truth.length_m():.0f} m in {seconds:.0f} s: '
        f'{len(source)} frames x {len(source.cameras)} camera(s), {spec.look} light'
    )
    frames = track(source.frames(), 'rendering', total=len(source), console=console)
    options = WriteOptions(storage, map_tf=mapping, overwrite=overwrite)
    stripped = (_only(frame, with_depth, labels) for frame in frames)
    write_bag(bag, stripped, options, source.odometry())
    console.print(f'written: {bag}')
    if preview:
        picture = bag.with_name(f'{bag.name}.preview.jpg')
        if not write_preview(str(picture), source):
            raise VlocError(f'{picture}: cannot be written', 'free some disk, or --no-preview')
        console.print(f'picture: {picture}')


def _mounts(rig: RigName, calibration: Path | None) -> tuple[Mount, ...]:
    """The rig, all its cameras replaced by the calibrated one."""
    if calibration is None:
        return RIGS[rig]
    camera = read_calibration(calibration)
    return tuple(Mount(camera, m.T_base_cam) for m in RIGS[rig])


def _only(frame: Frame, depth: bool, labels: bool) -> Frame:
    """The frame with no more than what is wanted in the bag."""

    def trim(view: View) -> View:
        return replace(
            view, depth=view.depth if depth else None, labels=view.labels if labels else None
        )

    return replace(frame, views=tuple(trim(v) for v in frame.views))
