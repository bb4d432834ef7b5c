r"""The merged output of containers for a person's terminal: bytes in, bytes out, nothing else.

A container's output is not to be trusted with a terminal. Colours (SGR sequences) pass where
colour is on; every other escape sequence is removed, and a control character that is left is
shown as `^X`. Text that is not UTF-8 is shown with U+FFFD.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from anchor_supervisor.hints import TYPE_CHECKING, final
from anchor_supervisor.patterns import pattern

if TYPE_CHECKING:
    from typing import Final, TextIO

MAX_HELD: Final = 16 * 1024
RESET: Final = b"\x1b[0m"
_COLOURS: Final = tuple(
    b"\x1b[%dm" % number for number in (36, 33, 32, 35, 34, 96, 93, 92, 95, 94, 31, 91)
)

_HARMLESS = pattern(rb"[\t\x20-\x7e]*")
_SGR = r"\x1b\[[0-9;:]*m"
_SEQUENCES = pattern(
    rf"(?P<sgr>{_SGR})"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: cursor, erase, modes (ECMA-48, 5.4)
    r"|(?:\x1b[P\]X^_]|[\x90\x9d\x98\x9e\x9f])"  # DCS, OSC, SOS, PM, APC, to their end
    r"[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]+[0-~]"  # character sets and the like
    r"|\x1b[0-Z\\^-~]"  # ESC and one character
)
# C0 but tab, DEL, C1, and the characters that turn the direction of writing (Trojan Source).
_CONTROLS = pattern(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def wants_color(stream: TextIO) -> bool:
    """Say whether colour belongs on this stream: a terminal, and nobody said no (no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def neutral(line: bytes, *, color: bool = False) -> bytes:
    """Make one line harmless to a terminal; keep its colours where `color`."""
    if _HARMLESS.fullmatch(line):
        return line
    text = line.removesuffix(b"\r").decode("utf-8", "replace")
    if "\x1b" not in text and _CONTROLS.search(text) is None:
        return text.encode()
    pieces: list[str] = []
    at = 0
    for match in _SEQUENCES.finditer(text):
        pieces.append(_CONTROLS.sub(_visible, text[at : match.start()]))
        if color and match["sgr"]:
            pieces.append(match["sgr"])
        at = match.end()
    pieces.append(_CONTROLS.sub(_visible, text[at:]))
    return "".join(pieces).encode()


def neutral_text(text: str) -> str:
    """Make text from elsewhere (a reason, a probe's output) harmless; newlines stay."""
    if text.isascii() and text.isprintable():
        return text
    return "\n".join(neutral(line.encode("utf-8", "replace")).decode() for line in text.split("\n"))


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return "^" + chr(code + 0x40)
    return "^?" if code == 0x7F else f"<U+{code:04X}>"


def display_names(instances: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Map `web.1` to what is shown: `web` where the container has one replica only."""
    pairs = list(instances)
    containers = [container for container, _ in pairs]
    return {
        f"{container}.{replica}": (
            container if containers.count(container) == 1 else f"{container}.{replica}"
        )
        for container, replica in pairs
    }


@final
class Prefixer:
    """Puts `web.1 | ` before every line. `shown` maps an instance's name to what is shown.

    Lines come out whole: what has no newline yet is held until it has, or is 16 KiB long, or
    `finish` is called. Each name keeps its colour; names that come later are welcome.
    """

    def __init__(self, shown: Mapping[str, str], *, color: bool) -> None:
        """Align on the longest of the names known now."""
        self._color = color
        self._colours: dict[str, bytes] = {}
        self._held: dict[tuple[str, str], bytes] = {}
        self.show(shown)

    def show(self, shown: Mapping[str, str]) -> None:
        """Show these names from now on, in the colours that they had."""
        self._shown = dict(shown)
        self._width = max(map(len, self._shown.values()), default=0)
        self._prefixes: dict[str, bytes] = {}
        for name in self._shown:
            self._prefix(name)

    def feed(self, name: str, stream: str, data: bytes) -> bytes:
        """Take a chunk as it was read; give the lines that it completes."""
        key = (name, stream)
        lines, newline, rest = (self._held.pop(key, b"") + data).rpartition(b"\n")
        if len(rest) > MAX_HELD:
            lines, newline, rest = lines + newline + rest, b"\n", b""
        if rest:
            self._held[key] = rest
        if not newline:
            return b""
        return b"".join(self.line(name, line) for line in lines.split(b"\n"))

    def finish(self, name: str) -> bytes:
        """Give what is still held of this instance, as lines."""
        keys = [key for key in self._held if key[0] == name]
        return b"".join(self.line(name, self._held.pop(key)) for key in keys)

    def line(self, name: str, text: bytes) -> bytes:
        """Give one whole line: prefix, harmless text, newline."""
        shown = neutral(text, color=self._color)
        end = RESET + b"\n" if b"\x1b" in shown else b"\n"
        return self._prefix(name) + shown + end

    def _prefix(self, name: str) -> bytes:
        if name not in self._prefixes:
            label = self._shown.get(name, name).ljust(self._width)
            plain = neutral(label.encode()) + b" | "
            next_colour = _COLOURS[len(self._colours) % len(_COLOURS)]
            colour = self._colours.setdefault(name, next_colour)
            self._prefixes[name] = colour + plain + RESET if self._color else plain
        return self._prefixes[name]
