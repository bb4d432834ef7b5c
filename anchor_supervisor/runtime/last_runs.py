"""When each scheduled job last began, kept on disk: what was missed meanwhile can be made up for.

`<data>/schedules/<fleet>.json`, container to wall seconds; it outlives `down`, and goes with the
fleet's volumes. Written aside, then renamed. A file that makes no sense counts as none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, final

import trio

from anchor_supervisor.observability import places
from anchor_supervisor.observability.log import log
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.values import define, field

LATEST: Final = 253_370_764_800.0  # wall seconds; the calendar ends with the year 9999
LARGEST: Final = 1 << 20  # bytes; a thousand jobs take about 50 KiB


def forget(fleet: str) -> None:
    """Remove the file of a fleet, and what a writer that was killed has left of the next one."""
    for path in (place(fleet), _aside(place(fleet))):
        path.unlink(missing_ok=True)


def place(fleet: str) -> Path:
    """Where the file of a fleet is."""
    return places.data_dir() / "schedules" / f"{fleet}.json"


@final
@define(eq=False)
class LastRuns:
    """The last runs of the fleet whose file is `path`."""

    path: Path
    _runs: dict[str, float] = field(factory=dict, init=False)
    _noted: trio.Event = field(factory=trio.Event, init=False)

    def read(self) -> Mapping[str, float]:
        """Read what there is; whatever is wrong with it is told and passed over."""
        try:
            with self.path.open("rb") as file:
                self._runs = _checked(json.loads(file.read(LARGEST)))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError) as error:
            log.warning(
                "nothing is known of earlier scheduled runs", file=str(self.path), why=str(error)
            )
        return dict(self._runs)

    def note(self, container: str, began: float) -> None:
        """Take in that a job began at this wall second; it is written down soon."""
        self._runs[container] = began
        self._noted.set()

    async def keep(self) -> None:
        """Write down what is noted, for ever."""
        while True:
            await self._noted.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write down what has been noted since the last time."""
        if self._noted.is_set():
            self._noted = trio.Event()
            await trio.to_thread.run_sync(self._write, json.dumps(self._runs))

    def _write(self, text: str) -> None:
        aside = _aside(self.path)
        try:
            make_private(self.path.parent)
            aside.write_text(text, encoding="ascii")
            aside.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            log.warning("a scheduled run could not be noted", file=str(self.path), why=str(error))


def _aside(path: Path) -> Path:
    return path.with_suffix(".new")


def _checked(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        message = "not an object"
        raise ValueError(message)  # noqa: TRY004 - of the file's text, not of an argument
    for name, began in value.items():
        if (
            isinstance(began, bool)
            or not isinstance(began, int | float)
            or not 0 <= began < LATEST  # nor is a NaN
        ):
            message = f"`{name}` has no time"
            raise ValueError(message)
    return {name: float(began) for name, began in value.items()}
