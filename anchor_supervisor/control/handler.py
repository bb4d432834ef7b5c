"""What a control server asks of the fleet it speaks for: the runtime implements `Handler`.

Every answer is a plain value that `json` can write. A method raises `NotFound` for a name it does
not know, `Refused` for what the present state forbids, any other AnchorError as itself; the
operator sees its message and hint. Anything else is our bug: it is logged and answered as one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol, final

from anchor_supervisor.control.shapes import (
    ApplyLine,
    ContainerRow,
    DownResult,
    ExecContext,
    FleetInfo,
    Held,
    JournalEntry,
    LogLine,
    Plan,
    RootContext,
    Why,
)
from anchor_supervisor.values import field, frozen


@final
@frozen
class ActOptions:
    """`signal` (without SIG; for kill only, None means KILL). `wait`: answer when it is done."""

    signal: str | None = None
    wait: bool = False


@final
@frozen
class LogQuery:
    """Which lines: of `names` (none: all), the last `tail`, not before `since`, and then on.

    `since` is a time as `observability.log_store.format_time` writes it. `previous` means the run
    before the present one. `follow` goes on with new lines until the reader hangs up.
    """

    names: tuple[str, ...] = ()
    tail: int | None = None
    since: str | None = None
    follow: bool = False
    previous: bool = False


@final
@frozen
class EventQuery:
    """Which entries of the journal: about `names` (none: all), not before `since`, the last `tail`.

    `since` is a time as `observability.log_store.format_time` writes it. `follow` goes on with new
    entries until the reader hangs up.
    """

    names: tuple[str, ...] = ()
    tail: int | None = None
    since: str | None = None
    follow: bool = False


@final
@frozen
class Wanted:
    """A fleet as an operator wants it: its files (absolute paths), merged, with these profiles.

    `environment` is the operator's, for what the files take from it; it may hold secrets.
    """

    files: tuple[str, ...]
    profiles: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(factory=dict, repr=False)


class Handler(Protocol):
    """A running fleet, as its operators see it. Called from several tasks of one trio loop.

    A call is cancelled when its operator hangs up; what `act` and `down` have begun goes on.
    """

    async def fleet(self) -> FleetInfo:
        """Say what runs here."""
        ...

    async def containers(self) -> list[ContainerRow]:
        """Give a row for each instance, in the file's order."""
        ...

    async def inspect(self, name: str) -> Mapping[str, object]:
        """Give everything known about one instance or container."""
        ...

    async def why(self, name: str) -> list[Why]:
        """Tell the story of each instance that `name` means."""
        ...

    async def act(self, name: str, verb: str, options: ActOptions) -> list[ContainerRow]:
        """Do one of `protocol.ACTIONS`; return the rows of the instances meant."""
        ...

    async def down(self, *, volumes: bool) -> DownResult:
        """Stop everything in order; return once nothing runs.

        The supervisor may end at once after this has returned: the server still sends the answer.
        """
        ...

    async def exec_context(self, name: str) -> ExecContext:
        """Say what a new process of this running instance must be like."""
        ...

    async def root_context(self, name: str) -> RootContext:
        """Say where the root of this instance is, running or not."""
        ...

    async def plan(self, wanted: Wanted) -> Plan:
        """Say what an apply of this would do."""
        ...

    def apply(self, wanted: Wanted) -> AsyncGenerator[ApplyLine, None]:
        """Make the fleet what is wanted, and tell how it goes, to the end.

        Whatever is wrong is raised before the first line, and then nothing has changed. From the
        first line on it goes its way, whether anybody listens or not.
        """
        ...

    def scale(self, replicas: Mapping[str, int]) -> AsyncGenerator[ApplyLine, None]:
        """Change how many replicas containers have; otherwise as `apply`."""
        ...

    def follow_events(self, query: EventQuery) -> AsyncGenerator[JournalEntry, None]:
        """Yield entries of the journal. Closed by the server, as those of `follow_logs`."""
        ...

    def hold(self, name: str) -> AsyncGenerator[Held, None]:
        """Stop every process of the instance, say so once, and let them go on when closed."""
        ...

    def follow_logs(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Yield log records. Closed by the server; it must not keep a nursery open over a yield."""
        ...
