"""Group commit: all are served, together, and each learns what became of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from anchor_supervisor.errors import AnchorError, NetworkError
from anchor_supervisor.runtime.together import Together
from waiting import eventually


class Counter:
    """Carries out numbers: odd ones are refused, each by its own error; 13 brings down all."""

    def __init__(self) -> None:
        """Nothing asked yet, and the gate is open."""
        self.waves: list[list[int]] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, several: Sequence[int]) -> list[AnchorError | None]:
        """Note the wave, and stop at the gate."""
        self.waves.append(list(several))
        self.begun.set()
        self.gate.wait()
        if 13 in several:
            raise NetworkError("no socket")
        return [NetworkError(f"no {one}") if one % 2 else None for one in several]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """More threads than any test asks from."""
    with ThreadPoolExecutor(40) as threads:
        yield threads


def asked_during_the_first(
    counter: Counter, pool: ThreadPoolExecutor, numbers: Sequence[int]
) -> list[Future[None]]:
    """Ask for 0, and for `numbers` while that is under way; give what comes of these."""
    together = Together(threading.Lock(), counter)
    counter.gate.clear()
    first = pool.submit(together.ask, 0)
    counter.begun.wait()
    asked = [pool.submit(together.ask, number) for number in numbers]
    eventually(
        lambda: len(together._waiting), lambda count: count == len(numbers), what="all of them wait"
    )
    counter.gate.set()
    assert first.result() is None
    return asked


def test_one_alone_is_served_at_once() -> None:
    """Nobody waits for company."""
    counter = Counter()
    together = Together(threading.Lock(), counter)
    together.ask(2)
    with pytest.raises(NetworkError, match="no 3"):
        together.ask(3)
    together.ask(4)
    assert counter.waves == [[2], [3], [4]]


def test_all_that_wait_are_served_by_one_call(pool: ThreadPoolExecutor) -> None:
    """Thirty that come while one is served make one more wave, in any order, with nobody twice."""
    counter = Counter()
    asked = asked_during_the_first(counter, pool, range(2, 62, 2))
    assert [one.result() for one in asked] == [None] * 30
    first, second = counter.waves
    assert first == [0]
    assert sorted(second) == list(range(2, 62, 2))


def test_a_failure_is_only_its_own(pool: ThreadPoolExecutor) -> None:
    """Of one wave, each odd one hears its own refusal, and the even ones of none."""
    asked = asked_during_the_first(Counter(), pool, range(2, 10))
    for number, one in zip(range(2, 10), asked, strict=True):
        error = one.exception()
        assert str(error) == (f"no {number}" if number % 2 else "None")


def test_what_brings_down_a_wave_is_everybodys_and_nobodys_after(pool: ThreadPoolExecutor) -> None:
    """Without a socket none is served; those who come later are."""
    counter = Counter()
    asked = asked_during_the_first(counter, pool, [12, 13, 14])
    assert {str(one.exception()) for one in asked} == {"no socket"}
    together = Together(threading.Lock(), counter)
    with pytest.raises(NetworkError, match="no socket"):
        together.ask(13)
    together.ask(14)


def test_calls_never_overlap_and_nobody_is_forgotten(pool: ThreadPoolExecutor) -> None:
    """Many threads that ask as they like: every number once, and no two calls at a time."""
    running, most = 0, 0
    served: list[int] = []

    def carry_out(several: Sequence[int]) -> list[AnchorError | None]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        served.extend(several)
        running -= 1
        return [None] * len(several)

    together = Together(threading.Lock(), carry_out)
    list(pool.map(together.ask, range(2000)))
    assert most == 1
    assert sorted(served) == list(range(2000))


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def together(counter: Counter) -> Iterator[Together[int]]:
    """One whose thread is ended."""
    made = Together(threading.Lock(), counter)
    yield made
    made.close()
    made.close()
    assert "together" not in {thread.name for thread in threading.enumerate()}


def test_what_is_begun_is_done_beside_all_else(counter: Counter, together: Together[int]) -> None:
    """Whoever began it has time of its own, and hears of it at the end."""
    counter.gate.clear()
    first = together.begin(2)
    counter.begun.wait()
    others = [together.begin(number) for number in (3, 4)]
    assert not first.done
    counter.gate.set()
    together.end(first)
    with pytest.raises(NetworkError, match="no 3"):
        together.end(others[0])
    together.end(others[1])
    assert counter.waves == [[2], [3, 4]]
    with pytest.raises(NetworkError, match="no 3"):
        together.end(others[0])


def test_the_thread_and_those_who_cannot_wait_serve_each_once(pool: ThreadPoolExecutor) -> None:
    """Whoever is first; a thread that is late finds nothing to do."""
    served: list[int] = []

    def carry_out(several: Sequence[int]) -> list[AnchorError | None]:
        served.extend(several)
        return [None] * len(several)

    together = Together(threading.Lock(), carry_out)
    list(pool.map(lambda number: together.end(together.begin(number)), range(2000)))
    together.close()
    assert sorted(served) == list(range(2000))


def test_an_end_waits_for_what_was_begun(counter: Counter, together: Together[int]) -> None:
    """Nothing that was wished for is dropped, and nobody serves afterwards but who asks."""
    tickets = [together.begin(number) for number in range(0, 20, 2)]
    together.close()
    assert all(ticket.done for ticket in tickets)
    assert sorted(one for wave in counter.waves for one in wave) == list(range(0, 20, 2))
