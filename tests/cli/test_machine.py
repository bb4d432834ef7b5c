"""What the doctor finds where something is missing."""

from __future__ import annotations

import errno

import pytest

from anchor_supervisor.cli import machine
from anchor_supervisor.kernel import spawn
from anchor_supervisor.kernel.cgroup import Cgroup


@pytest.mark.parametrize(
    ("controllers", "stalls", "verdict", "words", "remedy"),
    [
        ({"memory", "cpu"}, True, "ok", "are told with their figures", None),
        ({"cpu"}, True, "warn", "`oom`), `memory-high`, `pressure`", "cgroup_no_v1=memory,cpu"),
        ({"memory"}, True, "warn", "cannot be told: `throttled`", "cgroup_no_v1=memory,cpu"),
        ({"memory", "cpu"}, False, "warn", "told: `pressure`, `throttled`", "psi=1"),
        (set(), False, "warn", "`oom`), `memory-high`, `pressure`, `throttled`", "psi=1"),
    ],
)
def test_what_events_cannot_tell(
    monkeypatch: pytest.MonkeyPatch,
    controllers: set[str],
    stalls: bool,
    verdict: str,
    words: str,
    remedy: str | None,
) -> None:
    """Without the memory controller, or pressure stall information: which events there will be."""
    monkeypatch.setattr(Cgroup, "controllers", lambda _: frozenset(controllers))
    monkeypatch.setattr(machine, "_keeps_stalls", lambda: stalls)
    [found] = [one for one in machine.findings() if one.name == "pressure"]
    assert found.verdict == verdict
    assert words in found.found
    assert remedy is None if found.remedy is None else (remedy or "") in found.remedy


@pytest.mark.root
def test_a_process_can_be_started() -> None:
    """Everything up to execve is tried, and nothing is executed."""
    [found] = [one for one in machine.findings() if one.name == "processes"]
    assert (found.verdict, found.remedy) == ("ok", None)


def test_what_keeps_processes_from_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter on system calls, most often: another container's."""

    def refused(_steps: object) -> None:
        raise spawn.SpawnError(errno.EPERM, None, None)

    monkeypatch.setattr(spawn, "spawn", refused)
    [found] = [one for one in machine.findings() if one.name == "processes"]
    assert (found.verdict, found.found) == ("fail", "clone a child: Operation not permitted")
    assert "pidfd_getfd" in (found.remedy or "")
