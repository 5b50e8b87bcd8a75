"""A network of any kind is asked for what it can tell, and what it tells is checked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from vloc_models import npz
from vloc_models.errors import MapError, VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.localize import by_head
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.localize.parts import Parts
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.maps import MapInfo, MapWriter, SubMap, open_map
from vloc_models.records import Array, Fix, Verdict, View
from vloc_models.solvers.landmarks import Matcher

Arrays = Mapping[str, NDArray[Any]]
CAMERA = Camera(640, 480, 520.0, 525.0, 310.0, 250.0)
T_base_cam = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.2, 0, 0.5])
T_map_base = se3.exp([4, -3, 1, 0.1, -0.2, 2.5])
T_frame_map = se3.from_xyz_rpy([30.0, -4.0, 1.5], [0.1, -0.2, 2.5])


def view(grey: int = 0, T: Array = T_base_cam) -> View:
    return View(np.full((480, 640, 3), grey, np.uint8), CAMERA, T)


def scene(pixels: Array, T: Array = T_base_cam) -> Array:
    """Map points [N, 3] of hills, seen at pixels [N, 2] from T_map_base."""
    z = 3 + np.sin(pixels[:, 0] / 40) + np.cos(pixels[:, 1] / 30)
    return se3.apply(T_map_base @ T, CAMERA.unproject(pixels) * z[:, None])


class Encoder:
    """Features that tell the pixel at the cell's centre, and the picture's grey."""

    inputs, outputs = ('image',), ('features', 'sure')

    def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        (image,) = arrays['image']
        v, u = np.mgrid[:60, :80] * 8 + 3.5
        grey = np.full((60, 80), float(image[0, 0, 0]))
        features = np.stack([u, v, grey])[None].astype(np.float32)
        return {'features': features, 'sure': np.full((1, 1, 60, 80), 0.5, np.float32)}


SURE = float(1 / (1 + np.exp(-0.5)))


class Net:
    """Tells exact points; keeps what it was asked. Told a wrong picture, another place's."""

    outputs = ('points', 'sure')

    def __init__(self, *inputs: str, picture: int = -1, sure: float = 0.25) -> None:
        self.inputs, self.picture, self.sure = inputs, picture, sure
        self.asked = list[dict[str, NDArray[Any]]]()

    def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        self.asked.append(dict(arrays))
        assert arrays.keys() == set(self.inputs)
        if 'image' in arrays:
            v, u = np.mgrid[:60, :80] * 8 + 3.5
        else:
            u, v = arrays['features'][0, :2]
        points = scene(np.stack([u.ravel(), v.ravel()], 1).astype(float))
        if self.picture >= 0 and int(arrays['picture'][0]) != self.picture:
            points = np.random.default_rng(0).uniform(-5, 5, points.shape)
        sure = np.full((1, 1, *u.shape), self.sure, np.float32)
        return {'points': points.T.reshape(1, 3, *u.shape).astype(np.float32), 'sure': sure}


class Places(Matcher):
    """Landmarks of which only the pictures that look alike are known."""

    def __init__(self, *alike: int) -> None:
        self.alike = np.array(alike, np.int64)
        self.seen = list[tuple[NDArray[Any], NDArray[Any], int]]()

    def short(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return 2 * features

    def alike_pictures(
        self, asked: NDArray[np.float32], sure: NDArray[np.float32], most: int
    ) -> NDArray[np.int64]:
        self.seen.append((asked, sure, most))
        return self.alike[:most]


def ready(
    sites: Any, engine: Any, places: Matcher | None = None, T: Array | None = None, **how: Any
) -> Localizer:
    head = by_head.Head(engine, np.eye(4) if T is None else T, places)
    limits = VerdictConfig(60, 0.15, 0.4, 0.05, chance_inlier_ratio=0.04)
    config = LocalizerConfig('head', head_verdict=limits, **how)
    return Localizer(sites.SMALL, Encoder(), Parts.one(head), config)


def check(fix: Fix, T: Array = T_map_base) -> None:
    assert fix.verdict is Verdict.ACCEPTED, fix.reason
    assert fix.estimate is not None
    np.testing.assert_allclose(fix.estimate.T_map_base, T, atol=1e-3)


@pytest.mark.parametrize('inputs', [('features',), ('features', 'picture'), ('image',)])
def test_each_kind_is_asked_for_what_it_can_tell(sites: Any, inputs: tuple[str, ...]) -> None:
    net = Net(*inputs)
    localizer = ready(sites, net, Places(4, 2))
    (part,) = localizer.parts.usable
    assert part.head is not None
    assert part.head.wants_image is (inputs == ('image',))
    answer = localizer.explain([view(9)], stamp_ns=3)
    check(answer.fix)
    assert answer.fix.stamp_ns == 3
    given = net.asked[0]
    if 'image' in given:
        np.testing.assert_array_equal(given['image'], view(9).image[None])
    else:
        assert given['features'].shape == (1, 3, 1, 30 * 40)
        assert given['features'].dtype == np.float32
        assert (given['features'][0, 2] == 9).all()
    (seen,) = answer.observations
    assert len(seen.coordinates.pixels) == 30 * 40
    wanted = scene(seen.coordinates.pixels)
    np.testing.assert_allclose(seen.coordinates.points, wanted, atol=1e-5)


@pytest.mark.parametrize('every', [1, 2, 3])
def test_cells_of_the_image_are_those_that_were_chosen(sites: Any, every: int) -> None:
    localizer = ready(sites, Net('image'), every=every)
    (seen,) = localizer.explain([view()]).observations
    np.testing.assert_allclose(seen.coordinates.points, scene(seen.coordinates.pixels), atol=1e-5)


def test_confidence_is_how_sure_the_encoder_and_the_network_are(sites: Any) -> None:
    for inputs in (('features',), ('image',)):
        (seen,) = ready(sites, Net(*inputs, sure=0.25)).explain([view()]).observations
        np.testing.assert_allclose(seen.coordinates.confidence, SURE * 0.25, rtol=1e-5)

    class Ace(Net):
        outputs = ('points',)

        def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
            return {'points': super().__call__(arrays)['points']}

    (seen,) = ready(sites, Ace('features')).explain([view()]).observations
    np.testing.assert_allclose(seen.coordinates.confidence, SURE, rtol=1e-5)


def test_confidences_stay_with_their_cells(sites: Any) -> None:
    class Half(Net):
        def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
            told = super().__call__(arrays)
            v, u = np.mgrid[:60, :80] * 8 + 3.5
            return told | {'sure': (np.where(u < 320, 0.5, 0.1) + v / 1e4)[None, None]}

    (seen,) = ready(sites, Half('image')).explain([view()]).observations
    u, v = seen.coordinates.pixels.T
    wanted = SURE * (np.where(u < 320, 0.5, 0.1) + v / 1e4)
    np.testing.assert_allclose(seen.coordinates.confidence, wanted, rtol=1e-5)


def test_the_sparse_one_is_told_the_pictures_that_look_alike(sites: Any) -> None:
    net, places = Net('features', 'picture', picture=7), Places(4, 7, 2)
    check(ready(sites, net, places).locate([view()]))  # the second hint was right
    pictures = [asked['picture'] for asked in net.asked]
    assert [x.tolist() for x in pictures] == [[4], [7], [2]]  # each once
    assert all(x.dtype == np.int64 for x in pictures)
    (seen,) = places.seen  # and they are looked for once
    features = net.asked[0]['features'][0, :, 0].T
    np.testing.assert_array_equal(seen[0], 2 * features)
    np.testing.assert_allclose(seen[1], SURE, rtol=1e-5)


def test_ten_pictures_are_told_at_most(sites: Any) -> None:
    net = Net('features', 'picture', picture=11)
    fix = ready(sites, net, Places(*range(30))).locate([view()])
    assert len(net.asked) == 10
    assert fix.verdict is not Verdict.ACCEPTED  # the eleventh would have been right


def test_no_hint_is_right(sites: Any) -> None:
    net = Net('features', 'picture', picture=9)
    fix = ready(sites, net, Places(1, 2)).locate([view()])
    assert fix.verdict in (Verdict.NONE, Verdict.WEAK)
    assert fix.reason


def test_each_camera_of_a_rig_is_told_its_own_pictures(sites: Any) -> None:
    class ByGrey(Places):
        def alike_pictures(self, asked: Any, sure: Any, most: int) -> NDArray[np.int64]:
            return np.array([1, 2, 3]) + 10 * int(asked[0, 2])

    net = Net('features', 'picture')
    check(ready(sites, net, ByGrey()).locate([view(1), view(2)]))
    told = [(int(x['features'][0, 2, 0, 0]), x['picture'].tolist()) for x in net.asked]
    assert told == [(g, [20 * g + n]) for n in (1, 2, 3) for g in (1, 2)]  # short doubles greys


@pytest.mark.parametrize('inputs', [('features',), ('features', 'picture'), ('image',)])
def test_a_rig(sites: Any, inputs: tuple[str, ...]) -> None:
    net = Net(*inputs)
    answer = ready(sites, net, Places(3, 1)).explain([view(1), view(2)])
    check(answer.fix)
    assert len(net.asked) == (4 if 'picture' in inputs else 2)
    assert [len(o.coordinates.pixels) for o in answer.observations] == [1200, 1200]


@pytest.mark.parametrize('inputs', [('features',), ('features', 'picture'), ('image',)])
def test_answers_are_told_in_the_frame(sites: Any, inputs: tuple[str, ...]) -> None:
    localizer = ready(sites, Net(*inputs), Places(1), T_frame_map)
    answer = localizer.explain([view()])
    check(answer.fix, T_frame_map @ T_map_base)
    (seen,) = answer.observations
    wanted = se3.apply(T_frame_map, scene(seen.coordinates.pixels))
    np.testing.assert_allclose(seen.coordinates.points, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ('inputs', 'wrong'),
    [
        (('features',), {'points': (1, 4, 1, 1200)}),
        (('features',), {'points': (1, 3, 1200, 1)}),
        (('features',), {'sure': (1, 1, 1, 1199)}),
        (('image',), {'points': (1, 3, 30, 40)}),  # another stride
        (('image',), {'sure': (1, 2, 60, 80)}),
        (('features', 'picture'), {'sure': (1, 3, 1, 1200)}),
    ],
)
def test_answers_of_another_shape_are_named(
    sites: Any, inputs: tuple[str, ...], wrong: dict[str, tuple[int, ...]]
) -> None:
    class Odd(Net):
        def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
            odd = {name: np.zeros(shape, np.float32) for name, shape in wrong.items()}
            return super().__call__(arrays) | odd

    (name,) = wrong
    with pytest.raises(VlocError, match=f'{name} has shape'):
        ready(sites, Odd(*inputs), Places(1)).locate([view()])


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('inputs', [('features',), ('image',)])
def test_points_that_are_no_numbers_are_no_pose(
    sites: Any, inputs: tuple[str, ...], value: float
) -> None:
    class Lost(Net):
        def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
            told = super().__call__(arrays)
            return told | {'points': np.full_like(told['points'], value)}

    localizer = ready(sites, Lost(*inputs), T=T_frame_map)
    assert localizer.locate([view()]).verdict is Verdict.NONE


KIND = {'features': TensorProto.FLOAT, 'image': TensorProto.UINT8, 'picture': TensorProto.INT64}
SHAPE = {'features': [1, 3, 'h', 'w'], 'image': [1, 'H', 'W', 3], 'picture': [1]}
CASES = {
    'features': np.zeros((4, 3, 2, 2), np.float32),
    'image': np.zeros((4, 16, 16, 3), np.uint8),
    'picture': np.zeros(4, np.int64),
}


def site(
    sites: Any, path: Path, inputs: tuple[str, ...], output: str = 'points', probe: bool = True
) -> tuple[Any, SubMap]:
    """A map whose graph has such ports, and tells zeros."""
    zeros = np.zeros((1, 3, 2, 2), np.float32)
    value = onnx.numpy_helper.from_array(zeros)
    ports = [
        helper.make_tensor_value_info(n, KIND.get(n, TensorProto.FLOAT), SHAPE.get(n, [1]))
        for n in inputs
    ]
    told = helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 3, 2, 2])
    nodes = [helper.make_node('Constant', [], [output], value=value)]
    graph = helper.make_graph(nodes, 'odd', ports, [told])
    opset = [helper.make_opsetid('', 18)]
    raw = helper.make_model(graph, ir_version=8, opset_imports=opset).SerializeToString()
    arrays = {f'input_{n}': CASES.get(n, np.zeros(4, np.float32)) for n in inputs}
    arrays[f'output_{output}'] = np.zeros((4, 3, 2, 2), np.float32)
    submap = SubMap('00', (0, 0, 0), network='hscnet', head='head.onnx')
    with MapWriter(path) as writer:
        writer.add_bytes('head.onnx', raw)
        if probe:
            writer.add_bytes('probe.npz', npz.pack(arrays))
            submap = replace(submap, probe='probe.npz')
        writer.finish(MapInfo(sites.SMALL.encoder, (), (submap,)))
    return open_map(path), submap


@pytest.mark.parametrize('inputs', [('features',), ('features', 'picture'), ('image',)])
def test_graphs_of_each_kind_are_taken(
    sites: Any, tmp_path: Path, inputs: tuple[str, ...]
) -> None:
    head = by_head.Head.load(*site(sites, tmp_path / 'site', inputs), Places(0), 1)
    assert head is not None
    assert set(head.engine.inputs) == set(inputs)
    np.testing.assert_array_equal(head.T_frame_map, np.eye(4))


@pytest.mark.parametrize(
    ('inputs', 'output', 'words'),
    [
        (('picture',), 'points', r"tells \['points'\] of \['picture'\]"),
        (('features', 'image'), 'points', 'update vloc'),
        (('words',), 'points', r"of \['words'\]"),
        (('features',), 'colours', r"tells \['colours'\]"),
    ],
)
def test_a_graph_of_another_kind_is_refused(
    sites: Any, tmp_path: Path, inputs: tuple[str, ...], output: str, words: str
) -> None:
    with pytest.raises(MapError, match=words) as caught:
        by_head.Head.load(*site(sites, tmp_path / 'site', inputs, output), Places(0), 1)
    assert 'head of sub-map 00' in str(caught.value)


def test_hints_need_landmarks(sites: Any, tmp_path: Path) -> None:
    made, submap = site(sites, tmp_path / 'site', ('features', 'picture'))
    with pytest.raises(MapError, match=r'no landmarks to find pictures by.*vloc map'):
        by_head.Head.load(made, submap, None, 1)


def test_a_graph_needs_a_probe(sites: Any, tmp_path: Path) -> None:
    made, submap = site(sites, tmp_path / 'site', ('features',), probe=False)
    with pytest.raises(MapError, match='no probe'):
        by_head.Head.load(made, submap, None, 1)
    assert by_head.Head.load(made, replace(submap, head=None), None, 1) is None
