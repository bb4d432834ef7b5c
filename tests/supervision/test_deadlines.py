"""Deadlines: the earliest of many, however often each is moved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.supervision.deadlines import SLACK, Deadlines
from playbook import the

moves = st.lists(
    st.tuples(st.integers(1, 5), st.none() | st.floats(0, 100, allow_nan=False)), max_size=300
)


@given(moves=moves, now=st.floats(0, 100))
def test_agrees_with_a_plain_dictionary(moves: list[tuple[int, float | None]], now: float) -> None:
    """After any moves, the first is the least, and what is due is all that is due, in order."""
    deadlines, plain = Deadlines(), dict[int, float]()
    for replica, at in moves:
        deadlines.arm(the(f"web.{replica}"), at)
        plain.pop(replica, None)
        if at is not None:
            plain[replica] = at
        assert deadlines.first() == min(plain.values(), default=None)
    due = [instance.replica for instance in deadlines.take(now)]
    assert sorted(due) == sorted(replica for replica, at in plain.items() if at <= now)
    assert [plain[replica] for replica in due] == sorted(plain[replica] for replica in due)
    assert deadlines.first() == min((at for at in plain.values() if at > now), default=None)


def test_outdated_entries_are_bounded() -> None:
    """A deadline that is moved for ever does not fill the memory."""
    deadlines = Deadlines()
    for moment in range(100_000, 0, -1):
        deadlines.arm(the("web"), float(moment))
    assert deadlines.first() == 1.0
    assert len(deadlines._heap) <= 2 + SLACK
