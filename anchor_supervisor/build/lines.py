"""A Dockerfile's text made into instructions' lines: directives, continuations, comments, heredocs.

Pure text; what the instructions mean is `read`'s. Lines end at a line feed alone, as docker has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, final

from anchor_supervisor.build import words
from anchor_supervisor.build.instructions import Heredoc
from anchor_supervisor.errors import Problem
from anchor_supervisor.fleet.wording import Mistake, printable, show
from anchor_supervisor.values import evolve, field, frozen

DIRECTIVES: Final = ("syntax", "escape", "check")
WITH_HEREDOCS: Final = ("RUN", "COPY", "ADD")
ESCAPES: Final = ("\\", "`")

_DIRECTIVE: Final = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_CONTINUED: Final = {
    escape: re.compile(rf"(?:(?<=[^{re.escape(escape)}])|^){re.escape(escape)}[ \t]*\Z")
    for escape in ESCAPES
}


@final
@frozen
class Line:
    """One instruction as it stands there, all on one line: `keyword flags... rest`."""

    keyword: str
    flags: tuple[str, ...]
    rest: str
    escape: str
    line: int
    end_line: int
    text: str
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def name(self) -> str:
        """The keyword in capitals, as messages write it."""
        return printable(self.keyword.upper())


@final
@frozen
class Text:
    """What a whole file falls into. `problems` forbid to go on, `warnings` don't."""

    lines: tuple[Line, ...]
    physical: tuple[str, ...]
    directives: dict[str, str] = field(factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def escape(self) -> str:
        """The sign that continues lines and escapes letters."""
        return self.directives.get("escape", "\\")


def split(text: str, *, file: str) -> Text:
    """Split a file into instructions' lines. Raises nothing: what is wrong is in `problems`."""
    physical = text.removeprefix("\ufeff").split("\n")
    # A line keeps its own line feed for a heredoc's sake; after the last one there is no line.
    physical = [f"{line}\n" for line in physical[:-1]] + physical[-1:]
    if not physical[-1]:
        physical.pop()
    splitter = _Splitter(file, physical)
    lines = tuple(splitter.lines())
    return Text(
        lines=lines,
        physical=tuple(line.rstrip("\r\n") for line in physical),
        directives=splitter.directives,
        problems=tuple(splitter.problems),
        warnings=tuple(splitter.warnings),
    )


def one(
    text: str,
    *,
    escape: str,
    line: int = 0,
    end_line: int = 0,
    heredocs: tuple[Heredoc, ...] = (),
) -> Line:
    """Take one whole line apart, its continuations already joined."""
    parts = words.BLANKS.split(text.strip(), maxsplit=1)
    flags, rest = words.take_flags(parts[1], escape) if len(parts) > 1 else ([], "")
    whole = text.strip()
    return Line(parts[0], tuple(flags), rest.strip(), escape, line, end_line, whole, heredocs)


@final
class _Splitter:
    """Goes through the physical lines once; each is read by exactly one of the methods."""

    def __init__(self, file: str, physical: list[str]) -> None:
        self.file = file
        self.physical = physical
        self.position = 0
        self.directives: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def lines(self) -> Iterator[Line]:
        self._read_directives()
        escape = self.directives.get("escape", "\\")
        while self.position < len(self.physical):
            start = self.position + 1
            text = self._joined(escape)
            if not text.strip():
                continue
            line = one(text, escape=escape, line=start, end_line=self.position)
            yield self._with_heredocs(line)

    def _read_directives(self) -> None:
        """Read `# name=value` lines at the very top; the first other line ends them."""
        while self.position < len(self.physical):
            found = _DIRECTIVE.fullmatch(self.physical[self.position].strip())
            name = found.group(1).lower() if found is not None else ""
            if found is None or name not in DIRECTIVES:
                return
            self.position += 1
            value = found.group(2)
            if name in self.directives:
                self._report(self.position, f"`# {name}=` is there twice")
            elif name == "escape" and value not in ESCAPES:
                hint = "a backslash or a back-quote"
                self._report(self.position, f"{show(value)} is not an escape sign", hint)
            else:
                self.directives[name] = value

    def _joined(self, escape: str) -> str:
        """Join a line with those that continue it; comments and empty lines between don't count."""
        parts: list[str] = []
        empty = 0
        while self.position < len(self.physical):
            line = self.physical[self.position].rstrip("\r\n")
            self.position += 1
            line = line if parts else line.lstrip()
            if line.lstrip().startswith("#"):
                if parts:
                    continue
                return ""
            if parts and not line.strip():
                empty = empty or self.position
                continue
            part, continued = _CONTINUED[escape].subn("", line)
            parts.append(part)
            if not continued:
                break
        if empty:
            message = "an empty line inside an instruction"
            self._warn(empty, message, "docker will refuse it some day; take it out")
        return "".join(parts)

    def _with_heredocs(self, line: Line) -> Line:
        opened = words.heredocs(line.text) if _may_open(line) else []
        filled = [self._filled(heredoc, line.line) for heredoc in opened]
        return evolve(line, heredocs=tuple(filled), end_line=self.position)

    def _filled(self, heredoc: Heredoc, line: int) -> Heredoc:
        content: list[str] = []
        while self.position < len(self.physical):
            text = self.physical[self.position]
            self.position += 1
            bare = text.rstrip("\r\n")
            if (bare.lstrip("\t") if heredoc.chomp else bare) == heredoc.name:
                return evolve(heredoc, content="".join(content))
            content.append(text)
        message = f"the heredoc {show(heredoc.name)} is never ended"
        self._report(line, message, f"a line with {show(heredoc.name)} alone ends it")
        return heredoc

    def _report(self, line: int, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message, self.file, line, None, hint))

    def _warn(self, line: int, message: str, hint: str | None = None) -> None:
        self.warnings.append(Problem(message, self.file, line, None, hint))


def _may_open(line: Line) -> bool:
    """Whether heredocs mean something here: not in other instructions, nor in the exec form."""
    if line.keyword.upper() == "ONBUILD" and line.rest:
        line = one(line.rest, escape=line.escape)
    if line.keyword.upper() not in WITH_HEREDOCS:
        return False
    try:
        return words.json_words(line.rest) is None
    except Mistake:
        return False
