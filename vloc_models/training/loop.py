"""The training loop: AdamW, a schedule, checkpoints that hold numbers only, an exact resume."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vloc_models.errors import VlocError

_log = logging.getLogger(__name__)
Report = Callable[[int, float], None]  # steps done, loss


@dataclass(frozen=True)
class LoopConfig:
    """One run of the optimiser."""

    steps: int  # 0 where they follow from the data
    max_lr: float = 5e-3  # highest learning rate
    weight_decay: float = 0.01  # AdamW's
    checkpoint_s: float = 20.0  # between two checkpoints
    # halving: at 1/3, 1/2, 2/3 and 5/6 of the steps, as HSCNet was trained
    schedule: Literal['one_cycle', 'halving'] = 'one_cycle'

    def __post_init__(self) -> None:
        if self.steps < 0 or not self.max_lr > 0:
            raise VlocError(
                f'training: {self.steps} steps at a rate of {self.max_lr:g}', 'give more of both'
            )


def optimise(
    model: nn.Module,
    loss_of: Callable[[int], Tensor],
    config: LoopConfig,
    checkpoint: Path | None = None,
    report: Report = lambda step, loss: None,
    beside: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Minimise ``loss_of(step)`` over the model's parameters.

    Args:
        model: trained in place.
        loss_of: the loss of a step; must draw the same batch whenever it is asked for a step.
        config: steps and rates.
        checkpoint: continued from if it is there, and written every ``checkpoint_s``.
        report: called after every step.
        beside: what else changes while ``loss_of`` is asked and has a state dict, by name; it is
            kept in the checkpoint too.

    Raises:
        VlocError: if the loss is not finite, the checkpoint is damaged or belongs to another run,
            or it cannot be written.
    """
    if config.steps < 1:
        raise VlocError('training: no steps', 'give more')
    optimizer = torch.optim.AdamW(
        model.parameters(), config.max_lr, weight_decay=config.weight_decay
    )
    schedule = _schedule(optimizer, config)
    kept = {'model': model, 'optimizer': optimizer, 'schedule': schedule, **beside}
    start = _load(checkpoint, config.steps, kept) if checkpoint else 0
    saved = time.monotonic()
    for step in range(start, config.steps):
        loss = loss_of(step)
        if not torch.isfinite(loss):
            raise VlocError(
                f'training: the loss is {loss.item()} at step {step}',
                'look for NaN in poses, depth or features',
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step + 1 < config.steps:
            schedule.step()
        report(step + 1, loss.item())
        if checkpoint and time.monotonic() - saved > config.checkpoint_s:
            _save(checkpoint, step + 1, config.steps, kept)
            saved = time.monotonic()
    if checkpoint and start < config.steps:
        _save(checkpoint, config.steps, config.steps, kept)


class Shuffle:
    """The order of so many rows, another one in each epoch, the same whenever it is asked for."""

    def __init__(self, rows: int, batch: int, seed: int) -> None:
        self._rows, self._batch, self._seed = rows, min(batch, rows), seed
        self._per_epoch = max(1, rows // self._batch)  # the last, incomplete batch is left out
        self._epoch, self._order = -1, torch.zeros(0)

    def rows(self, step: int) -> Tensor:
        """The numbers of one step's batch."""
        epoch, part = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self._seed * 100_003 + epoch)
            self._epoch, self._order = epoch, torch.randperm(self._rows, generator=generator)
        return self._order[part * self._batch : (part + 1) * self._batch]


def _schedule(
    optimizer: torch.optim.Optimizer, config: LoopConfig
) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule == 'halving':
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 ** max(0, 6 * step // config.steps - 1)
        )
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.max_lr, total_steps=config.steps, cycle_momentum=False
    )


def _save(path: Path, step: int, steps: int, kept: dict[str, Any]) -> None:
    state = {'step': step, 'steps': steps}
    state |= {name: part.state_dict() for name, part in kept.items()}
    temporary = path.with_name(f'.{path.name}.new')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, temporary)
        temporary.replace(path)
    except (OSError, RuntimeError) as e:  # torch tells a full disk as RuntimeError
        with suppress(OSError):
            temporary.unlink()
        raise VlocError(f'{path}: cannot be written: {e}', 'make room on the disk') from e


def _load(path: Path, steps: int, kept: dict[str, Any]) -> int:
    """The step to go on from."""
    try:
        if not path.exists():
            return 0
        state = torch.load(path, map_location='cpu', weights_only=True)
        total = state['steps']
        if total != steps:
            raise VlocError(
                f'{path}: of a run of {total} steps, not {steps}', 'delete it to start anew'
            )
        for name, part in kept.items():
            part.load_state_dict(state[name])
        step = range(total + 1).index(state['step'])
    except VlocError:
        raise
    except Exception as e:  # a torn zip raises anything
        raise VlocError(f'{path}: is damaged: {e}', 'delete it to start anew') from e
    _log.info('%s: going on from step %d of %d', path, step, total)
    return step
