"""Times, as a machine reads them."""

from __future__ import annotations

from anchor_supervisor.runtime.clock import Clock


def test_monotonic_moments_become_wall_times() -> None:
    """RFC 3339 with milliseconds, in UTC; what is not known stays unknown."""
    clock = Clock(monotonic=1000.0, wall=1_767_323_045.25)
    assert clock.rfc3339(1000.0) == "2026-01-02T03:04:05.250Z"
    assert clock.rfc3339(999.0) == "2026-01-02T03:04:04.250Z"
    assert clock.rfc3339(1060.5) == "2026-01-02T03:05:05.750Z"
    assert clock.rfc3339(None) is None
