"""The patterns of `${x#pattern}` and its kin: `*` is any text, `?` one letter, `\\` makes literal.

Pure. Matched state by state, all at once: no pattern makes it slow, as backtracking would.
"""

from __future__ import annotations

from typing import Final

from anchor_supervisor.fleet.wording import Mistake, show

Pattern = tuple[str, ...]
"""Letters, and the two below. (Letters are one long, so they cannot be mistaken.)"""

ANY_TEXT: Final = "any text"
ANY_LETTER: Final = "any letter"
LARGEST: Final = 4 << 20  # characters; no variable that a process gets is longer than 128 KiB


def pattern(text: str) -> Pattern:
    """Read a pattern. Raises Mistake for an escape of what needs none, as docker does."""
    parts: list[str] = []
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            escaped = next(letters, "")
            if not escaped or escaped not in "*?\\/}":
                message = f"{show(letter + escaped)} in the pattern {show(text)} has no meaning"
                raise Mistake(message, hint="`\\*`, `\\?`, `\\/`, `\\}` and `\\\\` have")
            parts.append(escaped)
        elif letter == "*":
            parts += [] if parts[-1:] == [ANY_TEXT] else [ANY_TEXT]
        else:
            parts.append(ANY_LETTER if letter == "?" else letter)
    return tuple(parts)


def without_prefix(value: str, wanted: Pattern, *, longest: bool) -> str:
    """Return the value without the shortest (or longest) beginning that matches."""
    end = _end(value, 0, wanted, longest=longest)
    return value if end is None else value[end:]


def without_suffix(value: str, wanted: Pattern, *, longest: bool) -> str:
    """Return the value without the shortest (or longest) end that matches."""
    return without_prefix(value[::-1], wanted[::-1], longest=longest)[::-1]


def replaced(value: str, wanted: Pattern, replacement: str, *, everywhere: bool) -> str:
    """Replace the first match, or all: each time the leftmost, and there the longest.

    Raises Mistake where the result would be too long to be meant.
    """
    if not wanted:
        return value
    length = len(value)
    parts: list[str] = []
    position = 0
    while position < len(value):
        end = _end(value, position, wanted, longest=True)
        if end is None or end == position:
            # What begins with `*` matches nowhere if not here.
            if wanted[0] == ANY_TEXT:
                break
            parts.append(value[position])
            position += 1
            continue
        parts.append(replacement)
        length += len(replacement) - (end - position)
        if length > LARGEST:
            message = f"{show(value)} becomes longer than {LARGEST >> 20} MiB"
            raise Mistake(message)
        position = end
        if not everywhere:
            break
    return "".join(parts) + value[position:]


def _end(value: str, start: int, wanted: Pattern, *, longest: bool) -> int | None:
    """Return where a match that begins at `start` ends; None where there is none."""
    states = _resting({0}, wanted)
    found = start if len(wanted) in states else None
    for position in range(start, len(value)):
        if not states or (found is not None and not longest):
            break
        states = _resting(_after(value[position], states, wanted), wanted)
        if len(wanted) in states:
            found = position + 1
    return found


def _resting(states: set[int], wanted: Pattern) -> set[int]:
    """Add where one can be without reading a letter: behind an `any text`."""
    stars = {state + 1 for state in states if wanted[state : state + 1] == (ANY_TEXT,)}
    return states | stars


def _after(letter: str, states: set[int], wanted: Pattern) -> set[int]:
    following: set[int] = set()
    for state in states:
        part = wanted[state] if state < len(wanted) else ""
        if part == ANY_TEXT:
            following.add(state)
        elif part in (ANY_LETTER, letter):
            following.add(state + 1)
    return following
