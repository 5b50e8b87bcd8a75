"""A thread that does the newest piece of work there is, while the executor goes on."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar('Job')
Result = TypeVar('Result')


class Worker(Generic[Job, Result]):
    """Takes jobs and leaves results; older jobs make room for newer ones, and are counted."""

    def __init__(
        self, work: Callable[[Job], Result], done: Callable[[], None], capacity: int
    ) -> None:
        """Start the thread.

        Args:
            work: does a job; must not raise.
            done: called on the thread when there is a result.
            capacity: how many jobs may wait; 1 keeps the newest alone.
        """
        self._work, self._done, self._capacity = work, done, capacity
        self._jobs: deque[Job] = deque()
        self._results: deque[Result] = deque()
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name='vloc-worker', daemon=True)
        self._thread.start()

    def offer(self, job: Job) -> int:
        """Hand a job in; returns how many older ones were dropped for it (0 or 1)."""
        with self._wake:
            dropped = len(self._jobs) >= self._capacity
            if dropped:
                self._jobs.popleft()
            self._jobs.append(job)
            self._wake.notify()
        return int(dropped)

    def results(self) -> list[Result]:
        """What was done since the last call, in order."""
        found = []
        while self._results:
            found.append(self._results.popleft())
        return found

    def drop_waiting(self) -> None:
        """Forget the jobs that wait."""
        with self._wake:
            self._jobs.clear()

    def stop(self) -> None:
        """End the thread, after the job under way."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._jobs or self._stopped)
                if self._stopped:
                    return
                job = self._jobs.popleft()
            self._results.append(self._work(job))
            self._done()
