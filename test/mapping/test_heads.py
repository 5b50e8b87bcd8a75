"""What a network learns from, for how long, and the files it becomes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.errors import VlocError
from vloc_models.export.to_onnx import SceneNetwork, as_exported
from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.mapping import heads
from vloc_models.mapping.heads import Material, Training, head_files, label_tree, parts, train
from vloc_models.networks.ace import Head, HeadConfig
from vloc_models.networks.hscnet import Hscnet, HscnetConfig, Widths
from vloc_models.networks.hscnet_lite import HscnetLite, HscnetLiteConfig
from vloc_models.training.ace import AceTraining, Buffer
from vloc_models.training.hscnet import HscnetTraining
from vloc_models.training.loop import LoopConfig

CAMERA = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
WIDTHS = Widths(8, 8, (8,), (8,), (8,), (8,), (4, 4, 8, 8, 8, 8, 8, 16))
LITE = HscnetLiteConfig(8, (3, 2), 12, (8,), (8,), (6,), image_code=5)


pytestmark = pytest.mark.usefixtures('one_thread')


def material(pictures: int = 5) -> Material:
    """Pictures in a row, of things in front of them."""
    rng = np.random.default_rng(0)
    frames = [
        Keyframe(
            n,
            np.zeros((48, 64), np.uint8),
            CAMERA,
            se3.transform(np.eye(3), [10.0 * n, 0, 0]),
            np.full((48, 64), 2, np.float16),
            rng.integers(0, 256, (48, 64, 3), np.uint8),
        )
        for n in range(pictures)
    ]
    number = rng.permutation(np.repeat(np.arange(pictures, dtype=np.int32), 60))
    points = rng.uniform(0, 2, (len(number), 3)) + 10 * number[:, None] * [1, 0, 0]
    features = rng.normal(size=(len(number), 8)).astype(np.float16)
    pixels = rng.uniform(-30, 30, (len(number), 2)).astype(np.float32)
    return Material(frames, Buffer(features, pixels, points.astype(np.float32), number))


def test_of_some_pictures_only_those_are_known() -> None:
    whole = material()
    kept = np.array([True, False, True, True, False])
    some = whole.of(kept)
    assert len(some.keyframes) == 5  # numbers stay
    for old, new, stays in zip(whole.keyframes, some.keyframes, kept.tolist(), strict=True):
        assert (new.image is None) is (new.depth is None) is not stays
        assert new.stamp_ns == old.stamp_ns
        np.testing.assert_array_equal(new.T_map_cam, old.T_map_cam)
    rows = kept[whole.buffer.picture]
    for name, column in vars(whole.buffer).items():
        np.testing.assert_array_equal(getattr(some.buffer, name), column[rows])
    assert whole.keyframes[1].depth is not None  # the other is as it was
    assert some.tree is whole.tree
    assert whole.of(np.ones(5, bool)) is whole


def test_the_tree_is_of_all_cells_and_scenes() -> None:
    known = material(6)
    how = HscnetTraining(branching=(2, 3), scenes=3, seed=1)
    tree = label_tree(known.keyframes, known.buffer, how)
    assert tree.branching == (6, 3)
    scene = tree.labels(known.buffer.points.astype(float))[:, 0] // 2
    groups = [np.unique(known.buffer.picture[scene == s]).tolist() for s in range(3)]
    assert sorted(groups) == [[0, 1], [2, 3], [4, 5]]  # neighbours


def steps(training: Training, share: float = 0.6) -> tuple[int, int]:
    first, second = parts(training, share, tested=True)
    assert second is not None
    return first.loop.steps, second.loop.steps


@pytest.mark.parametrize('kind', [AceTraining, HscnetTraining])
def test_the_steps_are_shared_between_two_parts(kind: Any) -> None:
    training = kind(seed=7, loop=LoopConfig(50, max_lr=4e-3))
    first, second = parts(training, 0.6, tested=True)
    assert first == replace(training, loop=replace(training.loop, steps=30))
    assert second is not None
    assert isinstance(second, kind)
    assert second.loop == replace(training.loop, steps=20, max_lr=2e-3)
    assert second.seed == 8  # another order of the cells
    assert steps(kind(loop=LoopConfig(1))) == (1, 1)
    assert steps(kind(loop=LoopConfig(100)), 1.0) == (100, 1)
    assert parts(training, 0.6, tested=False) == (training, None)


def test_ace_goes_on_late_in_its_curriculum() -> None:
    second = parts(AceTraining(loop=LoopConfig(50)), 0.6, tested=True)[1]
    assert isinstance(second, AceTraining)
    assert second.from_progress == 0.8


@pytest.mark.parametrize(
    ('training', 'kind'),
    [
        (AceTraining(batch=50, head=HeadConfig(99, 8)), Head),
        (HscnetTraining('lite', (3, 2), batch=50, lite=LITE), HscnetLite),
        (HscnetTraining('sparse', (3, 2), batch=50, lite=LITE), HscnetLite),
        (
            HscnetTraining('full', (3, 2), full=HscnetConfig(regressor=(8,), widths=WIDTHS)),
            Hscnet,
        ),
    ],
    ids=['ace', 'lite', 'sparse', 'full'],
)
def test_each_training_makes_its_network(training: Any, kind: type, tmp_path: Path) -> None:
    known, told = material(), list[int]()
    if isinstance(training, HscnetTraining):
        known = replace(known, tree=label_tree(known.keyframes, known.buffer, training))
    training = replace(training, loop=LoopConfig(3))

    def report(step: int, loss: float) -> None:
        told.append(step)

    head = train(known, training, None, 'cpu', tmp_path / 'a.pt', report)
    assert type(head) is kind
    assert told == [1, 2, 3]
    if isinstance(head, HscnetLite):
        assert head.config.images == (5 if training.preset == 'sparse' else 0)
    further = train(known.of(np.arange(5) < 3), training, head, 'cpu', tmp_path / 'b.pt', report)
    assert {k: v.shape for k, v in further.state_dict().items()} == {
        k: v.shape for k, v in head.state_dict().items()
    }
    assert (tmp_path / 'a.pt').is_file()


def network(images: int = 0) -> HscnetLite:
    torch.manual_seed(0)
    size = replace(LITE, images=images)
    return HscnetLite(size, 5 * torch.randn(6, 3) + 40).eval()


def state(module: nn.Module) -> dict[str, Any]:
    return {name: x.clone() for name, x in module.state_dict().items()}


@pytest.mark.parametrize(
    ('head', 'name'),
    [
        (network(), 'hscnet'),
        (Head(HeadConfig(8, 16), torch.tensor([40.0, 0, 0])), 'ace'),
        (
            Hscnet(HscnetConfig((3, 2), regressor=(8,), widths=WIDTHS), torch.randn(6, 3)),
            'hscnet',
        ),
    ],
    ids=['lite', 'ace', 'full'],
)
def test_files_agree_and_the_network_stays_as_it_was(
    head: SceneNetwork, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph is of the network that the probe is of; what is in one: test/export."""
    seen = list[SceneNetwork]()

    def graph(twin: SceneNetwork) -> bytes:
        seen.append(twin)
        return b'graph'

    monkeypatch.setattr(heads, 'head_graph', graph)
    before, training = state(head), head.training
    files = head_files(head, np.zeros(0, np.int64))
    assert (files.network, files.graph) == (name, b'graph')
    given = as_exported(seen[0])
    engine = TorchEngine(given.module, tuple(given.inputs), given.outputs)
    assert check_probe(engine, files.probe, 'probe') < 1e-6
    kept = load(files.weights)
    assert kept.keys() == before.keys()
    for key, value in before.items():
        assert torch.equal(head.state_dict()[key], value)
        torch.testing.assert_close(kept[key].float(), value, rtol=1e-3, atol=1e-4)
    assert head.training is training


def test_the_sparse_graph_counts_pictures_as_the_map_does() -> None:
    """Told number n it answers as the network does told pictures[n]."""
    head, pictures = network(images=9), np.array([1, 4, 5, 8])
    before = state(head)
    files = head_files(head, pictures)
    engine = OnnxEngine(files.graph, 'graph')
    assert set(engine.inputs) == {'features', 'picture'}
    assert check_probe(engine, files.probe, 'probe') < 1e-3
    assert set(np.unique(files.probe['input_picture'])) <= set(range(4))
    assert head.config.images == 9
    assert head.image_code is not None
    assert all(torch.equal(x, before[k]) for k, x in head.state_dict().items())
    features = np.random.default_rng(0).normal(size=(1, 8, 2, 3)).astype(np.float32)
    told = [
        engine({'features': features, 'picture': np.array([n])})['sure'][0, 0] for n in range(4)
    ]
    for n, number in enumerate(pictures.tolist()):
        with torch.no_grad():
            image = torch.full((1, 2, 3), number)
            output = head(torch.from_numpy(features), image=image)
            wanted = head.sure(output)[0, 0].numpy()
        np.testing.assert_allclose(told[n], wanted, atol=2e-3)  # rounded to half
    apart = [np.abs(a - b).max() for i, a in enumerate(told) for b in told[:i]]
    assert min(apart) > 1e-2
    assert load(files.weights)['image_code.weight'].shape == (4, 5)


def test_a_sparse_network_of_which_no_picture_can_be_found_is_named() -> None:
    with pytest.raises(VlocError, match=r'no picture of the map can be found.*preset lite'):
        head_files(network(images=9), np.zeros(0, np.int64))
