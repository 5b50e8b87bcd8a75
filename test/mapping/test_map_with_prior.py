"""A map that carries a pose prior: of one part or of several, and made in two goes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.localize.prior import Prior
from vloc_models.mapping.build_map import MappingConfig
from vloc_models.mapping.make_map import make_map
from vloc_models.mapping.prior import PriorConfig
from vloc_models.mapping.split import SplitConfig
from vloc_models.maps import Map, open_map
from vloc_models.networks.color_apr import ColorAprConfig
from vloc_models.training.color_apr import ColorAprTraining
from vloc_models.training.loop import LoopConfig

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def config(tiny_config: MappingConfig) -> MappingConfig:
    network = ColorAprConfig(widths=(4, 4, 8, 8), fused=16, hidden=16)
    loop = LoopConfig(5, 1e-3, checkpoint_s=0)
    training = ColorAprTraining(network=network, short_side_px=32, batch=4, loop=loop)
    return replace(tiny_config, instant=True, prior=True, pose_prior=PriorConfig(training))


def check_answers(site: Map, gallery: Any) -> None:
    """Hardly trained, it tells about the middle of the place that it was shown."""
    prior = Prior.load(site, 1)
    assert prior is not None
    assert prior.use.pictures > 0
    taken = np.stack([drawn.T_map_base[:3, 3] for drawn in gallery.drawn])
    middle, spread = taken.mean(0), np.linalg.norm(taken - taken.mean(0), axis=1).mean()
    for drawn in gallery.drawn[::5]:
        told = prior.told(drawn.views[0])
        assert told is not None
        assert np.linalg.norm(told.T_map_base[:3, 3] - middle) < 0.5 * spread


@pytest.fixture(scope='module')
def made(gallery: Any, config: MappingConfig, tmp_path_factory: Any) -> tuple[Map, set[str]]:
    steps, path = set[str](), tmp_path_factory.mktemp('prior') / 'site'
    return make_map(gallery, [], path, config, lambda *x: steps.add(x[0])), steps


def test_a_map_learns_it(made: tuple[Map, set[str]], gallery: Any) -> None:
    site, steps = made
    assert {'training the pose prior, first part', 'training the pose prior, second part'} < steps
    check_answers(open_map(site.folder), gallery)
    assert not list(site.folder.parent.glob('.site*'))


def test_it_is_carried_along_when_a_map_is_aligned(
    made: tuple[Map, set[str]], gallery: Any
) -> None:
    site, T = made[0], se3.from_xyz_rpy([3.0, 2.0, 0.0], [0.0, 0.0, 1.0])
    moved = replace(site, info=replace(site.info, T_frame_map=tuple(map(tuple, T.tolist()))))
    view = gallery.drawn[3].views[0]
    plain, turned = (Prior.load(each, 1) for each in (site, moved))
    assert plain is not None
    assert turned is not None
    before, after = plain.told(view), turned.told(view)
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after.T_map_base, T @ before.T_map_base, atol=1e-9)


def test_a_large_place_has_one_of_all_its_parts(
    gallery: Any, config: MappingConfig, tmp_path: Path
) -> None:
    drive, told = type(gallery)(60), list[str]()
    config = replace(config, split=SplitConfig(max_m=1.7))

    def stopping(step: str, done: int, total: int) -> None:
        told.append(step)
        if step == 'part 2 of 2: looking':
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_map(drive, [], tmp_path / 'site', config, stopping)
    assert 'training the pose prior, second part' in told
    again = set[str]()
    made = make_map(drive, [], tmp_path / 'site', config, lambda *x: again.add(x[0]))
    assert not {step for step in again if 'training the pose prior' in step}  # it was finished
    assert len(made.info.submaps) == 2
    check_answers(open_map(made.folder), drive)


def test_classes_that_nobody_recorded(gallery: Any, config: MappingConfig, tmp_path: Path) -> None:
    training = replace(config.pose_prior.training, network=ColorAprConfig(aux='classes'))
    config = replace(config, pose_prior=PriorConfig(training))
    steps = set[str]()
    with pytest.raises(VlocError, match='no classes are recorded'):
        make_map(gallery, [], tmp_path / 'site', config, lambda *x: steps.add(x[0]))
    assert steps == {'reading'}  # told at once
    assert not (tmp_path / 'site').exists()
