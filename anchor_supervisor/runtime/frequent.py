"""What every end and every start makes values of, made fast once there is time for that.

A class gets the `__init__` that attrs compiles with its two hundredth value (`values.py`); a
container that crashes now and then would never come so far, and is to be back at once.
"""

from __future__ import annotations

from typing import Final

import attrs

from anchor_supervisor.kernel.pidfd import Ending
from anchor_supervisor.kernel.spawn import Child
from anchor_supervisor.rootfs.users import Credentials
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.supervision.commands import Report, Spawn
from anchor_supervisor.supervision.events import Exited, Spawned
from anchor_supervisor.supervision.states import ExitStatus, Transition

FREQUENT: Final = (
    *(Child, Credentials, Ending, Exited, ExitStatus, HostRun, Report, Spawn, Spawned, Transition),
)


def make_ready() -> None:
    """Have attrs complete them; it takes half a millisecond for each."""
    for one in FREQUENT:
        attrs.fields(one)
