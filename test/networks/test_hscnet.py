"""The published sizes, receptive fields and toy losses, and what conditions what."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vloc_models import config
from vloc_models.errors import VlocError
from vloc_models.networks.hscnet import (
    VARIANTS,
    Hscnet,
    HscnetConfig,
    HscnetLoss,
    HscnetOutput,
    Widths,
    hscnet_loss,
    labels_of,
)

NARROW = Widths(12, 12, (12, 8), (12, 8), (8, 8), (8, 8), (8, 8, 8, 12, 12, 16, 16, 16))
THIN = Widths(4, 4, (4,), (4,), (4,), (4,), (4,) * 8)
LOSS = HscnetLoss()


def narrow(name: str = 'hscnet', branching: tuple[int, int] = (5, 4)) -> HscnetConfig:
    """Of a variant, soon computed."""
    variant = VARIANTS[name]
    regressor = tuple(32 for _ in variant.regressor)
    return replace(variant, branching=branching, regressor=regressor, widths=NARROW)


def build(config: HscnetConfig, seed: int = 0) -> Hscnet:
    torch.manual_seed(seed)
    return Hscnet(config, 10 * torch.randn(config.leaves, 3)).eval()


def labels_for(net: Hscnet, B: int, h: int, w: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    levels = [torch.randint(K, (B, h, w), generator=generator) for K in net.config.classes]
    return torch.stack(levels, 1) if levels else torch.zeros(B, 0, h, w, dtype=torch.long)


pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def full() -> Hscnet:
    """As published for one scene; not to be changed."""
    return build(HscnetConfig())


@pytest.mark.parametrize(
    ('name', 'count', 'millions'),
    [
        ('hscnet', 36_961_131, 36.96),
        ('scrnet', 25_903_107, 25.90),
        ('i7', 40_744_779, 40.7),
        ('i12', 40_977_224, 41.0),
        ('i19', 41_111_799, 41.1),
    ],
)
def test_published_sizes(name: str, count: int, millions: float) -> None:
    found = parameters(name)
    assert found == count
    digits = len(str(millions).partition('.')[2])
    assert round(found / 1e6, digits) == millions


def parameters(name: str) -> int:
    with torch.device('meta'):
        net = Hscnet(VARIANTS[name], torch.zeros(VARIANTS[name].leaves, 3))
    return sum(p.numel() for p in net.parameters())


def test_ablations_are_as_large_as_they_are_told_to_be() -> None:
    generators = 60_800 + 8_583_734
    assert parameters('unconditioned') == parameters('hscnet') - generators
    assert parameters('classes only') == 36_961_131 - 8_583_734 - (25_903_107 - 7_008_256)
    assert parameters('capacity-') < parameters('hscnet') / 2
    assert parameters('capacity+') > parameters('hscnet')
    with torch.device('meta'):
        nets = {name: Hscnet(c, torch.zeros(c.leaves, 3)) for name, c in VARIANTS.items()}

    def films(name: str) -> int:
        regressor = nets[name].regressor
        return 0 if regressor is None else len(regressor.films)

    assert films('capacity-') > films('hscnet') == 2
    assert films('capacity+') == films('scrnet') == films('unconditioned') == 0
    for name in ('rf+', 'rf-'):
        assert parameters(name) == pytest.approx(parameters('hscnet'), rel=0.07)
    for name, net in nets.items():
        kinds = {type(m) for m in net.modules()} & {nn.ReLU, nn.ELU, nn.BatchNorm2d}
        assert kinds == {nn.ReLU if name in ('scrnet', 'capacity+') else nn.ELU}


def test_layers_of_one_scene(full: Hscnet) -> None:
    """Section 2.b, layer by layer."""
    shapes = {
        name: (m.out_channels, m.in_channels, *m.kernel_size, m.stride[0], m.dilation[0])
        for name, m in full.named_modules()
        if isinstance(m, nn.Conv2d)
    }
    trunk = [shapes[f'trunk.{i}.0'] for i in range(8)]
    assert [s[0] for s in trunk] == [64, 128, 128, 256, 256, 512, 512, 512]
    assert [s[4] for s in trunk] == [1, 2, 2, 1, 2, 1, 1, 1]
    assert all(s[2:4] == (3, 3) for s in trunk)
    assert shapes['context.down.0.0'] == (128, 128, 3, 3, 2, 2)
    assert shapes['context.down.1.0'] == (128, 128, 3, 3, 1, 2)
    assert shapes['context.deepest.0.0'] == (256, 128, 3, 3, 2, 2)
    assert shapes['context.deepest.1.0'] == (256, 256, 3, 3, 1, 2)
    assert shapes['context.merge.0'] == (128, 256, 3, 3, 1, 1)
    wide = {
        'coarse.layers.0.0': (128, 256),
        'coarse.layers.1.0': (64, 128),
        'coarse.out': (25, 64),
        'fine.layers.0.0': (128, 256),
        'fine.films.0.gamma.0': (128, 128),
        'fine.films.1.beta.0': (64, 128),
        'fine.generator.0.0': (32, 25),
        'fine.out': (25, 64),
        'regressor.layers.0.0': (4096, 512),
        'regressor.layers.1.0': (4096, 4096),
        'regressor.films.1.gamma.0': (4096, 512),
        'regressor.generator.0.0': (50, 50),
        'regressor.out': (3, 4096),
    }
    for name, (out_channels, in_channels) in wide.items():
        assert shapes[name] == (out_channels, in_channels, 1, 1, 1, 1), name


def test_xavier_weights_and_no_biases(full: Hscnet) -> None:
    weight = full.get_parameter('regressor.layers.1.0.weight')
    bound = math.sqrt(6 / 8192)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    for name, parameter in full.named_parameters():
        assert not name.endswith('.bias') or (parameter == 0).all()


def seen(out: Tensor, picture: Tensor) -> tuple[int, int]:
    """Height and width of what a cell [C] of the output depends on."""
    (grad,) = torch.autograd.grad(out.sum(), picture, retain_graph=True)
    rows, columns = torch.nonzero(grad[0].abs().sum(0), as_tuple=True)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize(
    ('name', 'coarse', 'fine', 'point'),
    [
        ('hscnet', 409, 185, 73),
        ('rf+', 409, 409, 409),
        ('rf-', 73, 73, 73),
        ('scrnet', None, None, 73),
    ],
)
def test_receptive_fields(name: str, coarse: int, fine: int, point: int) -> None:
    """By gradients, in double floats: those of the border are tiny."""
    net = build(replace(narrow(name), regressor=(4,), widths=THIN)).double()
    picture = torch.rand(1, 3, 496, 512, requires_grad=True, dtype=torch.double)
    output = net(picture * 2 - 1, labels_for(net, 1, 62, 64))
    assert output.residual is not None
    assert seen(output.residual[0, :, 30, 32], picture) == (point, point)
    for logits, size in zip(output.logits, (coarse, fine), strict=False):
        assert seen(logits[0, :, 30, 32], picture) == (size, size)


def test_a_far_pixel_changes_no_point_while_labels_are_fixed(full: Hscnet) -> None:
    """36 pixels around (8 i, 8 j) count; what lies further may change labels only."""
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 96, 96) * 2 - 1
    labels = labels_for(full, 1, 12, 12)
    with torch.no_grad():
        before = full(picture, labels)
        for off, same in ((37, True), (36, False), (-36, False), (-37, True)):
            other = picture.clone()
            other[0, :, 48, 48 + off] *= -1
            after = full(other, labels)
            points = [full.points(x)[0, :, 6, 6] for x in (before, after)]
            assert torch.equal(*points) == same, off
            assert not torch.equal(before.logits[1][0, :, 6, 6], after.logits[1][0, :, 6, 6])


@pytest.mark.parametrize('name', VARIANTS)
@pytest.mark.parametrize('size', [(64, 96), (57, 33), (1, 1), (8, 120)])
def test_any_size_gives_its_eighth_rounded_up(name: str, size: tuple[int, int]) -> None:
    net = build(narrow(name))
    h, w = (math.ceil(n / 8) for n in size)
    with torch.no_grad():
        output = net(torch.randn(2, 3, *size))
        assert [x.shape for x in output.logits] == [(2, K, h, w) for K in net.config.classes]
        assert output.labels.shape == (2, len(net.config.classes), h, w)
        points, sure = net.points(output), net.sure(output)
    assert points.shape == (2, 3, h, w)
    assert points.dtype == torch.float32
    assert sure.shape == (2, 1, h, w)
    assert (output.residual is None) == (name == 'classes only')
    if not net.config.classified:
        assert (sure == 1).all()


def test_scenes_have_their_own_regions() -> None:
    assert VARIANTS['i7'].classes == (175, 25)
    assert VARIANTS['i12'].classes == (300, 25)
    assert VARIANTS['i19'].classes == (475, 25)
    assert VARIANTS['i19'].leaves == 19 * 625


@torch.no_grad()
def test_in_use_each_level_is_conditioned_on_the_likeliest_before_it() -> None:
    net, picture = build(narrow()), torch.randn(2, 3, 64, 96)
    found = net(picture)
    region, part = found.labels.unbind(1)
    assert torch.equal(region, found.logits[0].argmax(1))
    assert torch.equal(part, found.logits[1].argmax(1))
    assert region.unique().numel() > 1
    told = net(picture, found.labels)  # as in training, with its own labels as the true ones
    assert torch.equal(told.logits[1], found.logits[1])
    assert torch.equal(net.points(told), net.points(found))


@torch.no_grad()
def test_in_training_each_level_is_conditioned_on_the_truth() -> None:
    """Of the cell itself only; the first level on nothing."""
    net, picture = build(narrow()), torch.randn(1, 3, 64, 96)
    labels = labels_for(net, 1, 8, 12)
    base = net(picture, labels)
    assert torch.equal(base.labels, labels)
    assert not torch.equal(base.labels[:, 0], base.logits[0].argmax(1))
    for level, changes in ((0, (False, True, True)), (1, (False, False, True))):
        other = labels.clone()
        other[0, level, 3, 5] = (other[0, level, 3, 5] + 1) % net.config.classes[level]
        output = net(picture, other)
        for was, now, differs in zip(answers(base), answers(output), changes, strict=True):
            at = torch.nonzero((was != now).any(1)[0]).tolist()
            assert at == ([[3, 5]] if differs else [])


def answers(output: HscnetOutput) -> tuple[Tensor, ...]:
    assert output.residual is not None
    return *output.logits, output.residual


@torch.no_grad()
def test_without_conditioning_labels_choose_the_centre_only() -> None:
    net, picture = build(narrow('unconditioned')), torch.randn(1, 3, 64, 96)
    labels = labels_for(net, 1, 8, 12)
    told, untold = net(picture, labels), net(picture)
    for first, second in zip(answers(told), answers(untold), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(net.points(told), net.points(untold))


@torch.no_grad()
def test_points_are_residuals_from_the_centre_of_the_part() -> None:
    net = build(narrow())
    labels = labels_for(net, 2, 8, 12)
    labels[0, :, 2, 3] = torch.tensor([3, 1])
    output = net(torch.randn(2, 3, 64, 96), labels)
    assert output.residual is not None
    points = net.points(output)
    wanted = net.centre[3 * 4 + 1] + output.residual[0, :, 2, 3]
    assert torch.equal(points[0, :, 2, 3], wanted)
    labels[0, :, 2, 3] = -1  # no label: no complaint, and the others as before
    other = net.points(net(torch.randn(2, 3, 64, 96), labels))
    assert other.isfinite().all()


@torch.no_grad()
def test_classes_alone_answer_with_centres() -> None:
    net = build(narrow('classes only'))
    output = net(torch.randn(2, 3, 64, 96))
    points = net.points(output)
    leaf = output.labels[:, 0] * 4 + output.labels[:, 1]
    assert torch.equal(points.permute(0, 2, 3, 1), net.centre[leaf])


@torch.no_grad()
def test_scrnet_adds_the_one_centre() -> None:
    net = build(narrow('scrnet'))
    output = net(torch.randn(1, 3, 16, 16))
    assert output.residual is not None
    assert net.centre.shape == (1, 3)
    points = net.points(output)
    torch.testing.assert_close(points, output.residual + net.centre[0][:, None, None])


@torch.no_grad()
def test_sure_is_the_likelihood_of_the_leaf() -> None:
    net = build(narrow())
    logits = (torch.tensor([1.0, 3, 0]), torch.tensor([0.0, math.log(3)]))
    cells = tuple(x[None, :, None, None] for x in logits)
    found = net.sure(HscnetOutput(cells, torch.zeros(1, 2, 1, 1), None))
    coarse = math.exp(3) / (math.exp(1) + math.exp(3) + 1)
    assert found.item() == pytest.approx(coarse * 0.75)


@pytest.mark.parametrize('parts', [25, 4])
def test_labels_of_leaves(parts: int) -> None:
    """As in the published label pictures: 1 and up, 0 where there is no depth."""
    picture = torch.arange(25 * parts + 1).reshape(1, 1, -1)
    labels = labels_of(picture - 1, parts)
    assert labels[0, :, 0, 0].tolist() == [-1, -1]
    for number in (1, 2, parts, parts + 1, 25 * parts):
        wanted = [(number - 1) // parts, (number - 1) % parts]
        assert labels[0, :, 0, number].tolist() == wanted
    leaf = labels[0, 0, 0, 1:] * parts + labels[0, 1, 0, 1:]
    assert torch.equal(leaf, picture[0, 0, 1:] - 1)


def flat(output: Tensor) -> Tensor:
    return output.movedim(1, -1).flatten(0, -2)


def loss_of(net: Hscnet, picture: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
    output = net(picture, labels)
    points = flat(net.points(output)) if net.config.regressor else None
    logits = [flat(x) for x in output.logits]
    return hscnet_loss(logits, points, flat(labels), flat(truth), LOSS)


def test_a_step_of_the_full_size_lowers_its_loss() -> None:
    """At the published rate, on one picture; every layer learns."""
    net = build(HscnetConfig())
    picture, labels = torch.rand(1, 3, 48, 64) * 2 - 1, labels_for(net, 1, 6, 8)
    region, part = labels.unbind(1)
    truth = net.centre[region * 25 + part].movedim(-1, 1) + 0.1
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    before = loss_of(net, picture, labels, truth)
    before.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    optimizer.step()
    with torch.no_grad():
        assert loss_of(net, picture, labels, truth) < 0.97 * before


def test_a_narrow_one_learns_a_picture_by_heart() -> None:
    """A wall of four regions with four parts each: all labels right, points within 4 cm."""
    net = build(narrow(branching=(4, 4)))
    picture = torch.rand(1, 3, 32, 64) * 2 - 1
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(8), indexing='ij')
    region, part = rows // 2 * 2 + columns // 4, rows % 2 * 2 + columns % 4 // 2
    truth = torch.stack([0.1 * columns, 0.1 * rows, torch.ones(4, 8)])
    for leaf in range(16):
        net.centre[leaf] = truth[:, region * 4 + part == leaf].mean(1)
    labels = torch.stack([region, part])[None]
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss_of(net, picture, labels, truth[None]).backward()
        optimizer.step()
    with torch.no_grad():
        output = net(picture)
        assert torch.equal(output.labels, labels)
        assert (net.points(output)[0] - truth).norm(dim=0).max() < 0.04
        assert net.sure(output).mean() > 0.7


def test_what_is_refused() -> None:
    net = build(narrow())
    with pytest.raises(VlocError, match='image'):
        net(torch.zeros(1, 1, 16, 16))
    with pytest.raises(VlocError, match='labels'):
        net(torch.zeros(1, 3, 16, 16), torch.zeros(1, 2, 3, 2, dtype=torch.long))
    with pytest.raises(VlocError, match='centre'):
        Hscnet(HscnetConfig(), torch.zeros(625, 2))
    with pytest.raises(VlocError, match='regions'):
        HscnetConfig(branching=(0, 25))
    with pytest.raises(VlocError, match='neither'):
        HscnetConfig(classified=False, regressor=())
    with pytest.raises(VlocError, match='73 pixels'):
        HscnetConfig(classified=False, sight='far')
    with pytest.raises(VlocError, match='trunk of 2'):
        replace(NARROW, trunk=(8, 8))


@pytest.mark.parametrize('name', VARIANTS)
def test_settings_survive_a_file(name: str) -> None:
    chosen = narrow(name)
    assert config.fill(HscnetConfig, config.parse(config.to_yaml(chosen).encode(), 'x'), 'x') == (
        chosen
    )
