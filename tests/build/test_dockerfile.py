"""A whole Dockerfile."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.build import instructions as say
from anchor_supervisor.build.dockerfile import LARGEST, MOST_PROBLEMS, parse
from anchor_supervisor.errors import FleetError, Problem

# The multi-stage example of docker's documentation, and what else a real file has.
DOCKERFILE = """\
# syntax=docker/dockerfile:1

ARG GO_VERSION=1.21
FROM golang:${GO_VERSION} AS Build
WORKDIR /src
COPY <<EOF ./main.go
package main
EOF
RUN go build -o /bin/hello ./main.go

FROM scratch
COPY --from=build /bin/hello /bin/hello
CMD ["/bin/hello"]
"""

KEYWORDS = [
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL"),
    *("MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
]
WORD = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)
HARD_WORD = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1)


def problems(text: str) -> list[tuple[int | None, str]]:
    """Everything that is wrong with a file."""
    with pytest.raises(FleetError) as caught:
        parse(text, file="D")
    assert all(problem.file == "D" for problem in caught.value.problems)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_a_file_is_stages_of_instructions() -> None:
    """With the ARGs before them, names in lower case, and heredocs in their place."""
    found = parse(DOCKERFILE, file="D")
    first, second = found.stages
    assert found.arguments == (say.Arg((("GO_VERSION", "1.21"),)),)
    assert (found.syntax, found.escape) == ("docker/dockerfile:1", "\\")
    assert first.base == say.From("golang:${GO_VERSION}", name="build")
    assert first.instructions == (
        say.WorkDir("/src"),
        say.Copy((), "./main.go", heredocs=(say.Heredoc("EOF", "package main\n"),)),
        say.Run("go build -o /bin/hello ./main.go"),
    )
    assert second.name is None
    assert second.instructions[0] == say.Copy(("/bin/hello",), "/bin/hello", "build")


def test_an_instruction_is_shown_as_it_is_in_the_file() -> None:
    """All of its lines, for messages."""
    found = parse(DOCKERFILE, file="D")
    shown = found.excerpt(found.stages[0].instructions[1])
    assert shown == ("COPY <<EOF ./main.go", "package main", "EOF")
    assert found.excerpt(found.stages[1].base) == ("FROM scratch",)


def test_all_problems_come_at_once() -> None:
    """Those of every line, in the order of the lines, whatever finds them."""
    text = "RUN a\nFRM b\nFROM c AS 1\nCOPY x\nRUN --a --b c\nENV x=y\nRUN <<E\n"
    assert problems(text) == [
        (1, "`RUN` comes before the first `FROM`"),
        (2, "there is no instruction `FRM`"),
        (3, "`1` cannot be a stage's name"),
        (4, "`COPY` needs a source and a destination"),
        (5, "`RUN` has no flag `--a`"),
        (5, "`RUN` has no flag `--b`"),
        (7, "the heredoc `E` is never ended"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, "there is no instruction")),
        ("# only a comment\n", (None, "there is no instruction")),
        ("ARG a=b\n", (None, "there is no `FROM`")),
        ("FROM a\nRUN b\0c\n", (2, "the file holds a NUL byte, which no text has")),
        ("FROM a\n\ud800", (2, "the file holds bytes that are not UTF-8")),
        ("x" * (LARGEST + 1), (None, "the file has more than 4 MiB")),
    ],
)
def test_what_is_no_dockerfile_is_refused(text: str, expected: tuple[int | None, str]) -> None:
    """Nothing in it, no stage, no text, too much of it."""
    assert problems(text) == [expected]


def test_what_was_never_a_dockerfile_is_not_read_to_the_end() -> None:
    """A hundred problems are enough, and a large file takes no longer."""
    assert len(problems("spam eggs\n" * 100_000)) == MOST_PROBLEMS


def test_an_unknown_instruction_gets_the_nearest() -> None:
    """A slip of the finger is named with what was meant."""
    with pytest.raises(FleetError) as caught:
        parse("FROM a\nENTRYPIONT b", file="D")
    hint = "did you mean `ENTRYPOINT`?"
    message = "there is no instruction `ENTRYPIONT`"
    assert caught.value.problems == (Problem(message, "D", 2, None, hint),)


def test_what_is_hardly_meant_is_a_warning() -> None:
    """The file is read all the same."""
    text = "FROM a\nMAINTAINER b\nCMD ['c']\nONBUILD RUN [ 'd', 'e' ]\nRUN [ 'x' ]\nRUN [ -e x ]"
    assert [(each.line, each.message) for each in parse(text, file="D").warnings] == [
        (2, "`MAINTAINER` is deprecated"),
        (3, "this `CMD` is not JSON, so a shell gets the brackets and all"),
        (4, "this `RUN` is not JSON, so a shell gets the brackets and all"),
    ]


@given(st.text(max_size=60) | st.text(st.sampled_from("\n \\`#<-'\"[]{}$=ax,"), max_size=60))
def test_any_text_is_read_or_wrong(text: str) -> None:
    """Nothing but FleetError is raised."""
    with contextlib.suppress(FleetError):
        assert parse(f"FROM a\n{text}", file="D").stages
    with contextlib.suppress(FleetError):
        assert parse(text, file="D").stages


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KEYWORDS), st.text(st.sampled_from("\\ \t<-'\"[]{}$=ax,/"), max_size=20)
        )
    )
)
def test_any_arguments_are_read_or_wrong(said: list[tuple[str, str]]) -> None:
    """Of any instruction; and every problem has a line that is in the file."""
    text = "FROM a\n" + "".join(f"{keyword} {rest}\n" for keyword, rest in said)
    try:
        found = parse(text, file="D")
    except FleetError as error:
        every = [problem.line for problem in error.problems]
    else:
        every = [each.line for stage in found.stages for each in stage.instructions]
        every += [each.line for each in found.warnings]
    assert all(line is not None and 1 <= line <= len(said) + 1 for line in every)


def spelled(value: say.Instruction) -> str:
    """An instruction as a person might write it."""
    match value:
        case say.Run() | say.Cmd() | say.Entrypoint():
            rest = value.command if isinstance(value.command, str) else json.dumps(value.command)
        case say.Env():
            rest = " ".join(f"{name}={text}" for name, text in value.variables)
        case say.Arg():
            pairs = [(name, "" if text is None else f"={text}") for name, text in value.arguments]
            rest = " ".join(f"{name}{text}" for name, text in pairs)
        case say.Copy():
            flags = [f"--from={value.from_}"] if value.from_ else []
            flags += ["--link"] if value.link else []
            flags += [f"--exclude={pattern}" for pattern in value.exclude]
            names = [f"<<{heredoc.name}" for heredoc in value.heredocs]
            rest = " ".join([*flags, *value.sources, *names, value.destination])
            rest += "".join(f"\n{each.content}{each.name}" for each in value.heredocs)
        case say.Volume():
            rest = json.dumps(value.paths)
        case say.WorkDir():
            rest = value.path
        case _:
            raise AssertionError
    return f"{value.keyword} {rest}"


PLAIN = st.lists(WORD, min_size=1, max_size=4).map(" ".join)
COMMANDS = PLAIN | st.lists(HARD_WORD | PLAIN, min_size=1, max_size=3).map(tuple)
PAIRS = st.lists(st.tuples(WORD, WORD), min_size=1, max_size=3).map(tuple)
CONTENT = st.lists(HARD_WORD.filter(lambda text: text != "END"), max_size=3).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)
INSTRUCTIONS = st.one_of(
    COMMANDS.map(say.Run),
    COMMANDS.map(say.Cmd),
    COMMANDS.map(say.Entrypoint),
    PAIRS.map(say.Env),
    st.lists(st.tuples(WORD, st.none() | WORD), min_size=1, max_size=3).map(tuple).map(say.Arg),
    st.builds(
        say.Copy,
        st.lists(WORD, min_size=1, max_size=3).map(tuple),
        WORD,
        from_=st.none() | WORD,
        link=st.booleans(),
        exclude=st.lists(WORD, max_size=2).map(tuple),
    ),
    st.builds(
        say.Copy,
        st.lists(WORD, max_size=2).map(tuple),
        WORD,
        heredocs=CONTENT.map(lambda content: (say.Heredoc("END", content),)),
    ),
    st.lists(HARD_WORD, min_size=1, max_size=3).map(tuple).map(say.Volume),
    WORD.map(say.WorkDir),
)


@given(st.lists(INSTRUCTIONS, max_size=8))
def test_what_is_written_is_what_is_read(said: list[say.Instruction]) -> None:
    """Instructions written down are the same when they are read, heredocs and JSON and all."""
    text = "\n".join(["FROM scratch", *map(spelled, said)])
    assert parse(text, file="D").stages[0].instructions == tuple(said)
