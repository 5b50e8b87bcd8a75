"""The published schedule of HSCNet: rates are halved late, also in a run that was interrupted."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vloc_models.training.loop import LoopConfig, optimise


class Watched(nn.Module):
    """One weight; what is wanted of it does not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


def rates(
    steps: int, monkeypatch: pytest.MonkeyPatch, file: Path | None = None, stop: int = -1
) -> list[float]:
    """The learning rate of each step that is taken."""
    found, step = list[float](), torch.optim.AdamW.step

    def noted(self: torch.optim.AdamW, *args: Any) -> Any:
        found.append(self.param_groups[0]['lr'])
        return step(self, *args)

    def report(done: int, loss: float) -> None:
        if done == stop:
            raise KeyboardInterrupt

    net = Watched()
    loop = LoopConfig(steps, 1e-2, schedule='halving', checkpoint_s=0)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, 'step', noted)
        with suppress(KeyboardInterrupt):
            optimise(net, lambda step: (net.weight**2).sum(), loop, file, report)
    return found


@pytest.mark.parametrize('steps', [6, 60, 66])
def test_rates_are_halved_four_times(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1/3, 1/2, 2/3 and 5/6: 100, 150, 200 and 250 of the published 300 thousand."""
    found, sixth = rates(steps, monkeypatch), steps // 6
    wanted = [1.0] * 2 * sixth + [x for k in (1, 2, 3, 4) for x in [0.5**k] * sixth]
    np.testing.assert_allclose(found, 1e-2 * np.array(wanted))


def test_rates_of_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rates(1, monkeypatch) == [1e-2]
    found = rates(7, monkeypatch)
    assert found == sorted(found, reverse=True)
    assert found[-1] == 1e-2 / 16


@pytest.mark.parametrize('stop', [2, 25, 59])
def test_a_resumed_run_has_the_rates_it_would_have_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    whole, file = rates(60, monkeypatch), tmp_path / 'run.pt'
    first = rates(60, monkeypatch, file, stop)
    rest = rates(60, monkeypatch, file)
    assert first == whole[:stop]
    assert rest == whole[stop - 1 :]  # the step that was not kept is taken again
