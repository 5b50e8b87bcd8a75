"""That training converges, and that no moment of dying and no damaged file can hurt it."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vloc_models.errors import VlocError
from vloc_models.training.loop import LoopConfig, optimise

STEPS = 40
ALWAYS = LoopConfig(STEPS, max_lr=0.3, weight_decay=1e-4, checkpoint_s=0)


class Line(nn.Module):
    """Three weights to be found."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3))

    def loss(self, step: int) -> Tensor:
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
        return ((x @ self.w - x @ torch.tensor([1.0, -2.0, 0.5])) ** 2).mean()


def dying(line: Line, last: int) -> Callable[[int], Tensor]:
    """Its loss, until the process is interrupted at step ``last``."""

    def loss_of(step: int) -> Tensor:
        if step == last:
            raise KeyboardInterrupt
        return line.loss(step)

    return loss_of


@pytest.fixture(scope='module')
def whole() -> Tensor:
    """The weights of a run without interruption."""
    line = Line()
    optimise(line, line.loss, ALWAYS)
    return line.w.detach()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """That of a run interrupted half-way."""
    file = tmp_path / 'training.pt'
    line = Line()
    with pytest.raises(KeyboardInterrupt):
        optimise(line, dying(line, STEPS // 2), ALWAYS, file)
    return file


def resumed(file: Path, config: LoopConfig = ALWAYS) -> Line:
    line = Line()
    optimise(line, line.loss, config, file)
    return line


def test_least_squares_is_solved() -> None:
    line, seen = Line(), []
    config = LoopConfig(300, max_lr=0.1, weight_decay=0)
    optimise(line, line.loss, config, report=lambda *args: seen.append(args))
    torch.testing.assert_close(line.w.detach(), torch.tensor([1.0, -2, 0.5]), atol=0.01, rtol=0)
    assert [step for step, _ in seen] == list(range(1, 301))
    assert seen[-1][1] < 1e-3 < seen[0][1]


@pytest.mark.parametrize('last', [0, 1, 2, 11, 12, STEPS - 2, STEPS - 1])
def test_interrupted_and_resumed_is_as_never_interrupted(
    tmp_path: Path, whole: Tensor, last: int
) -> None:
    file, line = tmp_path / 'new' / 'training.pt', Line()
    with pytest.raises(KeyboardInterrupt):
        optimise(line, dying(line, last), ALWAYS, file)
    assert file.exists() == (last > 0)
    assert torch.equal(resumed(file).w, whole)
    again = resumed(file)  # of a finished run: nothing is left to do
    assert torch.equal(again.w, whole)


def test_interrupted_again_and_again(tmp_path: Path, whole: Tensor) -> None:
    file = tmp_path / 'training.pt'
    for last in range(1, STEPS, 3):
        line = Line()
        with pytest.raises(KeyboardInterrupt):
            optimise(line, dying(line, last), ALWAYS, file)
    assert torch.equal(resumed(file).w, whole)


KILLED = """
import os, signal, sys
from pathlib import Path
import importlib.util
spec = importlib.util.spec_from_file_location('toy', sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
left, replace = 7, Path.replace
def dies(self, target):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = dies
line = toy.Line()
toy.optimise(line, line.loss, toy.ALWAYS, Path(sys.argv[2]))
"""


def test_killed_while_it_writes_a_checkpoint(tmp_path: Path, whole: Tensor) -> None:
    file = tmp_path / 'training.pt'
    words = [sys.executable, '-c', KILLED, __file__, str(file)]
    assert subprocess.run(words, check=False, timeout=120).returncode == -9
    assert torch.load(file, weights_only=True)['step'] == 6
    assert torch.equal(resumed(file).w, whole)
    assert [p.name for p in tmp_path.iterdir()] == ['training.pt']


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_loss_that_is_no_number_is_named(tmp_path: Path, bad: float) -> None:
    line = Line()
    with pytest.raises(VlocError, match='step 5'):
        optimise(line, lambda step: line.loss(step) * (bad if step == 5 else 1), ALWAYS)
    assert line.w.isfinite().all()


def test_a_truncated_checkpoint_is_refused(checkpoint: Path) -> None:
    whole_file = checkpoint.read_bytes()
    for size in (0, 1, 100, len(whole_file) // 2, len(whole_file) - 10):
        checkpoint.write_bytes(whole_file[:size])
        with pytest.raises(VlocError, match=r'damaged.*delete'):
            resumed(checkpoint)


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_checkpoint_that_holds_code_is_refused_and_not_run(checkpoint: Path) -> None:
    mark = checkpoint.parent / 'was_run'
    state = torch.load(checkpoint, weights_only=True)
    torch.save({**state, 'more': Evil(mark)}, checkpoint)
    with pytest.raises(VlocError, match='damaged'):
        resumed(checkpoint)
    assert not mark.exists()


@pytest.mark.parametrize('raw', [b'nonsense' * 99, bytes(range(256)), b'PK\x03\x04' + b'0' * 99])
def test_other_bytes_are_refused(checkpoint: Path, raw: bytes) -> None:
    checkpoint.write_bytes(raw)
    with pytest.raises(VlocError, match='damaged'):
        resumed(checkpoint)


@pytest.mark.parametrize('step', [None, -1, STEPS + 1, 2.5, 'seven'])
def test_an_impossible_step_is_refused(checkpoint: Path, step: object) -> None:
    torch.save({**torch.load(checkpoint, weights_only=True), 'step': step}, checkpoint)
    with pytest.raises(VlocError, match='damaged'):
        resumed(checkpoint)


@pytest.mark.parametrize('missing', ['step', 'model', 'optimizer', 'schedule'])
def test_a_checkpoint_that_lacks_a_part_is_refused(checkpoint: Path, missing: str) -> None:
    state = torch.load(checkpoint, weights_only=True)
    del state[missing]
    torch.save(state, checkpoint)
    with pytest.raises(VlocError, match='damaged'):
        resumed(checkpoint)


def test_a_checkpoint_of_another_network_is_refused(checkpoint: Path) -> None:
    other = nn.Linear(2, 2)
    with pytest.raises(VlocError, match='damaged'):
        optimise(other, lambda step: other.weight.sum(), ALWAYS, checkpoint)


def test_a_checkpoint_of_another_length_is_refused(checkpoint: Path) -> None:
    with pytest.raises(VlocError, match=r'40 steps, not 41.*delete'):
        resumed(checkpoint, LoopConfig(STEPS + 1, checkpoint_s=0))


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(VlocError, match=r'/dev/null/new.*cannot be written'):
        resumed(Path('/dev/null/new/training.pt'))


def test_a_folder_in_the_place_of_the_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / 'training.pt').mkdir()
    with pytest.raises(VlocError, match=r'training\.pt'):
        resumed(tmp_path / 'training.pt')


class Slope(nn.Module):
    """One weight with a constant gradient, which Adam moves by exactly the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros((), dtype=torch.float64))


def test_the_rate_rises_and_falls_in_one_cycle() -> None:
    slope, places = Slope(), [0.0]
    optimise(
        slope,
        lambda step: slope.w,
        LoopConfig(100, max_lr=0.5, weight_decay=0),
        report=lambda step, loss: places.append(slope.w.item()),
    )
    rates = [before - after for before, after in pairwise(places)]
    assert len(rates) == 100
    assert rates[0] == pytest.approx(0.5 / 25, rel=1e-4)
    assert rates[29] == pytest.approx(0.5, rel=1e-4)
    assert max(rates) == rates[29]
    assert rates[99] == pytest.approx(0.5 / 25e4, rel=1e-4)
    assert rates == sorted(rates[:30]) + sorted(rates[30:], reverse=True)


@pytest.mark.parametrize(('steps', 'max_lr'), [(-3, 0.1), (5, 0.0), (5, float('nan'))])
def test_impossible_runs_are_refused(steps: int, max_lr: float) -> None:
    with pytest.raises(VlocError, match='steps'):
        LoopConfig(steps, max_lr)


def test_no_steps_are_no_run() -> None:
    line = Line()
    with pytest.raises(VlocError, match='no steps'):
        optimise(line, line.loss, LoopConfig(0, 0.1))


def test_one_step_is_a_run() -> None:
    line = Line()
    optimise(line, line.loss, LoopConfig(1, 0.1))
    assert line.w.abs().max() > 0
