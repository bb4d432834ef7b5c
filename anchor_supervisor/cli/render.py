"""How facts look to a person: durations, sizes, tables, colours. Pure; standard library only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from anchor_supervisor.hints import TYPE_CHECKING, final
from anchor_supervisor.observability.terminal import neutral_text

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Final

RESET: Final = "\x1b[0m"
STATE_COLOURS: Final = {
    "running": "32",
    "completed": "32",
    "starting": "33",
    "waiting": "33",
    "stopping": "33",
    "backoff": "33",
    "paused": "35",
    "stopped": "2",
    "failed": "31",
    "healthy": "32",
    "unhealthy": "31",
}
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@final
class Paint:
    """Colours text, or does not."""

    def __init__(self, *, color: bool) -> None:
        """Decide once."""
        self._color = color

    def __call__(self, text: str, colour: str | None) -> str:
        """Give `text` in the colour of this SGR number, where colour is on."""
        return f"\x1b[{colour}m{text}{RESET}" if self._color and colour and text else text

    def state(self, word: str) -> str:
        """Give a state's or a health's word in its colour."""
        return self(word, STATE_COLOURS.get(word))

    def bold(self, text: str) -> str:
        """Make it stand out."""
        return self(text, "1")

    def dim(self, text: str) -> str:
        """Make it stand back."""
        return self(text, "2")


def duration(seconds: float) -> str:
    """Give the two largest units that matter: `320ms`, `5.2s`, `3m20s`, `2d4h`."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    for (size, unit), (smaller, smaller_unit) in itertools.pairwise(_UNITS):
        if whole >= size:
            count, rest = divmod(whole, size)
            return f"{count}{unit}" + (
                f"{rest // smaller}{smaller_unit}" if rest >= smaller else ""
            )
    return f"{whole}s"


def size(count: int) -> str:
    """Give bytes as the fleet file writes them: `64M`, `1.5G`."""
    for factor, unit in ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if count >= factor:
            return f"{count / factor:.1f}".removesuffix(".0") + unit
    return str(count)


def now() -> datetime:
    """Read the clock on the wall, which only shows durations here and decides nothing."""
    from datetime import UTC, datetime  # for who shows a time

    return datetime.now(UTC)


def _read(text: str) -> datetime:
    from datetime import datetime

    return datetime.fromisoformat(text)


def ago(text: str | None, present: datetime) -> str:
    """Say how long ago an RFC 3339 time was."""
    if text is None:
        return "-"
    return duration((present - _read(text)).total_seconds())


def until(text: str, present: datetime) -> str:
    """Say in how long an RFC 3339 time will be; `now` when it has passed."""
    left = (_read(text) - present).total_seconds()
    return f"in {duration(left)}" if left > 0 else "now"


def clock(text: str, *, digits: int = 3) -> str:
    """Give the local time of day of an RFC 3339 time."""
    local = _read(text).astimezone()
    fraction = f"{local.microsecond:06d}"[:digits]
    return local.strftime("%H:%M:%S") + (f".{fraction}" if digits else "")


def moment(text: str) -> str:
    """Give the local time of an RFC 3339 time, with its day where that is not today."""
    local = _read(text).astimezone()
    day = "" if local.date() == now().astimezone().date() else local.strftime("%Y-%m-%d ")
    return day + clock(text)


def exit_words(code: int | None, number: int | None, oom: str | None) -> str:
    """Say how a run ended: `exited (1)`, `killed by SIGKILL`, `oom (limit 64M, peak 64M)`."""
    if oom:
        return oom
    if number is not None:
        return f"killed by {signal_name(number)}"
    return f"exited ({code})" if code is not None else "ended, nobody saw how"


def signal_name(number: int) -> str:
    """Give `SIGTERM` for 15, and `signal 99` for what has no name."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def one_line(text: str) -> str:
    """Make text from elsewhere fit into one line of ours, and harmless."""
    return " ".join(neutral_text(text).split("\n")).strip()


Cell = str | tuple[str, str]


def table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], paint: Paint, width: int) -> str:
    """Align columns; a cell may be `(text, colour)`. The last column is cut at `width` (0: not)."""
    texts = [[cell if isinstance(cell, str) else cell[0] for cell in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headers, *texts, strict=True)]
    lines = [paint.bold(_joined(headers, widths, width))]
    for row, plain in zip(rows, texts, strict=True):
        line = _joined(plain, widths, width)
        lines.append(_coloured(line, row, plain, widths, paint))
    return "\n".join(lines)


def _joined(texts: Sequence[str], widths: Sequence[int], width: int) -> str:
    line = "  ".join(text.ljust(space) for text, space in zip(texts, widths, strict=True)).rstrip()
    return line[: width - 1] + "…" if width and len(line) > width else line


def _coloured(
    line: str, row: Sequence[Cell], plain: Sequence[str], widths: Sequence[int], paint: Paint
) -> str:
    """Colour the cells of a line whose columns are set already, from the right."""
    start = sum(widths) + 2 * len(widths)
    for cell, text, space in zip(reversed(row), reversed(plain), reversed(widths), strict=True):
        start -= space + 2
        if not isinstance(cell, str) and start < len(line):
            end = min(start + len(text), len(line))
            line = line[:start] + paint(line[start:end], cell[1]) + line[end:]
    return line
