"""SIGHUP: the fleet's files are read once more, and what has changed in them is done.

As `Type=notify-reload` of systemd.service(5) has it: RELOADING=1 with the time, then READY=1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import final

import trio

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.observability.log import log
from anchor_supervisor.runtime.changing import Changes
from anchor_supervisor.runtime.reload import OVER, source_of
from anchor_supervisor.runtime.telling import Teller
from anchor_supervisor.values import define, field


@final
@define(eq=False)
class Rereader:
    """Reads the files with the supervisor's own `environment`, once for all signals that came."""

    changes: Changes
    teller: Teller
    environment: Mapping[str, str]
    _asked: trio.Event = field(factory=trio.Event, init=False)

    def ask(self) -> None:
        """Read the files soon; whoever waits for an earlier change looks up."""
        self._asked.set()
        self.changes.supervisor.wake()

    async def run(self) -> None:
        """Do so whenever asked, for ever."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            if self.changes.supervisor.core.phase not in OVER:
                await self._reread()

    async def _reread(self) -> None:
        log.info("reading the fleet's files once more")
        now = time.monotonic_ns() // 1000
        self.teller.notifier.send("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=reloading")
        status = "reloaded"
        try:
            await self._change()
        except AnchorError as error:
            self.teller.refuse(error)
            status = "the files are wrong: nothing has changed"
        except Exception:
            log.exception("bug")
            status = "nothing has changed: internal error, see the log"
        if self.teller.said_ready and self.changes.supervisor.core.phase not in OVER:
            self.teller.notifier.send("READY=1", f"STATUS={status}")

    async def _change(self) -> None:
        """Begin the change, and wait until it is through or another is asked for."""
        reloader = self.changes.reloader
        source = source_of(reloader.present, self.environment)
        change = await self.changes.begin(lambda: reloader.prepare(source))
        if not change.plan["containers"] and not change.plan["keys"]:
            log.info("nothing has changed")
        while not (self.changes.is_over(change) or self._asked.is_set()):
            await self.changes.supervisor.changed()
