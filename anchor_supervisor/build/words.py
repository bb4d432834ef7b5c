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
    current = ""
    quote = ""
    position = 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter == escape and quote != "'":
            # A lone escape at the very end escapes nothing, and is dropped.
            if position < len(text):
                current += letter + text[position]
                position += 1
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter.isspace():
            words += [current] if current else []
            current = ""
            continue
        elif letter in "'\"":
            quote = letter
        current += letter
    return [*words, current] if current else words


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
    flag = quote = ""
    while position < len(text):
        letter = text[position]
        if letter == escape:
            flag += text[position + 1 : position + 2]
            position += 2
            continue
        if not quote and letter.isspace():
            break
        position += 1
        if letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        else:
            flag += letter
    return flag, position


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
    name = quote = ""
    quoted = False
    letters = iter(word)
    for letter in letters:
        if letter == "\\" and quote != "'":
            name += next(letters, "")
        elif letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote, quoted = letter, True
        else:
            name += letter
    return name, quoted


def _shell_words(text: str) -> list[str]:
    """Split as a shell would, quotes kept; `<< EOF` is one word. Nothing in an open quote."""
    words: list[str] = []
    current = quote = ""
    position = 0
    while position < len(text):
        letter = text[position]
        mark = _MARK.match(text, position) if not quote else None
        if mark is not None:
            current += mark.group()
            position = mark.end()
            continue
        position += 1
        if letter == "\\" and quote != "'":
            current += text[position - 1 : position + 1]
            position += 1
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter.isspace():
            words += [current] if current else []
            current = ""
            continue
        elif letter in "'\"":
            quote = letter
        current += letter
    if quote:
        return []
    return [*words, current] if current else words
