"""How far work on images is, on standard error: bars on a terminal, else a line for each end.

What is under way is drawn again ten times a second by a thread of its own, so that whoever works
never waits for a terminal, and a transfer that stands still is seen to. The cursor rests at the
beginning of the line below, whenever and however the process ends. Texts come from registries and
archives and are made harmless. Standard library only.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO, final

from anchor_supervisor.cli.render import Paint, duration, one_line, size
from anchor_supervisor.observability.terminal import wants_color

if TYPE_CHECKING:
    from anchor_supervisor.images.progress import Progress

INTERVAL: Final = 0.1  # seconds between two drawings
_WINDOW: Final = 3.0  # seconds that a speed is taken over
_SHORTEST_BAR: Final = 8  # columns; for less there is none
_LONGEST_BAR: Final = 30
_LONGEST_TEXT: Final = 40  # columns of a name or a verb
_GREEN: Final = "32"


@contextmanager
def bars(*, quiet: bool = False) -> Iterator[Progress]:
    """Give a progress for as long as the block lasts; `quiet`: one that shows nothing."""
    if quiet:
        from anchor_supervisor.images.progress import Silent

        yield Silent()
        return
    with Bars() as progress:
        yield progress


@final
class _Item:
    """One thing under way. `marks` are (time, bytes) of the drawings of the last seconds."""

    def __init__(self, verb: str, total: int | None, now: float) -> None:
        self.begun = now
        self.most = 0
        self.marks: deque[tuple[float, int]] = deque()
        self.go_on(verb, total)

    def go_on(self, verb: str, total: int | None) -> None:
        """Begin another verb, or the same once more."""
        self.verb, self.total, self.done = one_line(verb), total, 0
        self.most = max(self.most, total or 0)
        self.marks.clear()

    def speed(self, now: float) -> float | None:
        """Bytes a second, as the drawings have seen them; asking is taking a mark."""
        self.marks.append((now, self.done))
        while len(self.marks) > 2 and self.marks[1][0] < now - _WINDOW:
            self.marks.popleft()
        then, done = self.marks[0]
        return (self.done - done) / (now - then) if now - then >= INTERVAL else None


@final
class Bars:
    """A Progress that is a context. Everything may be called from any thread."""

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Show on `stream`, or standard error; `clock` gives seconds."""
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._paint = Paint(color=wants_color(self._stream))
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._items: dict[str, _Item] = {}
        self._lines: list[str] = []
        self._widths: list[int] = []

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live:
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the lines of what has ended, and nothing of what has not."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._items.clear()
            if self._live:
                self._draw()

    def begin(self, item: str, verb: str, total: int | None = None) -> None:
        """Work on `item` begins, or goes on with another verb."""
        with self._lock:
            known = self._items.get(item)
            if known is None:
                self._items[item] = _Item(verb, total, self._clock())
            else:
                known.go_on(verb, total)

    def advance(self, item: str, count: int) -> None:
        """So many further bytes of it are done."""
        with self._lock:
            if (known := self._items.get(item)) is not None:
                known.done += count
                known.most = max(known.most, known.done)

    def end(self, item: str, words: str) -> None:
        """It is done: a line for good."""
        with self._lock:
            known = self._items.pop(item, None)
            facts = ""
            if known is not None and known.most:
                facts = f" ({size(known.most)} in {duration(self._clock() - known.begun)})"
            self._say(f"{one_line(item)}: {one_line(words)}{facts}")

    def note(self, sentence: str) -> None:
        """Something worth a line of its own."""
        with self._lock:
            self._say(one_line(sentence))

    def draw(self) -> None:
        """Draw what is under way now, below what has ended since the last time."""
        with self._lock:
            self._draw()

    def _say(self, line: str) -> None:
        if self._live:
            self._lines.append(line)
        else:
            self._write(line + "\n")

    def _run(self) -> None:
        while not self._over.wait(INTERVAL):
            self.draw()

    def _draw(self) -> None:
        columns, rows = self._size()
        # The terminal may have become narrower, and have folded what was drawn.
        up = sum(-(-max(width, 1) // columns) for width in self._widths)
        text = f"\x1b[{up}F\x1b[J" if up else ""
        text += "".join(f"{line}\n" for line in self._lines)
        self._lines.clear()
        plain, painted = self._picture(columns, rows)
        self._widths = [cells(line) for line in plain]
        text += "".join(f"{line}\n" for line in painted)
        if text:
            self._write(text)

    def _picture(self, columns: int, rows: int) -> tuple[list[str], list[str]]:
        """Give the lines of what is under way, without and with their colours."""
        now, most = self._clock(), max(1, rows - 2)
        shown = list(self._items.items())
        names = [one_line(name) for name, _ in shown]
        wide = min(max(map(cells, names), default=0), _LONGEST_TEXT)
        verb = min(max((cells(item.verb) for _, item in shown), default=0), _LONGEST_TEXT)
        plain, painted = [], []
        for name, (_, item) in zip(names[:most], shown, strict=False):
            head = f"{_padded(cut(name, wide), wide)}  {_padded(cut(item.verb, verb), verb)}"
            before, bar, after = _parts(head, item, now, columns - 1)
            plain.append(before + bar + after)
            painted.append(before + self._paint(bar, _GREEN) + after)
        if len(shown) > most:
            plain[-1] = painted[-1] = cut(f"... and {len(shown) - most + 1} more", columns - 1)
        return plain, painted

    def _size(self) -> tuple[int, int]:
        with suppress(OSError, ValueError):
            columns, rows = os.get_terminal_size(self._stream.fileno())
            if columns > 0 and rows > 0:
                return columns, rows
        return 80, 24

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody looks any more; the work goes on
            self._stream.write(text)
            self._stream.flush()


def _parts(before: str, item: _Item, now: float, columns: int) -> tuple[str, str, str]:
    """Give a line as text, bar and text, in at most `columns` columns."""
    amount = size(item.done) if item.done or item.total else ""
    if item.total:
        amount = f"{size(min(item.done, item.total))}/{size(item.total)}"
    speed = item.speed(now)
    after = f"  {amount}" if amount else ""
    rate = f"  {size(int(speed))}/s" if speed is not None and amount else ""
    if cells(before + after + rate) <= columns:
        after += rate
    left = columns - cells(before) - cells(after) - 4
    if not item.total or left < _SHORTEST_BAR:
        return cut(f"{before}{after}".rstrip(), columns), "", ""
    length = min(left, _LONGEST_BAR)
    full = length * min(item.done, item.total) // item.total
    return f"{before}  [", "#" * full + "." * (length - full), f"]{after}"


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - cells(text))


def cells(text: str) -> int:
    """Count the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(map(_cell, text))


def _cell(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Me", "Mn"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """Cut a text to at most so many columns; an ellipsis says that it was."""
    if cells(text) <= columns:
        return text
    kept, room = "", columns - 1
    for character in text:
        room -= _cell(character)
        if room < 0:
            break
        kept += character
    return f"{kept}…" if columns > 0 else ""
