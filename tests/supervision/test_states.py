"""The values that state is told with."""

from __future__ import annotations

import pytest

from anchor_supervisor.supervision.states import ExitStatus


@pytest.mark.parametrize(
    ("status", "text", "success"),
    [
        (ExitStatus(code=0), "exited (0)", True),
        (ExitStatus(code=1), "exited (1)", False),
        (ExitStatus(signal=9), "killed by SIGKILL", False),
        (ExitStatus(signal=40), "killed by signal 40", False),
        (ExitStatus(), "ended (nobody saw how)", False),
        (
            ExitStatus(signal=9, oom="oom (limit 64M, peak 64M)"),
            "killed by SIGKILL, oom (limit 64M, peak 64M)",
            False,
        ),
    ],
)
def test_exit_status(status: ExitStatus, text: str, success: bool) -> None:
    """Every way to end has its words, and only code 0 is success."""
    assert str(status) == text
    assert status.success is success
