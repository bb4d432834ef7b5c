"""How a Dockerfile's line falls into words, before anything in it is expanded.

Pure text. Quotes and escapes keep spaces together here and stay where they are: `expand` takes them
away. What docker splits otherwise, is split otherwise here too.
"""

from __future__ import annotations

import json
import re
from typing import Final

from anchor_supervisor.build.instructions import Heredoc
from anchor_supervisor.fleet.wording import Mistake

BLANKS: Final = re.compile(r"[\t\v\f\r ]+")
_HEREDOC: Final = re.compile(r"([0-9]*)<<(-?)\s*([^<]*)")
_MARK: Final = re.compile(r"<<[\t\r ]*")


def quoted_words(text: str, escape: str) -> list[str]:
    """Split at white space outside quotes, and keep quotes and escapes as they are."""
    words: list[str] = []
    start: int | None = None
    quote = ""
    position = 0
    while position < len(text):
        letter = text[position]
        if letter == escape and quote != "'":
            # A lone escape at the very end escapes nothing, and is dropped.
            if position + 1 == len(text):
                break
            start = position if start is None else start
            position += 2
            continue
        if not quote and letter.isspace():
            words += [text[start:position]] if start is not None else []
            start = None
        else:
            start = position if start is None else start
            quote = _quote_after(letter, quote)
        position += 1
    return [*words, text[start:position]] if start is not None else words


def _quote_after(letter: str, quote: str) -> str:
    """Return the quote that is open after a letter, from the one open before it."""
    if quote:
        return "" if letter == quote else quote
    return letter if letter in "'\"" else ""


def take_flags(text: str, escape: str) -> tuple[list[str], str]:
    """Take the leading words that begin with `--`; return them, unquoted, and what is left."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if not text.startswith("--", position):
            return flags, text[position:]
        flag, position = _flag(text, position, escape)
        if flag == "--":
            return flags, text[position:].strip()
        flags.append(flag)


def _flag(text: str, position: int, escape: str) -> tuple[str, int]:
    letters: list[str] = []
    quote = ""
    while position < len(text):
        letter = text[position]
        if letter == escape:
            letters.append(text[position + 1 : position + 2])
            position += 2
            continue
        if not quote and letter.isspace():
            break
        position += 1
        before, quote = quote, _quote_after(letter, quote)
        if before == quote:
            letters.append(letter)
    return "".join(letters), position


def json_words(text: str) -> tuple[str, ...] | None:
    """Read the exec form. None: it is none, and docker takes it for text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    words = [word for word in found if isinstance(word, str)]
    if len(words) != len(found):
        message = "the exec form takes strings only"
        raise Mistake(message, hint='each argument in double quotes: `["ls", "-l"]`')
    # Half a surrogate pair cannot be an argument of a program; Go reads U+FFFD too.
    return tuple(
        word.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for word in words
    )


def heredocs(text: str) -> list[Heredoc]:
    """Return the heredocs that a line opens, their contents still empty."""
    if "<<" not in text:
        return []
    found = [heredoc(word) for word in _shell_words(text)]
    return [one for one in found if one is not None]


def heredoc(word: str) -> Heredoc | None:
    """Read `<<EOF`, `3<<-"EOF"`; None where a word is no heredoc."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    descriptor, dash, rest = match.groups()
    words = quoted_words(rest, "\\")
    if len(words) != 1:
        return None
    name, quoted = _unquoted(words[0])
    if not name:
        return None
    return Heredoc(
        name=name,
        expand=not quoted,
        chomp=bool(dash),
        descriptor=int(descriptor[:9] or 0),
    )


def _unquoted(word: str) -> tuple[str, bool]:
    name: list[str] = []
    quote = ""
    quoted = False
    letters = iter(word)
    for letter in letters:
        if letter == "\\" and quote != "'":
            name.append(next(letters, ""))
            continue
        before, quote = quote, _quote_after(letter, quote)
        if before == quote:
            name.append(letter)
        else:
            quoted = True
    return "".join(name), quoted


def _shell_words(text: str) -> list[str]:
    """Split as a shell would, quotes kept; `<< EOF` is one word. Nothing in an open quote."""
    words: list[str] = []
    start: int | None = None
    quote = ""
    position = 0
    while position < len(text):
        letter = text[position]
        mark = _MARK.match(text, position) if letter == "<" and not quote else None
        if not quote and letter.isspace():
            words += [text[start:position]] if start is not None else []
            start = None
            position += 1
            continue
        start = position if start is None else start
        if mark is not None:
            position = mark.end()
        elif letter == "\\" and quote != "'":
            position += 2
        else:
            quote = _quote_after(letter, quote)
            position += 1
    if quote:
        return []
    return [*words, text[start:position]] if start is not None else words
