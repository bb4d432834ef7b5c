"""Variables in a Dockerfile's words: `$x`, `${x:-default}`, `${x#prefix}`, as docker has them.

Pure. It looks like a shell and is none: nothing is run or globbed, and what is not known is empty.
`instruction` knows which parts of which instruction are expanded; RUN, CMD, ENTRYPOINT and
HEALTHCHECK leave theirs to the container's shell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar, final

from anchor_supervisor.build import instructions as say
from anchor_supervisor.build import patterns
from anchor_supervisor.build.mounts import read_mount
from anchor_supervisor.build.read import refuse_remote
from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.wording import Mistake, printable, show
from anchor_supervisor.values import evolve

Variables = Mapping[str, str]
I = TypeVar("I", bound=say.Instruction | say.From)  # noqa: E741 - an instruction

DEEPEST: Final = 20  # `${A:-${B:-...}}`: levels
LARGEST: Final = patterns.LARGEST  # `ENV A=$A$A` over and over doubles each time

# A name, a positional parameter, or one of the shell's special parameters: the latter never set.
_NAME: Final = re.compile(r"[^\W\d]\w*|[0-9]+|[@*#?$!-]")
_PIECE: Final = re.compile(r"\s+|\S+")
_PLAIN: Final = re.compile(r"""[^$'"\\`/}]+""")


def word(text: str, variables: Variables, *, escape: str = "\\", quotes: bool = True) -> str:
    """Return the text with its variables replaced and its quotes and escapes taken away.

    Without `quotes`, as in a heredoc, quotes are letters like any other. Raises Mistake.
    """
    return "".join(part for part, _ in _Lexer(text, variables, escape, quotes=quotes).whole())


def words(text: str, variables: Variables, *, escape: str = "\\") -> tuple[str, ...]:
    """Expand as `word` does, and split at white space that is neither quoted nor escaped."""
    found: list[str] = []
    current: list[str] = []
    for part, splits in _Lexer(text, variables, escape, quotes=True).whole():
        # What is quoted goes whole into the word that it is a part of.
        for piece in _PIECE.findall(part) if splits else [part]:
            if splits and piece.isspace():
                found += ["".join(current)] if any(current) else []
                current = []
            else:
                current.append(piece)
    return (*found, "".join(current)) if any(current) else tuple(found)


@final
class _Lexer:
    """Goes through a text once, left to right; parts come with whether spaces in them split."""

    def __init__(self, text: str, variables: Variables, escape: str, *, quotes: bool) -> None:
        self.text = text
        self.variables = variables
        self.escape = escape
        self.quotes = quotes
        self.position = 0
        self.depth = 0
        self.length = 0

    def whole(self) -> list[tuple[str, bool]]:
        return self._parts(stop="", raw=False)

    def _until(self, stop: str, *, raw: bool) -> str:
        return "".join(part for part, _ in self._parts(stop=stop, raw=raw))

    def _parts(self, *, stop: str, raw: bool) -> list[tuple[str, bool]]:
        """Expand up to `stop`, and step over it. `raw` keeps escapes: a pattern has its own."""
        parts: list[tuple[str, bool]] = []
        while self.position < len(self.text):
            plain = _PLAIN.match(self.text, self.position)
            if plain is not None:
                self.position = plain.end()
                parts.append((plain.group(), True))
                continue
            letter = self.text[self.position]
            self.position += 1
            if letter == stop:
                return parts
            if letter == "$":
                parts.append((self._dollar(), True))
            elif self.quotes and letter == "'":
                parts.append((self._single(), False))
            elif self.quotes and letter == '"':
                parts.append((self._double(raw=raw), False))
            elif letter == self.escape:
                escaped = self.text[self.position : self.position + 1]
                self.position += 1
                parts.append((letter + escaped if raw else escaped, False))
            else:
                parts.append((letter, True))
            self._count(parts[-1][0])
        if stop:
            message = f"a `${{` in {show(self.text)} lacks its `{stop}`"
            raise Mistake(message, hint="`\\$` is a dollar")
        return parts

    def _count(self, part: str) -> None:
        self.length += len(part)
        if self.length > LARGEST:
            message = f"{show(self.text)} becomes longer than {LARGEST >> 20} MiB"
            raise Mistake(message)

    def _single(self) -> str:
        end = self.text.find("'", self.position)
        if end < 0:
            raise self._open_quote("'")
        quoted = self.text[self.position : end]
        self.position = end + 1
        return quoted

    def _double(self, *, raw: bool) -> str:
        parts: list[str] = []
        while self.position < len(self.text):
            letter = self.text[self.position]
            self.position += 1
            if letter == '"':
                return "".join(parts)
            if letter == "$":
                parts.append(self._dollar())
                self._count(parts[-1])
                continue
            if letter == self.escape:
                # In double quotes an escape escapes these alone, and is a letter before others.
                following = self.text[self.position : self.position + 1]
                special = bool(following) and following in f'"${self.escape}'
                parts.append(letter if raw or (following and not special) else "")
                parts.append(following if special else "")
                self.position += special
                continue
            parts.append(letter)
        raise self._open_quote('"')

    def _open_quote(self, quote: str) -> Mistake:
        return Mistake(
            f"a {quote} in {show(self.text)} is never closed",
            hint=f"`{self.escape}{quote}` is the sign itself",
        )

    def _dollar(self) -> str:
        if self.text.startswith("{", self.position):
            self.position += 1
            self.depth += 1
            if self.depth > DEEPEST:
                message = f"{show(self.text)} has more than {DEEPEST} `${{` inside one another"
                raise Mistake(message)
            expanded = self._braces()
            self.depth -= 1
            return expanded
        name = _NAME.match(self.text, self.position)
        if name is None:
            return "$"
        self.position = name.end()
        return self.variables.get(name.group(), "")

    def _braces(self) -> str:
        found = _NAME.match(self.text, self.position)
        if found is None:
            message = f"a `${{` in {show(self.text)} is not followed by a variable's name"
            raise Mistake(message, hint="`\\$` is a dollar")
        name = found.group()
        self.position = found.end()
        operator = self.text[self.position : self.position + 1]
        colon = operator == ":"
        if colon:
            operator = self.text[self.position + 1 : self.position + 2]
        self.position += 1 + colon
        value = self.variables.get(name)
        match operator:
            case "}" if not colon:
                return value or ""
            case "-" | "+" | "?" if operator:
                return self._conditional(name, operator, None if colon and not value else value)
            case "#" | "%" if not colon:
                return self._trimmed(operator, value or "")
            case "/" if not colon:
                return self._replaced(value or "")
            case "" if not colon:
                message = f"a `${{` in {show(self.text)} lacks its `}}`"
                raise Mistake(message, hint="`\\$` is a dollar")
        message = f"{show(':' * colon + operator)} after `${{{printable(name)}` has no meaning"
        raise Mistake(message, hint="such as `${x:-default}` or `${x#prefix}`")

    def _conditional(self, name: str, operator: str, value: str | None) -> str:
        """Choose by whether the variable is set; one that counts as unset comes as None."""
        other = self._until("}", raw=False)
        if operator == "+":
            return "" if value is None else other
        if value is None and operator == "?":
            message = f"variable `{printable(name)}` is not set: {printable(other) or 'required'}"
            raise Mistake(message, hint=f"`--build-arg {printable(name)}=...`, or an `ENV`")
        return other if value is None else value

    def _trimmed(self, operator: str, value: str) -> str:
        longest = self.text.startswith(operator, self.position)
        self.position += longest
        pattern = patterns.pattern(self._until("}", raw=True))
        trim = patterns.without_prefix if operator == "#" else patterns.without_suffix
        return trim(value, pattern, longest=longest)

    def _replaced(self, value: str) -> str:
        everywhere = self.text.startswith("/", self.position)
        self.position += everywhere
        pattern = patterns.pattern(self._until("/", raw=True))
        # Here docker keeps the escapes in the replacement, which a shell would not.
        replacement = self._until("}", raw=True)
        replaced = patterns.replaced(value, pattern, replacement, everywhere=everywhere)
        self._count(replaced)
        return replaced


def instruction(value: I, variables: Variables, *, escape: str = "\\", file: str = "") -> I:
    """Return the instruction with the variables replaced in those parts that are expanded.

    An ARG is none of these: `arguments.Scope.declare` expands it. Raises FleetError.
    """

    def expand(text: str) -> str:
        return word(text, variables, escape=escape)

    try:
        expanded = _instruction(value, expand, variables, escape)
    except Mistake as mistake:
        problem = Problem(mistake.message, file or None, value.line or None, None, mistake.hint)
        raise FleetError([problem]) from mistake
    assert type(expanded) is type(value)
    return expanded


def _instruction(
    value: say.Instruction | say.From,
    expand: Callable[[str], str],
    variables: Variables,
    escape: str,
) -> say.Instruction | say.From:
    match value:
        case say.From():
            return _from(value, expand)
        case say.Env():
            return evolve(value, variables=_pairs(value.variables, expand))
        case say.Label():
            return evolve(value, labels=_pairs(value.labels, expand))
        case say.Copy() | say.Add():
            return _copied(value, expand, variables)
        case say.Run():
            return evolve(
                value, mounts=tuple(read_mount(mount.written, expand) for mount in value.mounts)
            )
        case say.WorkDir():
            return evolve(value, path=expand(value.path))
        case say.User():
            return evolve(value, user=expand(value.user))
        case say.StopSignal():
            return evolve(value, signal=expand(value.signal))
        case say.Volume():
            return evolve(value, paths=tuple(expand(path) for path in value.paths))
        case say.Expose():
            ports = [port for text in value.ports for port in words(text, variables, escape=escape)]
            return evolve(value, ports=tuple(ports))
        case _:
            return value


def _from(value: say.From, expand: Callable[[str], str]) -> say.From:
    image = expand(value.image)
    if not image:
        message = f"the image {show(value.image)} is empty"
        raise Mistake(message, hint="`FROM` sees the `ARG`s before the first `FROM` alone")
    platform = expand(value.platform) if value.platform is not None else None
    return evolve(value, image=image, platform=platform or None)


def _copied(
    value: say.Copy | say.Add, expand: Callable[[str], str], variables: Variables
) -> say.Copy | say.Add:
    sources = tuple(expand(source) for source in value.sources)
    if isinstance(value, say.Add):
        refuse_remote(sources)
    return evolve(
        value,
        sources=sources,
        destination=expand(value.destination),
        chown=expand(value.chown) if value.chown is not None else None,
        chmod=expand(value.chmod) if value.chmod is not None else None,
        heredocs=tuple(
            evolve(each, content=word(each.content, variables, quotes=False))
            if each.expand
            else each
            for each in value.heredocs
        ),
    )


def _pairs(
    pairs: tuple[tuple[str, str], ...], expand: Callable[[str], str]
) -> tuple[tuple[str, str], ...]:
    expanded = tuple((expand(name), expand(value)) for name, value in pairs)
    for (written, _), (name, _) in zip(pairs, expanded, strict=True):
        if not name:
            message = f"the name {show(written)} is empty"
            raise Mistake(message)
    return expanded
