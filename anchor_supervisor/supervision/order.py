"""Who comes before whom: the dependency graph, and when a dependency is satisfied.

It looks at states that it is given; it holds none.
"""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from typing import final

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.fleet.model import Condition, Fleet, InstanceId
from anchor_supervisor.supervision.states import HealthState, State
from anchor_supervisor.values import frozen


@final
@frozen
class Wait:
    """One thing that an instance waits for.

    `present` is the state of the dependency in words. `dead`: it cannot come true without an
    operator, because the dependency has failed, was stopped, or itself waits for such a one.
    """

    container: str
    condition: Condition
    instance: InstanceId
    present: str
    dead: bool

    @property
    def goal(self) -> str:
        """The condition as something that becomes true: ``is healthy``."""
        return f"is {self.condition}"

    def __str__(self) -> str:
        """Return ``waiting for `db` to be healthy (db is starting)``."""
        verdict = ", which needs an operator" if self.dead else ""
        return f"waiting for `{self.container}` to be {self.condition} ({self.present}){verdict}"


@final
class Order:
    """The graph of one fleet. Built once; raises SupervisionBug where the fleet was not checked."""

    def __init__(self, fleet: Fleet) -> None:
        """Sort the containers, dependencies first."""
        graph = {name: tuple(c.depends_on) for name, c in fleet.containers.items()}
        try:
            self.containers = tuple(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as error:
            message = f"the dependencies of fleet `{fleet.name}` are a circle: {error.args[1]}"
            raise SupervisionBug(message) from error
        if unknown := set(self.containers) - set(graph):
            message = f"fleet `{fleet.name}` depends on unknown containers: {sorted(unknown)}"
            raise SupervisionBug(message)
        dependents: dict[str, list[str]] = {name: [] for name in graph}
        for name, needs in graph.items():
            for need in needs:
                dependents[need].append(name)
        self.dependents: Mapping[str, tuple[str, ...]] = {
            name: tuple(others) for name, others in dependents.items()
        }
        self._graph = graph
        self._beneath: dict[str, tuple[str, ...]] = {}

    def beneath(self, name: str) -> tuple[str, ...]:
        """Return everything that a container depends on, at any distance."""
        if name not in self._beneath:
            found: dict[str, None] = {}
            left = [*self._graph[name]]
            while left:
                need = left.pop()
                if need not in found:
                    found[need] = None
                    left += self._graph[need]
            self._beneath[name] = tuple(found)
        return self._beneath[name]


def holds(condition: Condition, state: State, health: HealthState) -> bool:
    """Whether an instance in this state satisfies the condition.

    Without a health check, which a checked file cannot ask of one but an update that was rolled
    back can leave behind, started is as good as healthy.
    """
    match condition:
        case Condition.STARTED:
            return state in {State.RUNNING, State.COMPLETED}
        case Condition.HEALTHY:
            return state is State.RUNNING and health in {HealthState.HEALTHY, HealthState.NONE}
        case Condition.COMPLETED:
            return state is State.COMPLETED


def present(name: str, state: State, health: HealthState) -> str:
    """Return the state of a dependency in words: ``db is running, not yet healthy``."""
    match state, health:
        case State.RUNNING, HealthState.NONE:
            return f"{name} is running without a health check"
        case State.RUNNING, HealthState.STARTING:
            return f"{name} is running, not yet healthy"
        case State.RUNNING, _:
            return f"{name} is running, {health}"
        case State.FAILED, _:
            return f"{name} has failed"
        case State.BACKOFF, _:
            return f"{name} is between attempts"
        case _:
            return f"{name} is {state}"
