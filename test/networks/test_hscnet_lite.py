"""Each answer knows of those before it, each cell of itself only, and hints tell places apart."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vloc_models import config
from vloc_models.errors import VlocError
from vloc_models.networks.ace import Whitening
from vloc_models.networks.hscnet import HscnetLoss, HscnetOutput, hscnet_loss
from vloc_models.networks.hscnet_lite import HscnetLite, HscnetLiteConfig

SMALL = HscnetLiteConfig(
    in_channels=6,
    branching=(4, 3),
    width=16,
    classifier=(12, 8),
    regressor=(16, 16),
    generator=(8, 12),
    image_code=5,
)


pytestmark = pytest.mark.usefixtures('one_thread')


def build(size: HscnetLiteConfig = SMALL, seed: int = 0) -> HscnetLite:
    torch.manual_seed(seed)
    leaves = int(torch.tensor(size.branching).prod())
    return HscnetLite(size, 10 * torch.randn(leaves, 3)).eval()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(*values: int, h: int = 2, w: int = 3) -> Tensor:
    """The same of every cell, [1, L, h, w]."""
    return torch.tensor(values)[None, :, None, None].expand(1, -1, h, w)


def test_a_network_of_the_default_size() -> None:
    net = build(HscnetLiteConfig())
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == 0.75
    output = net(drawn(2, 128, 3, 4))
    assert [x.shape for x in output.logits] == [(2, 25, 3, 4), (2, 25, 3, 4)]
    assert output.labels.shape == (2, 2, 3, 4)
    assert net.points(output).shape == (2, 3, 3, 4)
    assert net.sure(output).shape == (2, 1, 3, 4)


def test_levels_are_conditioned_on_given_labels_or_on_their_own() -> None:
    net, x = build(), drawn(1, 6, 2, 3)
    own = net(x)
    assert torch.equal(own.labels, torch.stack([y.argmax(1) for y in own.logits], 1))
    told = net(x, own.labels)
    for a, b in zip((*own.logits, own.residual), (*told.logits, told.residual), strict=True):
        assert torch.equal(a, b)
    first, other = net(x, labels(0, 0)), net(x, labels(1, 0))
    assert torch.equal(first.labels, labels(0, 0))
    assert torch.equal(first.logits[0], other.logits[0])  # the first level knows nothing
    assert not torch.allclose(first.logits[1], other.logits[1])
    assert not torch.allclose(first.residual, other.residual)
    third = net(x, labels(0, 1))
    assert torch.equal(first.logits[1], third.logits[1])  # a level does not know its own answer
    assert not torch.allclose(first.residual, third.residual)


def test_unconditioned_no_answer_knows_of_those_before_it() -> None:
    net, x = build(replace(SMALL, conditioned=False)), drawn(1, 6, 2, 3)
    one, other = net(x, labels(0, 0)), net(x, labels(3, 2))
    for a, b in zip((*one.logits, one.residual), (*other.logits, other.residual), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(net.points(one), net.points(other))  # they lie around other centres


@pytest.mark.parametrize('images', [0, 3])
def test_a_cell_depends_on_itself_only(images: int) -> None:
    net, x = build(replace(SMALL, images=images)), drawn(1, 6, 3, 4)
    image = torch.zeros(1, 3, 4, dtype=torch.long) if images else None
    before = net.points(net(x, image=image))
    x[0, :, 1, 2] += 10
    after = net.points(net(x, image=image))
    changed = (before != after).any(1)[0]
    assert changed[1, 2]
    assert changed.sum() == 1
    in_a_row = None if image is None else image.reshape(1, 1, -1)
    row = net.points(net(x.flatten(2)[:, :, None], image=in_a_row))
    torch.testing.assert_close(row.reshape(1, 3, 3, 4), after)  # no shape of the grid matters


def test_three_levels() -> None:
    net, x = build(replace(SMALL, branching=(2, 3, 4))), drawn(1, 6, 2, 3)
    output = net(x)
    assert [y.shape[1] for y in output.logits] == [2, 3, 4]
    assert output.labels.shape == (1, 3, 2, 3)
    path = labels(1, 2, 3)
    given = net(x, path)
    assert given.residual is not None
    leaf = net.centre[(1 * 3 + 2) * 4 + 3][:, None, None]
    torch.testing.assert_close(net.points(given) - given.residual, leaf.expand(1, 3, 2, 3))
    deeper = net(x, labels(1, 0, 3))
    assert torch.equal(deeper.logits[1], given.logits[1])
    assert not torch.allclose(deeper.logits[2], given.logits[2])


def test_one_level() -> None:
    net = build(replace(SMALL, branching=(5,)))
    output = net(drawn(1, 6, 2, 3))
    assert output.labels.shape == (1, 1, 2, 3)
    assert torch.isfinite(net.points(output)).all()


def test_classes_only_answer_the_centres_of_leaves() -> None:
    net = build(replace(SMALL, regressor=()))
    output = net(drawn(1, 6, 5, 7))
    assert output.residual is None
    leaf = output.labels[0, 0] * 3 + output.labels[0, 1]
    assert len(leaf.unique()) > 2
    assert torch.equal(net.points(output)[0], net.centre[leaf].permute(2, 0, 1))
    unknown = net(drawn(1, 6, 2, 3), labels(-1, -1))  # as in training: of no meaning, no error
    assert torch.isfinite(net.points(unknown)).all()


def test_the_sparse_variant_depends_on_the_picture() -> None:
    net, x = build(replace(SMALL, images=3)), drawn(1, 6, 2, 3)
    number = torch.tensor([[[0, 1, 2], [0, 0, 0]]])
    told = [net(x, labels(0, 0), torch.full_like(number, n)) for n in range(3)]
    mixed = net(x, labels(0, 0), number)
    for n in range(3):
        at = number[0] == n
        for level in range(2):  # each level, and the point, of each cell
            torch.testing.assert_close(
                mixed.logits[level][0, :, at], told[n].logits[level][0, :, at]
            )
        torch.testing.assert_close(mixed.residual[0, :, at], told[n].residual[0, :, at])
    for part in (lambda y: y.logits[0], lambda y: y.logits[1], lambda y: y.residual):
        assert not torch.allclose(part(told[0]), part(told[1]))


def test_an_unconditioned_sparse_network_knows_the_picture_alone() -> None:
    net, x = build(replace(SMALL, images=2, conditioned=False)), drawn(1, 6, 1, 2)
    number = torch.zeros(1, 1, 2, dtype=torch.long)
    one, other = (net(x, labels(k, 0, h=1, w=2), number) for k in (0, 1))
    assert torch.equal(one.logits[1], other.logits[1])
    assert not torch.allclose(one.logits[1], net(x, labels(0, 0, h=1, w=2), number + 1).logits[1])


def test_sure_is_how_likely_the_likeliest_labels_are_together() -> None:
    net = build()
    logits = torch.tensor([3.0, 1, 0, 0]), torch.tensor([0.0, 2, 2])
    output = HscnetOutput(
        tuple(x[None, :, None, None] for x in logits), labels(0, 1, h=1, w=1), None
    )
    wanted = logits[0].softmax(0).max() * logits[1].softmax(0).max()
    assert net.sure(output).shape == (1, 1, 1, 1)
    assert net.sure(output).item() == pytest.approx(wanted.item())
    assert (net.sure(net(drawn(1, 6, 4, 5))) <= 1).all()


def test_features_are_whitened_first() -> None:
    torch.manual_seed(0)
    mean, matrix = drawn(6), drawn(6, 6, seed=1)
    plain = build()
    white = HscnetLite(SMALL, plain.centre, Whitening(mean, matrix))
    kept = {k: v for k, v in plain.state_dict().items() if k not in ('mean', 'whiten')}
    white.load_state_dict(kept, strict=False)
    x = drawn(1, 6, 2, 3)
    by_hand = torch.einsum('bchw,cd->bdhw', x - mean[:, None, None], matrix)
    torch.testing.assert_close(white.points(white(x)), plain.points(plain(by_hand)))


@pytest.mark.parametrize('branching', [(), (1, 25), (25, 0), (25, -1)])
def test_levels_of_less_than_two_labels_are_refused(branching: tuple[int, ...]) -> None:
    with pytest.raises(VlocError, match=r'two or more'):
        HscnetLiteConfig(branching=branching)


def test_centres_and_features_must_fit() -> None:
    with pytest.raises(VlocError, match='centre'):
        HscnetLite(SMALL, torch.zeros(11, 3))
    with pytest.raises(VlocError, match='features'):
        build()(torch.zeros(1, 7, 2, 3))


def test_labels_and_pictures_must_fit() -> None:
    with pytest.raises(VlocError, match='labels'):
        build()(torch.zeros(1, 6, 2, 3), labels(0, 0, 0))
    with pytest.raises(VlocError, match='image'):
        build(replace(SMALL, images=2))(
            torch.zeros(1, 6, 2, 3), image=torch.zeros(1, 1, 3, dtype=torch.long)
        )


def test_a_config_is_read_as_it_was_written() -> None:
    size = replace(SMALL, branching=(7, 3, 2), regressor=())
    data = config.parse(config.to_yaml(size).encode(), 'here')
    assert config.fill(HscnetLiteConfig, data, 'here') == size


def alike(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Features of cells at 12 spots, in two rooms alike, and their points 8 m apart."""
    generator = torch.Generator().manual_seed(5)
    looks, spot = torch.randn(6, 6, generator=generator), ids % 6
    points = torch.rand(6, 3, generator=generator)[spot]
    points[:, 0] += 8.0 * (ids >= 6)
    return looks[spot], points


def learned(size: HscnetLiteConfig, hint: bool) -> Tensor:
    """The median distance of answers after training on two rooms that look the same, metres."""
    ids = torch.arange(12).repeat(8)
    features, points = alike(ids)
    path = torch.stack([ids // 6, ids % 6], 1)
    _, centre = alike(torch.arange(12))
    torch.manual_seed(0)
    net = HscnetLite(replace(size, branching=(2, 6)), centre + 0.3)
    x = features.T[None, :, None]
    image = (ids // 6 + 2 * torch.arange(2).repeat_interleave(48))[None, None] if hint else None
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(90):
        output = net(x, path.T[None, :, None], image)
        logits = [y[0, :, 0].T for y in output.logits]
        told = net.points(output)[0, :, 0].T
        optimizer.zero_grad()
        hscnet_loss(logits, told, path, points, HscnetLoss()).backward()
        optimizer.step()
    with torch.no_grad():
        told = net.points(net(x, image=image))[0, :, 0].T
    return (told - points).norm(dim=1)


def test_rooms_that_look_the_same_are_told_apart_by_the_picture() -> None:
    """Four pictures, two of each room. Without a hint one room must be wrong, but not between."""
    told = learned(replace(SMALL, images=4), hint=True)
    assert told.max() < 0.3
    guessed = learned(SMALL, hint=False)
    right = guessed < 0.5
    assert 0.4 < right.float().mean() < 0.6
    assert (guessed[~right] > 7).all()  # in the other room: labels keep it from the middle
