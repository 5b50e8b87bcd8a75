from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from planes import DEPTH, VIDEO, H, W, abs_rel

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.networks.fsre import Fsre, FsreConfig, PoseNetwork, make_encoder
from vloc_models.networks.fsre_losses import reprojected, reprojection_loss
from vloc_models.networks.resnet import ResNet
from vloc_models.training import fsre
from vloc_models.training.fsre import FsreTraining, predict_depth, train_fsre
from vloc_models.training.loop import LoopConfig, optimise
from vloc_models.training.video import NeighbourConfig, neighbours_of

TINY = FsreTraining(
    network=FsreConfig(widths=(32, 24, 16, 16, 8), classes=2),
    batch=2,
    loop=LoopConfig(1),
)
PLAIN = replace(TINY.network, classes=0, attention=False)


def test_depth_is_learned_in_metres() -> None:
    """Much better than by the best constant; nothing is rescaled."""
    config = replace(TINY, network=PLAIN, loop=LoopConfig(50, max_lr=2e-3))
    found = train_fsre(replace(VIDEO, labels=None), config)
    told = np.stack([predict_depth(found, image) for image in VIDEO.images])
    best = min(abs_rel(np.full_like(DEPTH, z)) for z in np.linspace(1, 3, 41))
    assert abs_rel(told) < best / 3


def test_depth_is_told_at_the_pictures_own_size() -> None:
    network = train_fsre(VIDEO, TINY)
    small = predict_depth(network, VIDEO.images[0])
    large = predict_depth(network, np.kron(VIDEO.images[0], np.ones((3, 3, 1), np.uint8)))
    assert small.shape == (H, W)
    assert small.dtype == np.float32
    assert large.shape == (3 * H, 3 * W)
    assert np.abs(large[1::3, 1::3] / small - 1).mean() < 0.02
    assert predict_depth(network, np.zeros((50, 71, 3), np.uint8)).shape == (50, 71)


def test_a_network_never_trained_takes_pictures_as_they_are() -> None:
    with pytest.raises(VlocError, match='multiples of 32'):
        predict_depth(Fsre(TINY.network).eval(), np.zeros((50, 71, 3), np.uint8))


@pytest.mark.parametrize(
    'network',
    [
        FsreConfig(classes=2),
        FsreConfig(classes=0, attention=False),
        FsreConfig(classes=2, attention=False),
        replace(FsreConfig.published(), widths=(256, 128, 64, 32, 16)),
        FsreConfig('resnet50', (64, 32, 32, 16, 16), 2),
    ],
)
def test_every_size_takes_a_step(network: FsreConfig) -> None:
    config = replace(TINY, network=network, loop=LoopConfig(2))
    torch.manual_seed(config.seed)
    fresh, video = Fsre(network).state_dict(), VIDEO
    if not network.classes:
        video = replace(video, labels=None)
    losses = []
    found = train_fsre(video, config, report=lambda step, loss: losses.append(loss))
    assert not found.training
    assert np.isfinite(losses).all()
    changed = [n for n, p in found.named_parameters() if p.requires_grad and not p.equal(fresh[n])]
    assert len(changed) > 0.9 * len(list(found.parameters()))
    assert np.isfinite(predict_depth(found, VIDEO.images[0])).all()


def test_the_same_seed_gives_the_same_network() -> None:
    first, second = (train_fsre(VIDEO, TINY).state_dict() for _ in range(2))
    other = train_fsre(VIDEO, replace(TINY, seed=1)).state_dict()
    assert all(first[k].equal(second[k]) for k in first)
    assert not all(first[k].equal(other[k]) for k in first)


def test_the_light_encoder_starts_from_the_shipped_one() -> None:
    """A step of a rate of next to nothing leaves it as it was."""
    still = replace(TINY, loop=LoopConfig(1, max_lr=1e-9))
    ours = [train_fsre(VIDEO, replace(still, seed=s)).encoder.state_dict() for s in (0, 1)]
    fresh = [
        train_fsre(VIDEO, replace(still, seed=s, pretrained=False)).encoder.state_dict()
        for s in (0, 1)
    ]
    name = 'trunk.context.4.0.weight'
    assert torch.allclose(ours[0][name], ours[1][name], atol=1e-6)
    assert not torch.allclose(fresh[0][name], fresh[1][name], atol=1e-6)


def test_a_resnet_starts_from_a_state_dict(tmp_path: Path) -> None:
    file, resnet = tmp_path / 'resnet18.pth', ResNet(18)
    torch.save(resnet.state_dict() | {'fc.bias': torch.zeros(9)}, file)
    network = FsreConfig('resnet18', (16, 16, 8, 8, 8), 2)
    config = replace(TINY, network=network, weights=file, loop=LoopConfig(1, max_lr=1e-9))
    found = train_fsre(VIDEO, config).encoder.trunk
    assert torch.allclose(found.get_parameter('conv1.weight'), resnet.conv1.weight, atol=1e-6)
    with pytest.raises(VlocError, match='no weights of resnet50'):
        train_fsre(VIDEO, replace(config, network=replace(network, encoder='resnet50')))
    with pytest.raises(VlocError, match='no weights of resnet18'):
        train_fsre(VIDEO, replace(config, weights=tmp_path / 'none.pth'))
    with pytest.raises(VlocError, match='ships with its weights'):
        replace(TINY, weights=file)


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    config = replace(TINY, loop=LoopConfig(4, checkpoint_s=0))
    whole = train_fsre(VIDEO, config).state_dict()

    def interrupted(step: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_fsre(VIDEO, config, checkpoint=tmp_path / 'c.pt', report=interrupted)
    steps = []
    found = train_fsre(
        VIDEO, config, checkpoint=tmp_path / 'c.pt', report=lambda s, _: steps.append(s)
    )
    assert steps == [3, 4]
    assert all(torch.equal(x, whole[n]) for n, x in found.state_dict().items())


def test_without_poses_motion_and_depth_are_learned_together() -> None:
    losses = []
    video = replace(VIDEO, T_map_cam=None)
    config = replace(TINY, loop=LoopConfig(2))
    found = train_fsre(video, config, report=lambda step, loss: losses.append(loss))
    assert len(losses) == 2
    assert np.isfinite(predict_depth(found, VIDEO.images[0])).all()


def test_motion_is_learned_the_right_way_round() -> None:
    """Of a camera that goes to the right, points go to the left: t_x < 0 forwards in time."""
    torch.manual_seed(0)
    encoder = make_encoder('light')
    fsre._start(encoder.trunk, TINY)
    motion = PoseNetwork(encoder)
    video = replace(VIDEO, T_map_cam=None, labels=None)
    config = replace(TINY, batch=4, flip_share=0)
    choices = [np.array([max(0, i - 2), min(11, i + 2)]) for i in range(12)]

    def loss_of(step: int) -> torch.Tensor:
        rng, twin = (np.random.default_rng(step) for _ in range(2))
        chosen = twin.choice(12, 4, replace=False)
        batch = fsre._with_motion(fsre._batch(video, choices, config, rng, 'cpu'), motion)
        depth = torch.from_numpy(DEPTH[chosen])[:, None]
        warped = reprojected(depth, batch.K, batch.near)
        return reprojection_loss(batch.images, warped, None, config.loss)

    optimise(motion, loss_of, LoopConfig(40, max_lr=1e-3))
    x = torch.from_numpy(VIDEO.images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        T_later_earlier = motion(x[:-2], x[2:])
    assert (T_later_earlier[:, 0, 3] < -0.005).all()  # at first within 0.0005 of 0


def test_neighbours_are_those_with_a_base_line() -> None:
    """Of f (1 / near - 1 / far) b = 80 px * 0.75 / m * b: at 0.08 m 5 % of the width."""
    config = NeighbourConfig(overlap=0.5, parallax=(0.04, 0.09))
    found = neighbours_of(VIDEO, config)
    assert found[0].tolist() == [2, 3]
    assert found[5].tolist() == [2, 3, 7, 8]


def test_pictures_taken_far_apart_take_the_nearest_there_are() -> None:
    found = neighbours_of(VIDEO, NeighbourConfig(overlap=0.5, parallax=(0.01, 0.02)))
    assert found[0].tolist() == [1, 2]  # 2.5 and 5 %


def test_a_picture_that_shows_something_else_is_no_neighbour() -> None:
    assert VIDEO.T_map_cam is not None
    T = VIDEO.T_map_cam.copy()
    T[6:] = T[6:] @ se3.exp([0, 0, 0, 0, np.pi, 0])
    found = neighbours_of(replace(VIDEO, T_map_cam=T), NeighbourConfig())
    assert max(found[0].tolist()) < 6
    assert min(found[11].tolist()) >= 6


def test_without_poses_neighbours_are_the_next() -> None:
    found = neighbours_of(replace(VIDEO, T_map_cam=None), NeighbourConfig())
    assert found[0].tolist() == [1]
    assert found[5].tolist() == [4, 6]


def test_mirrored_samples_are_as_good() -> None:
    """A depth, true or wrong, costs the same mirrored; also where lenses are not centred."""
    video = replace(VIDEO, K=VIDEO.K.copy())
    video.K[::2, 0, 2] += 3
    costs = []
    for share in (0.0, 1.0):
        config = replace(TINY, batch=6, flip_share=share, jitter_share=0)
        choices = neighbours_of(video, config.neighbours)
        batch = fsre._batch(video, choices, config, np.random.default_rng(3), 'cpu')
        chosen = np.random.default_rng(3).choice(12, 6, replace=False)
        depth = torch.from_numpy(DEPTH[chosen])[:, None]
        depth = depth.flip(3) if share else depth
        assert batch.labels is not None
        assert torch.equal(batch.labels == 1, depth[:, 0] < 2)
        for z in (depth, 0.5 * depth):
            warped = reprojected(z, batch.K, batch.near)
            costs.append(reprojection_loss(batch.images, warped, None, config.loss).item())
    right, wrong, mirrored_right, mirrored_wrong = costs
    assert right != pytest.approx(wrong, rel=0.1)
    assert mirrored_right == pytest.approx(right, rel=1e-3)
    assert mirrored_wrong == pytest.approx(wrong, rel=1e-3)


def bad_pose() -> NDArray[np.float64]:
    assert VIDEO.T_map_cam is not None
    T = VIDEO.T_map_cam.copy()
    T[3, 0, 3] = np.nan
    return T


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ({'images': VIDEO.images[:1]}, '1 pictures'),
        ({'images': VIDEO.images[:, :50]}, '96x50.*multiple of 32'),
        ({'images': VIDEO.images[:, :32]}, 'from 64 on'),
        ({'images': VIDEO.images[..., 0]}, 'images has shape'),
        ({'K': VIDEO.K[:3]}, 'K has shape'),
        ({'K': 0 * VIDEO.K}, 'no camera matrix'),
        ({'T_map_cam': bad_pose()}, 'picture 3 holds NaN'),
        ({'T_map_cam': np.repeat(np.eye(4)[None], 12, 0)}, 'no two of 12 pictures'),
        ({'T_map_cam': np.eye(4)[None]}, 'T_map_cam has shape'),
        ({'labels': VIDEO.labels[:, :32]}, 'labels has shape'),  # pyright: ignore
        ({'labels': np.full((12, H, W), 2, np.uint8)}, 'label 2.*has 2 classes'),
    ],
)
def test_a_bad_video_is_refused(wrong: dict, words: str) -> None:
    with pytest.raises(VlocError, match=words):
        train_fsre(replace(VIDEO, **wrong), TINY)


def test_pixels_without_a_class_are_fine() -> None:
    assert np.isfinite(
        predict_depth(
            train_fsre(replace(VIDEO, labels=np.full((12, H, W), 255, np.uint8)), TINY),
            VIDEO.images[0],
        )
    ).all()


@pytest.mark.parametrize(
    'wrong',
    [
        lambda: FsreTraining(batch=0),
        lambda: NeighbourConfig(count=0),
        lambda: NeighbourConfig(parallax=(0.1, 0.02)),
        lambda: NeighbourConfig(near_m=0),
    ],
)
def test_a_senseless_recipe_is_refused(wrong) -> None:  # noqa: ANN001
    with pytest.raises(VlocError):
        wrong()
