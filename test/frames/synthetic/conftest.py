"""One small world, built once, and a short recording in it."""

from pathlib import Path

import pytest

from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.render import Renderer
from vloc_models.frames.synthetic.world import World, build_world

SPEC = SyntheticSpec(WorldSpec(seed=5, rooms=1), DriveSpec(kind='query', duration_s=2.0))


@pytest.fixture(scope='session')
def world() -> World:
    return build_world(SPEC.world)


@pytest.fixture(scope='session')
def renderer(world: World) -> Renderer:
    return Renderer(world, 'day')


@pytest.fixture(scope='session')
def source(tmp_path_factory: pytest.TempPathFactory) -> SyntheticSource:
    return SyntheticSource(SPEC, Path(tmp_path_factory.mktemp('synthetic')))
