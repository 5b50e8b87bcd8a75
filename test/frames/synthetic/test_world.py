import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.frames.synthetic import Label, WorldSpec
from vloc_models.frames.synthetic.decals import DECALS, word
from vloc_models.frames.synthetic.furniture import CLUTTER, FURNITURE
from vloc_models.frames.synthetic.grid import parts
from vloc_models.frames.synthetic.materials import Split
from vloc_models.frames.synthetic.surfaces import SurfaceTable
from vloc_models.frames.synthetic.tiles import TILES
from vloc_models.frames.synthetic.world import World, build_world
from vloc_models.geometry import se3


def rects_of_room(world: World, number: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Origins in the room's frame, and the textures, of what lies inside one room's walls."""
    room, s = world.rooms[number], world.surfaces
    local = se3.apply(se3.inverse(room.T_map_room), s.origin)
    size = np.array([room.plan.width, room.plan.depth])
    inside = ((local[:, :2] > 0.2) & (local[:, :2] < size - 0.2)).all(1)
    textures = [world.textures[s.materials[i].texture].image for i in np.flatnonzero(inside)]
    return local[inside], textures


def same_textures(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_same_description_gives_the_same_world(world: World) -> None:
    again = build_world(world.spec)
    np.testing.assert_array_equal(world.surfaces.origin, again.surfaces.origin)
    assert same_textures([t.image for t in world.textures], [t.image for t in again.textures])


def test_another_seed_gives_another_world(world: World) -> None:
    other = build_world(WorldSpec(seed=6, rooms=1))
    assert len(other.surfaces) != len(world.surfaces)


def test_training_and_test_worlds_share_no_maker() -> None:
    for table in (TILES, DECALS, FURNITURE):
        makers = {s: {m for row in table[s].values() for m in row} for s in ('train', 'test')}
        assert not makers['train'] & makers['test']
    assert not set(CLUTTER['train']) & set(CLUTTER['test'])


def test_training_and_test_worlds_share_no_letter() -> None:
    rng = np.random.default_rng(0)
    letters = {s: set(''.join(word(rng, s) for _ in range(99))) for s in ('train', 'test')}
    assert not letters['train'] & letters['test']


def test_training_and_test_worlds_share_no_picture() -> None:
    seen = {}
    for split in ('train', 'test'):
        built = build_world(WorldSpec(seed=1, split=split, rooms=2))
        rich = [t for t in built.textures if t.kind not in ('plain', 'leaf', 'outside')]
        seen[split] = {t.image.tobytes() for t in rich}
    assert len(seen['train']) > 20
    assert len(seen['test']) > 20
    assert not seen['train'] & seen['test']


def test_repeated_rooms_are_copies_and_lookalikes_differ_in_detail() -> None:
    world = build_world(WorldSpec(seed=3, rooms=3, repeats=1, lookalikes=1))
    first, lookalike, repeat = (rects_of_room(world, i) for i in (1, 2, 3))  # 0 is the corridor
    np.testing.assert_allclose(first[0], repeat[0], atol=1e-9)
    assert same_textures(first[1], repeat[1])
    assert world.rooms[1].plan.style_seed == world.rooms[2].plan.style_seed
    assert not same_textures(first[1], lookalike[1])


@pytest.mark.parametrize('split', ['train', 'test'])
@pytest.mark.parametrize('seed', [0, 1, 2])
def test_every_room_can_be_driven_to(split: Split, seed: int) -> None:
    floor = build_world(WorldSpec(seed=seed, split=split, rooms=4, texture='low')).floor
    assert parts(floor.free).max() == 1
    for room in range(floor.room.max() + 1):
        assert ((floor.room == room) & floor.free).sum() > 100, f'room {room} is cut off'


def test_all_fifteen_classes_occur() -> None:
    labels: set[int] = set()
    for split in ('train', 'test'):
        surfaces: SurfaceTable = build_world(WorldSpec(seed=0, split=split, rooms=4)).surfaces
        labels |= set(surfaces.label.tolist())
    assert labels == {int(x) for x in Label}
    assert len(Label) == 15


def test_low_texture_is_plain() -> None:
    def contrast(world: World) -> float:
        return float(np.mean([t.image.std((0, 1)).mean() for t in world.textures if t.tiled]))

    plain = build_world(WorldSpec(seed=5, rooms=1, texture='low'))
    rich = build_world(WorldSpec(seed=5, rooms=1))
    assert contrast(plain) < 2 < contrast(rich)


@pytest.mark.parametrize(
    'wrong', [{'rooms': 0}, {'rooms': 99}, {'repeats': 2}, {'lookalikes': -1}]
)
def test_impossible_worlds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(VlocError, match='world'):
        WorldSpec(**wrong)  # type: ignore[arg-type]


def test_more_surfaces_than_a_cached_picture_can_number_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('vloc_models.frames.synthetic.world.MAX_SURFACES', 100)
    with pytest.raises(VlocError, match='surfaces'):
        build_world(WorldSpec(seed=5, rooms=1, texture='low'))
