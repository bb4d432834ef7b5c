"""What is said by whoever wants a fleet run, and what they are told in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, final

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import InstanceId, LimitsMode
from anchor_supervisor.observability.log import LogFormat
from anchor_supervisor.supervision.states import ExitStatus, State
from anchor_supervisor.values import field, frozen

if TYPE_CHECKING:
    from anchor_supervisor.rootfs.layers import Layers
    from anchor_supervisor.runtime.bringup import Stdio
    from anchor_supervisor.supervision.status import Status


@final
@frozen
class Written:
    """What one container has written: an overlay's upper directory, before it is removed.

    `upper` is owned by the container's ids, which begin at `first_id` on this machine; it is
    hostile. `exit` is how the container's last run ended; None where it never ran.
    """

    instance: InstanceId
    upper: Path
    first_id: int
    exit: ExitStatus | None


@final
@frozen
class Options:
    """How a supervisor shows itself. `color` and `log_format` None: as the terminal says.

    `quiet`: only warnings. `output`: show what containers print. `stdio`: give the containers
    these descriptors instead of logging what they print, and pass our signals on to them (for one
    container, in the foreground); `stops_at_once`: but SIGINT and SIGTERM stop it. `forget_logs`:
    remove the log directory at the end. `check_programs`: refuse the fleet where an image lacks a
    container's program. `layers`: these directories are the containers' images, whatever the fleet
    says. `written` is shown what the containers have written once the fleet is done, from a worker
    thread. `limits` was asked for beside the file, and wins over it whenever that is read again.
    """

    quiet: bool = False
    output: bool = True
    log_format: LogFormat | None = None
    color: bool | None = None
    stdio: Stdio | None = None
    stops_at_once: bool = False
    forget_logs: bool = False
    check_programs: bool = True
    layers: Mapping[str, Layers] | None = None
    written: Callable[[Written], None] | None = None
    limits: LimitsMode | None = None


@final
@frozen
class Outcome:
    """How the fleet ended: the supervisor's exit code, and the words for it."""

    exit_code: int
    reason: str


@final
@frozen
class Ending:
    """How a fleet's life ended: the verdict, and each instance's last state and failed start.

    `over_at_once` is how the only run ended, where it had ended before there was anything to know
    states by. `interrupted_by` is the number of the signal that ended it before anything had run,
    `asked` of the first SIGINT or SIGTERM at all, whoever took it.
    """

    outcome: Outcome
    statuses: tuple[Status, ...] = ()
    failures: Mapping[InstanceId, AnchorError] = field(factory=dict)
    over_at_once: ExitStatus | None = None
    interrupted_by: int | None = None
    asked: int | None = None

    @property
    def exit(self) -> ExitStatus | None:
        """How the last run of a fleet of one instance ended; None where it never ran."""
        return self.over_at_once or (self.statuses[0].exit if self.statuses else None)

    @property
    def gave_up(self) -> bool:
        """Whether the first instance is one that has failed for good."""
        return bool(self.statuses) and self.statuses[0].state is State.FAILED
