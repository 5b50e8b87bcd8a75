"""The graphs say what torch says, at any size, and are small, plain and always the same."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.errors import ExportError
from vloc_models.export.to_onnx import (
    GridHead,
    ImageEncoder,
    encoder_graph,
    encoder_outputs,
    head_graph,
    round_to_half,
)
from vloc_models.networks.ace import Head, HeadConfig, PublishedEncoder
from vloc_models.networks.encoder import LiteEncoder

CENTRE = torch.tensor([1234.5678, -0.1, 3.3])


def small_head() -> Head:
    torch.manual_seed(0)
    head = Head(HeadConfig(16, 24), CENTRE)
    round_to_half(head)
    return head


def lite() -> LiteEncoder:
    """Not trained, but its normalisation has seen pictures."""
    encoder = LiteEncoder()
    with torch.no_grad():
        for _ in range(20):
            encoder(torch.randn(2, 1, 64, 96) + torch.randn(2, 1, 1, 1))
    return encoder.eval()


@pytest.fixture(scope='module', params=[lambda: lite().fused(), PublishedEncoder])
def encoder(request: pytest.FixtureRequest) -> tuple[nn.Module, bytes]:
    torch.manual_seed(0)
    module = request.param()
    round_to_half(module)
    return module, encoder_graph(module)


@pytest.fixture(scope='module')
def exported() -> bytes:
    return head_graph(small_head())


def test_an_encoder_at_any_size(encoder: tuple[nn.Module, bytes]) -> None:
    module, raw = encoder
    outputs = encoder_outputs(module)
    engine = OnnxEngine(raw, 'encoder.onnx')
    assert engine.outputs == outputs
    reference = TorchEngine(ImageEncoder(module), ('image',), outputs)
    rng = np.random.default_rng(0)
    for H, W in ((72, 104), (120, 160), (97, 161), (45, 61), (8, 8), (1, 1), (120, 9)):
        image = {'image': rng.integers(0, 256, (1, H, W, 3), np.uint8)}
        answers, wanted = engine(image), reference(image)
        for name in outputs:
            channels = module.channels if name == 'features' else 1
            assert answers[name].shape == (1, channels, -(-H // 8), -(-W // 8))
            assert answers[name].dtype == np.float32
            gap = np.abs(answers[name] - wanted[name]).max()
            assert gap < 1e-4 * max(wanted[name].std(), 1e-3)


def test_ours_says_how_sure_and_others_have_features_only() -> None:
    assert encoder_outputs(LiteEncoder(norm=False)) == ('features', 'sure')
    assert encoder_outputs(PublishedEncoder()) == ('features',)
    assert encoder_outputs(nn.Conv2d(1, 16, 8, 8)) == ('features',)


def test_the_fused_graph_says_what_was_trained(encoder: tuple[nn.Module, bytes]) -> None:
    """But for the rounding to half floats."""
    model = onnx.load_from_string(encoder[1])
    assert 'BatchNormalization' not in {n.op_type for n in model.graph.node}
    if isinstance(encoder[0], LiteEncoder):
        torch.manual_seed(0)
        outputs = encoder_outputs(encoder[0])
        trained = TorchEngine(ImageEncoder(lite()), ('image',), outputs)
        image = {'image': np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)}
        answers, wanted = OnnxEngine(encoder[1], 'encoder.onnx')(image), trained(image)
        for name in outputs:
            np.testing.assert_allclose(answers[name], wanted[name], atol=0.02 * wanted[name].std())


def test_a_head_at_any_size_with_the_exact_centre(exported: bytes) -> None:
    head = small_head()
    torch.testing.assert_close(head.centre, CENTRE, rtol=0, atol=0)
    engine = OnnxEngine(exported, 'head.onnx')
    reference = TorchEngine(GridHead(head), ('features',), ('points',))
    rng = np.random.default_rng(0)
    for h, w in ((5, 7), (60, 80), (1, 1), (1, 9)):
        features = {'features': rng.normal(size=(1, 16, h, w)).astype(np.float32)}
        points = engine(features)['points']
        assert points.shape == (1, 3, h, w)
        np.testing.assert_allclose(points, reference(features)['points'], rtol=2e-7, atol=1e-5)


def test_rows_and_columns_stay_in_place() -> None:
    head = small_head()
    features = torch.randn(1, 16, 3, 4, generator=torch.Generator().manual_seed(0))
    points = GridHead(head)(features)
    torch.testing.assert_close(points[0, :, 1, 2], head(features[:, :, 1, 2])[0])


def test_graphs_are_half_the_size(encoder: tuple[nn.Module, bytes]) -> None:
    module, raw = encoder
    assert len(raw) < 2 * sum(p.numel() for p in module.parameters()) + 20_000
    if isinstance(module, LiteEncoder):
        assert len(raw) < 3.0e6


def test_graphs_are_plain_and_for_older_runtimes(encoder: tuple[nn.Module, bytes]) -> None:
    raw = encoder[1]
    model = onnx.load_from_string(raw)
    assert model.ir_version <= 9
    assert [(o.domain, o.version) for o in model.opset_import] == [('', 18)]
    assert b'.py' not in raw
    assert not model.metadata_props
    assert not model.graph.metadata_props
    assert not any(n.doc_string or n.metadata_props or n.domain for n in model.graph.node)
    (image,) = model.graph.input
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == [
        1,
        'H',
        'W',
        3,
    ]
    for output in model.graph.output:
        assert [d.dim_param for d in output.type.tensor_type.shape.dim][2:] == ['h', 'w']
    assert tuple(output.name for output in model.graph.output) == encoder_outputs(encoder[0])


def test_same_head_same_bytes_and_no_word_about_it(
    exported: bytes, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    head = small_head()
    assert head_graph(head) == exported
    assert head.training  # as it was
    assert head.fc1.weight.requires_grad
    assert capfd.readouterr() == ('', '')
    said = [w for w in recwarn.list if w.category is not ResourceWarning]  # of earlier tests
    assert not said


def test_weights_must_be_rounded_first() -> None:
    with pytest.raises(ExportError, match='round_to_half'):
        head_graph(Head(HeadConfig(16, 24), CENTRE))


@pytest.mark.parametrize('weight', [1e5, float('nan'), float('-inf')])
def test_weights_that_half_cannot_hold(weight: float) -> None:
    head = Head(HeadConfig(16, 24), CENTRE)
    before = head.fc1.weight.clone()
    with torch.no_grad():
        head.fc3.weight[0, 0] = weight
    with pytest.raises(ExportError, match=r'^fc3\.weight: '):
        round_to_half(head)
    torch.testing.assert_close(head.fc1.weight, before, rtol=0, atol=0)
