"""A Dockerfile's text made into stages of instructions; every problem of the file at once.

Pure. What is right is read as docker's reference documentation and BuildKit have it; what neither
would do anything good with, is refused with a hint. No kept Python library reads Dockerfiles.
"""

from __future__ import annotations

import re
from typing import Final

from anchor_supervisor.build import lines, read
from anchor_supervisor.build.instructions import (
    Arg,
    Dockerfile,
    From,
    Instruction,
    Maintainer,
    OnBuild,
    Stage,
)
from anchor_supervisor.build.lines import Line
from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.wording import Mistake

# `["` or `[ 'a',`; but `[ "$a" ]` is a shell's test.
_NEARLY_JSON: Final = re.compile(r"""\[(?:["']|\s*(["'])[^"']*\1\s*,)""")

LARGEST: Final = 4 << 20  # characters; docker gives up at lines of 64 KiB
MOST_PROBLEMS: Final = 100  # nobody reads on; what was no Dockerfile at all has one a line

_UNREADABLE: Final = {
    "\0": "a NUL byte, which no text has",
    **{chr(letter): "bytes that are not UTF-8" for letter in range(0xD800, 0xE000)},
}


def parse(text: str, *, file: str) -> Dockerfile:
    """Read a whole Dockerfile; `file` is what messages call it.

    Raises FleetError with everything that is wrong with it.
    """
    _check_text(text, file)
    found = lines.split(text, file=file)
    problems = list(found.problems)
    warnings = list(found.warnings)
    arguments: list[Arg] = []
    stages: list[tuple[From | None, list[Instruction]]] = []
    for line in found.lines:
        if len(problems) >= MOST_PROBLEMS:
            break
        instruction, mistakes = read.instruction(line)
        problems += [_problem(mistake, line, file) for mistake in mistakes]
        warnings += _warnings(instruction, line, file)
        if line.keyword.upper() == "FROM":
            base = instruction if isinstance(instruction, From) else None
            stages.append((base, []))
        elif instruction is None or isinstance(instruction, From):
            continue
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            arguments.append(instruction)
        else:
            message = f"`{line.name}` comes before the first `FROM`"
            problems.append(_problem(Mistake(message, hint="only `ARG` may"), line, file))
    if not stages and not problems:
        message = "there is no `FROM`" if found.lines else "there is no instruction"
        problems.append(Problem(message, file, hint="`FROM image` begins a build"))
    if problems:
        raise FleetError(sorted(problems, key=lambda problem: problem.line or 0))
    return Dockerfile(
        file=file,
        stages=tuple(Stage(base, tuple(said)) for base, said in stages if base is not None),
        arguments=tuple(arguments),
        escape=found.escape,
        syntax=found.directives.get("syntax"),
        lines=found.physical,
        warnings=tuple(sorted(warnings, key=lambda problem: problem.line or 0)),
    )


def _check_text(text: str, file: str) -> None:
    if len(text) > LARGEST:
        message = f"the file has more than {LARGEST >> 20} MiB"
        raise FleetError([Problem(message, file)])
    for letter in sorted(set(text) & _UNREADABLE.keys()):
        line = text[: text.index(letter)].count("\n") + 1
        message = f"the file holds {_UNREADABLE[letter]}"
        raise FleetError([Problem(message, file, line)])


def _problem(mistake: Mistake, line: Line, file: str) -> Problem:
    return Problem(mistake.message, file, line.line, None, mistake.hint)


def _warnings(instruction: Instruction | From | None, line: Line, file: str) -> list[Problem]:
    """Tell what is allowed and most likely not meant."""
    if isinstance(instruction, OnBuild):
        instruction = instruction.instruction
    if isinstance(instruction, Maintainer):
        hint = "`LABEL org.opencontainers.image.authors=...`"
        return [Problem("`MAINTAINER` is deprecated", file, line.line, None, hint)]
    command = getattr(instruction, "command", None)
    if instruction is not None and isinstance(command, str) and _NEARLY_JSON.match(command):
        message = f"this `{instruction.keyword}` is not JSON, so a shell gets the brackets and all"
        hint = 'the exec form takes double quotes: `["ls", "-l"]`'
        return [Problem(message, file, line.line, None, hint)]
    return []
