"""What the `log` probes of one run wait for: a line of its output that matches.

The pattern is the operator's, the lines are whoever's: no line is looked at beyond 16 KiB, nor for
longer than 20 ms, nor many that take long. After that a pattern is given up for the run, so that
the loop, where the lines are looked at as they come, is held up once and not line after line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import trio

from anchor_supervisor.fleet.model import Container, LogProbe
from anchor_supervisor.fleet.wording import printable
from anchor_supervisor.observability.log_reader import read_records
from anchor_supervisor.observability.log_store import read_runs
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from anchor_supervisor.values import define, field

if TYPE_CHECKING:
    import regex

MAX_LINE: Final = 16 * 1024  # bytes of a line that are looked at
LONGEST: Final = 0.020  # seconds for one line
SLOW: Final = 0.002  # seconds from which on a line counts as slow; a usual one takes 2 µs
SLOW_IN_ALL: Final = 0.200  # seconds for all slow lines of a run


@final
@define(eq=False)
class Search:
    """One pattern's search in one run. `settled` once it has succeeded or was given up."""

    pattern: str
    settled: trio.Event = field(factory=trio.Event, init=False)
    found: str | None = field(default=None, init=False)
    given_up: str | None = field(default=None, init=False)
    _compiled: regex.Pattern[str] | None = field(default=None, init=False)
    _slow: float = field(default=0.0, init=False)

    def look(self, line: bytes) -> bool:
        """Look at one line, without its newline; return whether the search is over.

        May be called from any thread, but only from one at a time; who calls it settles.
        """
        text = line[:MAX_LINE].removesuffix(b"\r").decode(errors="replace")
        begun = time.thread_time()  # of this thread alone: being kept waiting is nobody's fault
        try:
            match = self.compile().search(text, timeout=LONGEST)
        except TimeoutError:
            self.given_up = f"`{self.pattern}` was given up: a line took longer than 20ms"
            return True
        taken = time.thread_time() - begun
        if match is not None:
            self.found = printable(text)
            return True
        if taken > SLOW:
            self._slow += taken
            if self._slow > SLOW_IN_ALL:
                self.given_up = f"`{self.pattern}` was given up: its lines took longer than 200ms"
                return True
        return False

    def compile(self) -> regex.Pattern[str]:
        """Have the pattern ready: the first time takes 20 ms, since few fleets import `regex`."""
        if self._compiled is None:
            import regex

            self._compiled = regex.compile(self.pattern)
        return self._compiled


@final
class LineWatch:
    """Looks at what one run says, as it is said. Belongs to the loop's thread once it runs."""

    def __init__(self, container: Container) -> None:
        """Wait for what the container's probes ask for. In a worker thread: patterns compile."""
        tables = (container.startup, container.health)
        probes = [table.probe for table in tables if table is not None]
        patterns = dict.fromkeys(probe.pattern for probe in probes if isinstance(probe, LogProbe))
        self._searches = {pattern: Search(pattern) for pattern in patterns}
        for search in self._searches.values():
            search.compile()
        self._open = list(self._searches.values())
        self._begun = {"stdout": b"", "stderr": b""}

    @property
    def waits(self) -> bool:
        """Whether there is anything left to look for."""
        return bool(self._open)

    def feed(self, stream: str, data: bytes) -> None:
        """Take a chunk of output, broken anywhere; a line is looked at once it is complete."""
        if not self._open:
            return
        *lines, rest = (self._begun[stream] + data).split(b"\n")
        self._begun[stream] = rest[:MAX_LINE]
        for line in lines:
            self._look(line)

    def _look(self, line: bytes) -> None:
        over = [search for search in self._open if search.look(line)]
        for search in over:
            self._open.remove(search)
            search.settled.set()

    async def search(self, pattern: str, log: Path) -> Search:
        """The search for `pattern`; one that is new to this run also looks at what `log` has of it.

        It looks at what is said from now on before that, so that no line is missed in between.
        """
        known = self._searches.get(pattern)
        if known is not None:
            return known
        search, earlier = Search(pattern), Search(pattern)
        self._searches[pattern] = search
        self._open.append(search)
        await trio.to_thread.run_sync(_look_through, earlier, log)
        if not search.settled.is_set() and (earlier.found or earlier.given_up):
            search.found, search.given_up = earlier.found, earlier.given_up
            self._open.remove(search)
            search.settled.set()
        return search


def _look_through(search: Search, log: Path) -> None:
    for line in _lines_of_run(log):
        if search.look(line):
            return


def _lines_of_run(log: Path) -> Iterator[bytes]:
    """What the present run has said, whole lines."""
    begun = {"stdout": b"", "stderr": b""}
    for record in read_records(log, since=(read_runs(log) or [""])[-1]):
        line = (begun[record.stream] + record.text)[:MAX_LINE]
        begun[record.stream] = line if record.partial else b""
        if not record.partial:
            yield line


async def probe_log(watch: LineWatch | None, pattern: str, log: Path, within: float) -> ProbeAnswer:
    """Healthy once the pattern was seen, however long ago; waits for it `within` seconds.

    A search that was given up is waited for all the same: it would be asked again at once. `log`
    is where the output is stored. `watch` None: the run has ended.
    """
    words = f"no line of this run has matched `{pattern}` yet"
    with trio.move_on_after(within):
        if watch is not None:
            search = await watch.search(pattern, log)
            await search.settled.wait()
            if search.found is not None:
                return ProbeAnswer(ok=True, output=f"seen: {search.found}")
            words = search.given_up or words
        await trio.sleep_forever()
    return ProbeAnswer(ok=False, output=words)
