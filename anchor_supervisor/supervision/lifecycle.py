"""THE LAW of one instance's life: which state follows which. Everything about that is in this file.

Rule 1: a state changes only through `after`, and only along `TRANSITIONS`.
Rule 2: this file knows no policy. Whether a run that ended is tried again, given up or left alone
is decided elsewhere (`restart.py`, `health.py`, `stop.py`); here it is only a trigger.
Rule 3: every start leaves `waiting` or `backoff` through LAUNCH. There is no other way into
`starting`, so there is one place where the gates on dependencies are looked at.

An event that means nothing in the present state (an exit of what does not run, a second answer to
the same request) never becomes a trigger: `instance.py` drops it before it comes here. A pair that
is missing from the table is therefore our own mistake and raises SupervisionBug.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.supervision.states import State


class Trigger(enum.StrEnum):
    """What can move an instance from one state to another."""

    WAIT = "wait"  # it is wanted (again), and held until its gates open
    LAUNCH = "launch"  # the gates are open: a Spawn goes out
    SPAWNED = "spawned"  # the command has been executed
    COMPLETE = "complete"  # a job exited with code 0
    RETRY = "retry"  # the run failed and the policy says: again, later
    GIVE_UP = "give up"  # the run failed and that was the last one
    STOP = "stop"  # it must end: signalled, or told to go as soon as it has started
    ESCALATE = "escalate"  # the stop goes a step further, in the end to the kill
    DOWN = "down"  # nothing of it runs, and that is as wanted


TRANSITIONS: Final[Mapping[State, Mapping[Trigger, State]]] = MappingProxyType(
    {
        State.WAITING: {
            Trigger.LAUNCH: State.STARTING,
            Trigger.DOWN: State.STOPPED,
        },
        State.STARTING: {
            Trigger.SPAWNED: State.RUNNING,
            Trigger.RETRY: State.BACKOFF,
            Trigger.GIVE_UP: State.FAILED,
            Trigger.STOP: State.STOPPING,
            Trigger.DOWN: State.STOPPED,
        },
        State.RUNNING: {
            Trigger.COMPLETE: State.COMPLETED,
            Trigger.RETRY: State.BACKOFF,
            Trigger.GIVE_UP: State.FAILED,
            Trigger.STOP: State.STOPPING,
            Trigger.DOWN: State.STOPPED,
        },
        State.STOPPING: {
            Trigger.STOP: State.STOPPING,
            Trigger.ESCALATE: State.STOPPING,
            Trigger.SPAWNED: State.STOPPING,
            Trigger.WAIT: State.WAITING,
            Trigger.RETRY: State.BACKOFF,
            Trigger.GIVE_UP: State.FAILED,
            Trigger.DOWN: State.STOPPED,
        },
        State.BACKOFF: {
            Trigger.LAUNCH: State.STARTING,
            Trigger.WAIT: State.WAITING,
            Trigger.DOWN: State.STOPPED,
        },
        State.STOPPED: {Trigger.WAIT: State.WAITING},
        State.COMPLETED: {Trigger.WAIT: State.WAITING},
        State.FAILED: {
            Trigger.WAIT: State.WAITING,
            Trigger.DOWN: State.STOPPED,
        },
    }
)

DOWN: Final = frozenset({State.STOPPED, State.COMPLETED, State.FAILED})
"""Nothing runs, and nothing will until an operator asks, or a schedule does."""

HELD: Final = frozenset({State.WAITING, State.BACKOFF})
"""Nothing runs, and something will: the states that LAUNCH leaves."""


def after(state: State, trigger: Trigger) -> State:
    """Return the state that follows; raise SupervisionBug where nothing does."""
    following = TRANSITIONS[state].get(trigger)
    if following is None:
        message = f"no transition for `{trigger}` in state `{state}`"
        raise SupervisionBug(message)
    return following
