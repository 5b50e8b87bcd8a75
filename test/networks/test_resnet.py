from pathlib import Path

import pytest
import torch

from vloc_models.errors import VlocError
from vloc_models.networks.resnet import Depth, ResNet, without_classifier


@pytest.mark.parametrize(
    ('depth', 'count', 'widths'),
    [
        (18, 11_176_512, (64, 64, 128, 256, 512)),
        (50, 23_508_032, (64, 256, 512, 1024, 2048)),
    ],
)
def test_it_is_the_published_network(depth: Depth, count: int, widths: tuple[int, ...]) -> None:
    net = ResNet(depth)
    assert sum(p.numel() for p in net.parameters()) == count
    assert net.widths == widths
    found = net(torch.rand(1, 3, 64, 96))
    shapes = [(1, w, 64 >> i, 96 >> i) for i, w in enumerate(widths, 1)]
    assert [tuple(f.shape) for f in found] == shapes


def test_a_dilated_last_stage_stays_at_stride_16() -> None:
    wide, usual = ResNet(18, dilated=True).eval(), ResNet(18).eval()
    usual.load_state_dict(wide.state_dict())
    x = torch.rand(1, 3, 96, 96)
    assert [f.shape[-1] for f in wide(x)] == [48, 24, 12, 6, 6]
    deep = ResNet(50, dilated=True).layer4
    assert [block.conv2.dilation for block in deep] == [(2, 2)] * 3
    assert torch.equal(wide(x)[3], usual(x)[3])


def test_names_are_torchvisions() -> None:
    names = ResNet(50).state_dict().keys()
    for name in (
        'conv1.weight',
        'bn1.running_mean',
        'layer1.0.conv3.weight',
        'layer1.0.downsample.0.weight',
        'layer3.5.bn2.bias',
        'layer4.2.conv1.weight',
    ):
        assert name in names
    assert 'layer2.1.downsample.0.weight' not in names
    assert not any(name.startswith('fc') for name in names)
    assert 'layer1.0.downsample.0.weight' not in ResNet(18).state_dict()


def test_an_imagenet_state_dict_loads(tmp_path: Path) -> None:
    other = ResNet(18)
    state = other.state_dict() | {'fc.weight': torch.zeros(1000, 512), 'fc.bias': torch.zeros(9)}
    torch.save(state, tmp_path / 'resnet18.pth')
    net = ResNet(18)
    found = torch.load(tmp_path / 'resnet18.pth', weights_only=True)
    net.load_state_dict(without_classifier(found))
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(net.eval()(x)[4], other.eval()(x)[4])


def test_other_pictures_are_refused() -> None:
    with pytest.raises(VlocError, match='picture has shape'):
        ResNet(18)(torch.rand(1, 1, 64, 64))
