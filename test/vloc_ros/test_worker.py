import threading
from collections.abc import Iterator

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from vloc_ros.worker import Worker

_TIMEOUT_S = 10.0


class Bench:
    """A worker that squares numbers, but only while the gate is open."""

    def __init__(self, capacity: int) -> None:
        self.gate = threading.Event()
        self.begun, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.threads: set[threading.Thread] = set()
        self.worker: Worker[int, int] = Worker(self._work, self._on_done, capacity)

    def _work(self, job: int) -> int:
        self.begun.release()
        assert self.gate.wait(_TIMEOUT_S)
        return job**2

    def _on_done(self) -> None:
        self.threads.add(threading.current_thread())
        self.done.release()

    def busy(self) -> None:
        """Wait until it is at the next job."""
        assert self.begun.acquire(timeout=_TIMEOUT_S)

    def await_done(self, count: int) -> None:
        for _ in range(count):
            assert self.done.acquire(timeout=_TIMEOUT_S)


@pytest.fixture
def newest() -> Iterator[Bench]:
    """It keeps the newest job alone."""
    bench = Bench(1)
    yield bench
    bench.gate.set()
    bench.worker.stop()


@pytest.fixture
def every() -> Iterator[Bench]:
    """It keeps up to 20 jobs."""
    bench = Bench(20)
    yield bench
    bench.gate.set()
    bench.worker.stop()


def test_of_those_that_wait_the_newest_alone_is_done(newest: Bench) -> None:
    assert newest.worker.offer(1) == 0
    newest.busy()
    assert [newest.worker.offer(job) for job in (2, 3, 4)] == [0, 1, 1]
    newest.gate.set()
    newest.await_done(2)
    assert newest.worker.results() == [1, 16]


def test_with_room_for_all_every_one_is_done_in_order(every: Bench) -> None:
    assert [every.worker.offer(job) for job in range(20)] == [0] * 20
    every.gate.set()
    every.await_done(20)
    assert every.worker.results() == [job**2 for job in range(20)]


def test_a_full_queue_drops_the_oldest(every: Bench) -> None:
    every.worker.offer(-1)
    every.busy()
    assert [every.worker.offer(job) for job in range(23)] == [0] * 20 + [1] * 3
    every.gate.set()
    every.await_done(21)
    assert every.worker.results() == [1, *(job**2 for job in range(3, 23))]


def test_results_are_told_once(every: Bench) -> None:
    every.gate.set()
    for job in (3, 4):
        every.worker.offer(job)
        every.await_done(1)
        assert every.worker.results() == [job**2]
    assert every.worker.results() == []


def test_jobs_that_wait_can_be_dropped(every: Bench) -> None:
    every.worker.offer(1)
    every.busy()
    every.worker.offer(2)
    every.worker.drop_waiting()
    every.worker.offer(3)
    every.gate.set()
    every.await_done(2)
    assert every.worker.results() == [1, 9]


def test_who_offers_is_not_kept_waiting_and_told_on_the_other_thread(every: Bench) -> None:
    every.worker.offer(5)
    assert every.worker.results() == []
    every.gate.set()
    every.await_done(1)
    (thread,) = every.threads
    assert thread is not threading.current_thread()
    assert thread.name == 'vloc-worker'


def test_stopping_ends_the_thread_after_the_job_under_way(every: Bench) -> None:
    every.worker.offer(5)
    every.busy()
    every.worker.offer(6)
    stopping = threading.Thread(target=every.worker.stop)
    stopping.start()
    stopping.join(0.02)
    assert stopping.is_alive()
    every.gate.set()
    stopping.join(_TIMEOUT_S)
    assert not stopping.is_alive()
    assert every.worker.results() == [25]
    (thread,) = every.threads
    assert not thread.is_alive()


def test_an_idle_worker_stops_at_once_and_more_than_once(newest: Bench) -> None:
    newest.worker.stop()
    newest.worker.stop()
    newest.worker.offer(1)  # comes too late
    assert not newest.begun.acquire(timeout=0.02)
