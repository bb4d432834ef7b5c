"""How a build looks: a line for each step, what its commands say beneath, all on standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO, final

from anchor_supervisor.cli.progress import bars
from anchor_supervisor.cli.render import Paint, duration, one_line
from anchor_supervisor.observability.terminal import Prefixer, wants_color

if TYPE_CHECKING:
    from anchor_supervisor.build.options import Reporter
    from anchor_supervisor.images.progress import Progress

LONGEST: Final = 100  # characters of a step's line


@contextmanager
def output(*, quiet: bool = False) -> Iterator[Reporter]:
    """Give what shows a build for as long as the block lasts; `quiet`: shows nothing."""
    if quiet:
        from anchor_supervisor.build.options import Quiet

        yield Quiet()
        return
    with bars() as progress:
        steps = Steps(progress)
        try:
            yield steps
        finally:
            steps.close()


@final
class Steps:
    """A Reporter. A step's time stands behind its line, or below what its command has said."""

    def __init__(self, progress: Progress, stream: TextIO | None = None) -> None:
        """Show on `stream`, or standard error."""
        self._progress = progress
        self._stream = sys.stderr if stream is None else stream
        self._color = wants_color(self._stream)
        self._paint = Paint(color=self._color)
        self._is_terminal = self._stream.isatty()
        self._lock = threading.Lock()
        self._name = ""
        self._words = ""
        self._pending = False
        self._prefixer = Prefixer({}, color=self._color)

    @property
    def progress(self) -> Progress:
        """Where pulling shows how far it is."""
        return self._progress

    def begin(self, number: int, count: int, words: str) -> None:
        """Show it at once on a terminal; elsewhere with its end, in one line."""
        with self._lock:
            self._name = f"[{number}/{count}]"
            text = one_line(words)
            self._words = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
            self._prefixer = Prefixer({self._name: self._name}, color=self._color)
            self._pending = True
            if self._is_terminal:
                self._write(self._line())

    def output(self, data: bytes) -> None:
        """Show whole lines, made harmless."""
        with self._lock:
            self._show(self._prefixer.feed(self._name, "output", data))

    def end(self, seconds: float | None) -> None:
        """Say how it came about."""
        words = self._paint("cached", "36") if seconds is None else duration(seconds)
        with self._lock:
            self._show(self._prefixer.finish(self._name))
            if self._pending:
                line = "" if self._is_terminal else self._line()
                self._write(f"{line}  {words}\n")
            else:
                self._write(f"{self._paint.bold(self._name)} done  {words}\n")
            self._pending = False

    def note(self, sentence: str) -> None:
        """Show it on a line of its own."""
        with self._lock:
            self._go_on()
            self._write(f"{self._paint('note:', '33')} {one_line(sentence)}\n")

    def close(self) -> None:
        """End the line that a failed step leaves open, after what it still said."""
        with self._lock:
            self._show(self._prefixer.finish(self._name))
            self._go_on()

    def _line(self) -> str:
        return f"{self._paint.bold(self._name)} {self._words}"

    def _show(self, lines: bytes) -> None:
        if lines:
            self._go_on()
            self._write(lines.decode("utf-8", "replace"))

    def _go_on(self) -> None:
        """End the step's own line before something else is shown."""
        if self._pending:
            self._write("\n" if self._is_terminal else f"{self._line()}\n")
            self._pending = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
