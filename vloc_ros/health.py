"""What is well and what is not, in words, for /diagnostics and the log. No ROS here."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_SHOWN_S = 5.0  # a fault is shown this long after it was last seen
_NUMBER = re.compile(r'\d+(?:\.\d+)?')
_SAID_AGAIN_S = 30.0  # the same words are logged no more often


@dataclass
class Part:
    """One part of the node, such as its camera."""

    name: str
    level: str = 'ok'  # ok, warn or error
    words: str = ''
    values: dict[str, object] = field(default_factory=dict)
    fault: str = ''
    faults: int = 0  # so far
    fault_at_s: float = float('-inf')

    def state(self, now_s: float) -> tuple[str, str, dict[str, object]]:
        """Level, words and values: the last fault while it is fresh, else what was set."""
        values = {**self.values, 'faults': self.faults}
        if now_s - self.fault_at_s <= _SHOWN_S:
            level = 'error' if self.level == 'error' else 'warn'
            return level, self.fault, values
        return self.level, self.words, values


class Health:
    """Keeps the parts, and logs what is new."""

    def __init__(
        self, log: Callable[[str], object], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """``log`` takes a line for the user; ``now_s`` is a clock that never goes back."""
        self._log, self._now_s = log, now_s
        self._parts: dict[str, Part] = {}
        self._said: dict[str, float] = {}

    def set(self, name: str, level: str, words: str, **values: object) -> None:
        """How a part is by now; told until it is set anew."""
        part = self._part(name)
        part.level, part.words = level, words
        part.values.update(values)
        if level != 'ok':
            self._say(f'{name}: {words}')

    def fault(self, name: str, words: str) -> None:
        """Something went wrong once: a message was bad. Told for some seconds."""
        part = self._part(name)
        part.fault, part.faults, part.fault_at_s = words, part.faults + 1, self._now_s()
        self._say(f'{name}: {words}')

    def drop(self, *names: str) -> None:
        """These parts exist no more."""
        for name in names:
            self._parts.pop(name, None)

    def parts(self) -> list[tuple[str, str, str, dict[str, object]]]:
        """Name, level, words and values of each part."""
        now_s = self._now_s()
        return [(part.name, *part.state(now_s)) for part in self._parts.values()]

    def worst(self) -> tuple[str, str]:
        """The level and words of the part that is worst off."""
        order = ('ok', 'warn', 'error')
        told = [(level, f'{name}: {words}') for name, level, words, _ in self.parts()]
        return max(told, key=lambda pair: order.index(pair[0]), default=('ok', ''))

    def trouble(self) -> str:
        """The words of the part that is worst off; '' where all is well."""
        level, words = self.worst()
        return '' if level == 'ok' else words

    def _part(self, name: str) -> Part:
        return self._parts.setdefault(name, Part(name))

    def _say(self, line: str) -> None:
        now_s, alike = self._now_s(), _NUMBER.sub('0', line)  # other numbers are no news
        if now_s - self._said.get(alike, float('-inf')) >= _SAID_AGAIN_S:
            if len(self._said) > 1000:  # a hostile stream must not fill the memory
                self._said.clear()
            self._said[alike] = now_s
            self._log(line)
