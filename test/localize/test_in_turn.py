"""The parts of a map are asked in turn."""

from typing import Any

from vloc_models.localize import localizer as module


def test_parts_take_turns_and_none_is_asked_ahead() -> None:
    asked = list[str]()

    def answers(name: str, count: int) -> Any:
        for n in range(count):
            asked.append(f'{name}{n}')
            yield asked[-1]

    told = module._in_turn([answers('a', 3), answers('b', 1)])
    assert next(told) == 'a0'
    assert asked == ['a0']  # the first may be clear already
    assert list(told) == ['b0', 'a1', 'a2']
