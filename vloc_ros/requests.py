"""Calls of ~/relocalize, which wait for a picture that came after them."""

from dataclasses import dataclass
from time import monotonic

from rclpy.executors import Executor
from rclpy.task import Future

from vloc_models.records import Fix, Verdict


@dataclass
class _Request:
    after: int  # the number of the last image before the call
    until_s: float
    answer: Future


class Requests:
    """All calls that wait; each gets the honest result, or what is wrong after its time."""

    def __init__(self) -> None:
        self._waiting: list[_Request] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, after: int, timeout_s: float, executor: Executor | None) -> Future:
        """A call that came after that many images; its future becomes (success, words)."""
        request = _Request(after, monotonic() + timeout_s, Future(executor=executor))
        self._waiting.append(request)
        return request.answer

    def solved(self, number: int, fix: Fix) -> None:
        """Answer those who waited for this picture, or for an earlier one."""
        told = fix.verdict is Verdict.ACCEPTED, f'{fix.verdict.value}: {fix.reason}'
        self._end([r for r in self._waiting if number > r.after], told)

    def overdue(self) -> bool:
        """Whether the time of one is up."""
        return any(monotonic() >= r.until_s for r in self._waiting)

    def give_up(self, words: str, everybody: bool = False) -> None:
        """Answer those whose time is up, or everybody, with what is wrong."""
        late = [r for r in self._waiting if everybody or monotonic() >= r.until_s]
        self._end(late, (False, words))

    def _end(self, requests: list[_Request], told: tuple[bool, str]) -> None:
        for request in requests:
            self._waiting.remove(request)
            request.answer.set_result(told)
