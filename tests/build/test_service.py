"""Whole builds: what they make, what they say, what they leave."""

from __future__ import annotations

import json
import os
import signal
from typing import Any, Final

import pytest

from anchor_supervisor.images.reference import parse
from image_builder import Builder, Rooted

pytestmark = pytest.mark.root

FAILING: Final = """\
FROM base
RUN true
RUN echo first; \\
    echo last words >&2; \\
    exit 7
RUN touch /never
"""


def test_a_failed_step_shows_its_lines_its_code_and_its_last_output(builder: Builder) -> None:
    """Exit 1; nothing is tagged, and nothing is on standard output."""
    said = builder(builder.context(FAILING), "-t", "broken")
    assert said.code == 1
    assert not said.out
    assert "Dockerfile:3: RUN: exited (7)" in said.err
    assert "  4 |     echo last words >&2; \\\n  5 |     exit 7\n" in said.err
    assert "its last output:\n  first\n  last words\n" in said.err
    assert "[4/4]" not in said.err
    assert builder.store.find("broken") is None


def test_the_last_output_does_not_grow(builder: Builder) -> None:
    """A step that says very much is told again by its last lines alone."""
    many = "for i in 1 2 3 4 5 6 7 8 9; do for j in 1 2 3; do cat /etc/passwd; done; done; false"
    said = builder(builder.context(f"FROM base\nRUN {many}\n"))
    assert said.code == 1
    assert said.err.partition("its last output:")[2].count("\n") <= 21


def test_a_program_that_is_not_there_is_said(builder: Builder) -> None:
    """What execve answers is the error, at the step's line."""
    error = builder.refused(builder.context('FROM base\nRUN ["/no/such", "x"]\n'))
    assert "Dockerfile:2: RUN: execute `/no/such`" in error
    assert "No such file or directory" in error


def test_the_answer_is_the_digest(builder: Builder) -> None:
    """`-q`, `--iidfile` and `--json` say the same digest, and the names lead to it."""
    context = builder.context("FROM base\nLABEL a=b\n")
    words = ("-t", "one", "-t", "two:tag", "--label", "c=d")
    image = builder.image(context, *words, "--iidfile", builder.place / "id")
    assert (builder.place / "id").read_text() == image.digest
    assert builder(context, "-q", *words).out == f"{image.digest}\n"
    answer = json.loads(builder(context, "--json", *words).out)
    assert answer["digest"] == image.digest
    assert answer["names"] == ["docker.io/library/one:latest", "docker.io/library/two:tag"]
    for name in ("one", "two:tag"):
        found = builder.store.find(name)
        assert found is not None
        assert found.digest == image.digest
    assert image.config["config"]["Labels"] == {"a": "b", "c": "d"}


def test_names_are_shown_as_they_are_written(builder: Builder) -> None:
    """As `anchor images` and `anchor import` show them."""
    said = builder(builder.context("FROM base\n"), "-t", "one", "-t", "two:tag")
    assert said.out.split()[1:] == ["one:latest", "two:tag"]


def test_a_label_alone_is_an_empty_one(builder: Builder) -> None:
    """As with docker; a build argument alone takes our variable, and a label has none."""
    image = builder.image(builder.context("FROM base\n"), "--label", "HOME", "--label", "b=c")
    assert image.config["config"]["Labels"] == {"HOME": "", "b": "c"}


def test_a_digest_that_cannot_be_written_is_told(builder: Builder) -> None:
    """The file is named, and the image that has been made is as well."""
    error = builder.refused(builder.context("FROM base\n"), "--iidfile", "/no/such/file")
    assert "`--iidfile /no/such/file` cannot be written: No such file or directory" in error
    assert "hint: the image is built all the same: `sha256:" in error


def test_the_dockerfile_may_come_from_elsewhere(builder: Builder) -> None:
    """`-f FILE`, and `-f -` for standard input; a missing one is named."""
    context = builder.context("FROM nowhere\n", input="x")
    other = builder.place / "Other"
    other.write_text("FROM base\nCOPY input /input\n")
    assert builder.read(builder.image(context, "-f", other), "input") == "x"
    said = builder.console.anchor("build", "-f", "-", context, text="FROM base\nCOPY input /y\n")
    assert said.code == 0, said
    (context / "Dockerfile").unlink()
    assert "there is no `Dockerfile`" in builder.refused(context)


def test_only_what_the_target_needs_is_built(builder: Builder) -> None:
    """A stage that fails is no matter to another target; an unknown one is refused."""
    context = builder.context(
        "FROM base AS one\nRUN echo 1 > /one\nFROM base AS bad\nRUN false\n"
        "FROM one AS two\nRUN echo 2 > /two\n"
    )
    image = builder.image(context)
    assert {"one", "two"} <= builder.tree(image).keys()
    assert "two" not in builder.tree(builder.image(context, "--target", "ONE"))
    error = builder.refused(context, "--target", "three")
    assert "no stage `three`" in error
    assert "one, bad, two" in error


def test_arguments_reach_their_stage(builder: Builder) -> None:
    """An ARG before the first FROM, a default, `--build-arg`, and one that nobody asks for."""
    context = builder.context(
        "ARG IMAGE=nowhere\nFROM $IMAGE\nARG V=1\nARG IMAGE\nRUN echo $V $IMAGE $W > /seen\n"
    )
    words = ("--build-arg", "IMAGE=base", "--build-arg", "V=2", "--build-arg", "W=3")
    said = builder(context, *words)
    assert said.code == 0, said
    assert "no `ARG` asks for the build argument `W`" in said.err
    image = builder.store.find(said.out.strip())
    assert image is not None
    assert builder.read(image, "seen") == "2 base\n"
    assert not [pair for pair in image.config["config"]["Env"] if pair.startswith("V=")]


HEREDOCS: Final = """\
FROM base
ENV NAME=world
COPY <<one <<"two" /texts/
hello $NAME
one
hello $NAME
two
RUN <<EOF
echo shell > /shell
echo $NAME >> /shell
EOF
RUN <<EOF
#!/bin/cat
not a shell's
EOF
RUN cat <<EOF > /piped
a $NAME
EOF
RUN <<EOF cat > /input
of a program
EOF
"""


def test_heredocs(builder: Builder) -> None:
    """Files, shell texts, programs with an interpreter of their own, and input of a command."""
    said = builder(builder.context(HEREDOCS))
    assert said.code == 0, said
    assert "not a shell's" in said.err
    image = builder.store.find(said.out.strip())
    assert image is not None
    assert builder.read(image, "texts/one") == "hello world\n"
    assert builder.read(image, "texts/two") == "hello $NAME\n"
    assert builder.read(image, "shell") == "shell\nworld\n"
    assert builder.read(image, "piped") == "a world\n"
    assert builder.read(image, "input") == "of a program\n"
    assert not [path for path in builder.tree(image) if path.startswith(".anchor")]


def test_a_run_leaves_what_it_wrote_and_nothing_else(builder: Builder) -> None:
    """No mount point of ours gets into a layer, and the base image's files are left as they are."""
    before = builder.tree(builder.image(builder.context("FROM base\n")))
    dockerfile = (
        "FROM base\nRUN test -e /proc/self && test -c /dev/null && test -s /etc/hosts\n"
        "RUN --mount=type=tmpfs,target=/deep/down/there touch /deep/down/there/x\n"
        "RUN --network=none ip link | grep -q lo && ! ip link | grep -q eth0 && echo 1 > /made\n"
    )
    after = builder.tree(builder.image(builder.context(dockerfile)))
    assert after.keys() - before.keys() == {"made"}
    assert {path: after[path] for path in before} == before


def test_copies_keep_their_times(builder: Builder) -> None:
    """To the nanosecond; a directory of the image that something is copied into keeps its own."""
    context = builder.context("FROM base\nCOPY tree /etc/\n")
    (context / "tree").mkdir()
    (context / "tree/file").write_text("x")
    os.utime(context / "tree/file", ns=(0, 1_234_567_890_123_456_789))
    with Rooted(builder.store, builder.image(context)) as root:
        assert (root / "etc/file").stat().st_mtime_ns == 1_234_567_890_123_456_789
        assert (root / "etc").stat().st_mtime == 1_600_000_000


def test_a_run_from_nothing(builder: Builder) -> None:
    """A stage from scratch may run what was copied into it."""
    dockerfile = (
        "FROM scratch\nCOPY --from=base /bin /bin\nRUN echo here > /made\nUSER 12:34\n"
        "WORKDIR /own\nRUN id -u > id\n"
    )
    image = builder.image(builder.context(dockerfile))
    tree = builder.tree(image)
    assert {path for path in tree if "/" not in path} == {"bin", "made", "own"}
    assert tree["own/id"][:3] == ("100644", 12, 34)


def test_the_machines_network_is_refused(builder: Builder) -> None:
    """`--network=host` is no default of anybody's."""
    error = builder.refused(builder.context("FROM base\nRUN --network=host true\n"))
    assert "`--network=host`" in error


def test_two_builds_with_the_same_epoch_are_alike(builder: Builder) -> None:
    """SOURCE_DATE_EPOCH: equal digests without a cache, and no time after it."""
    dockerfile = (
        "FROM base\nWORKDIR /made/here\nCOPY input .\nRUN echo x > ran; mkdir d; ln -s ran l\n"
        "COPY <<EOF /text\nhi\nEOF\n"
    )
    context = builder.context(dockerfile, input="x")
    builder.console.environment["SOURCE_DATE_EPOCH"] = "1000000000"
    first = builder.image(context, "--no-cache")
    (context / "input").write_text("x")
    second = builder.image(context, "--no-cache")
    assert first.digest == second.digest
    assert first.config["created"] == "2001-09-09T01:46:40Z"
    created = {step.get("created") for step in first.config["history"][1:]}
    assert created == {"2001-09-09T01:46:40Z"}


def test_interrupted_while_a_command_runs(builder: Builder) -> None:
    """Ctrl-C ends the container and the build; what would be left, the fixture looks for."""
    context = builder.context("FROM base\nRUN echo running; sleep 1000\n")
    build = builder.console.start_anchor("build", "-t", "never", context)
    build.wait_for("| running")
    build.interrupt()
    assert build.ended() == 130
    assert builder.store.find("never") is None


def test_interrupted_while_a_command_does_not_listen(builder: Builder) -> None:
    """A shell that waits for its child, as dash and bash do at SIGINT, holds nobody up."""
    context = builder.context("FROM base\nRUN trap : INT; echo running; sleep 1000; sleep 1000\n")
    build = builder.console.start_anchor("build", context)
    build.wait_for("| running")
    build.interrupt()
    assert build.ended() == 130


def test_terminated_while_a_command_runs(builder: Builder) -> None:
    """SIGTERM does the same."""
    context = builder.context("FROM base\nRUN echo running; sleep 1000\n")
    build = builder.console.start_anchor("build", context)
    build.wait_for("| running")
    build.send(signal.SIGTERM)
    assert build.ended() == 143


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ('RUN ["echo", "a\\u0000b"]', "embedded null byte"),
        ('COPY ["a\\u0000b", "/x"]', "holds a NUL byte"),
        ('COPY ["Dockerfile", "/x\\u0000"]', "holds a NUL byte"),
        ('COPY ["a\\ud800b", "/x"]', "is not in the context"),
        ("RUN --mount=type=tmpfs,target=/proc/x true", "which is the supervisor's to fill"),
        ("COPY --chown=nobody Dockerfile /x", "no user `nobody`"),
        ("COPY --from=9 a /x", "stage `9` is not before this one"),
        ("COPY --from=own a /x", "stage `own` is not before this one"),
        ("WORKDIR /etc/passwd", "is a file, and a directory cannot replace it"),
        ("COPY Dockerfile /etc/passwd/x", "which is not a directory"),
        ("COPY --chmod=rwx Dockerfile /x", "is not a mode"),
        ("COPY [a /x", "is not a pattern"),
    ],
)
def test_what_cannot_be_done(builder: Builder, instruction: str, words: str) -> None:
    """Is said at its line; nothing of it is our mistake."""
    context = builder.context(f"FROM base AS own\n{instruction}\n")
    error = builder.refused(context)
    assert "Dockerfile:2: " in error
    assert words in error


HOSTILE: Final = {
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "Env": [1, "NO", "=x", "A=b", "B=\0"],
        "WorkingDir": "../../..//etc\0",
        "User": ["root"],
        "Shell": "sh",
        "OnBuild": ["RUN --network=host true", 7],
        "Cmd": 8,
    },
    "history": [],
}


def test_a_base_image_with_a_hostile_configuration(builder: Builder) -> None:
    """Wrong types count as missing, and what is left is refused in words."""
    base = builder.store.find("base")
    assert base is not None
    settings: dict[str, Any] = {**HOSTILE["config"]}  # type: ignore[dict-item]
    texts = {"OnBuild": "`--network=host`", "WorkingDir": "NUL", "Env": "null byte"}
    for name in ("OnBuild", "WorkingDir", "Env", ""):
        with builder.store.lease("test") as lease:
            config = {**HOSTILE, "config": settings}
            image = builder.store.make_image(lease, config, base.layers)
            builder.store.tag(parse("hostile"), image.digest)
        context = builder.context("FROM hostile\nRUN pwd\nWORKDIR x\nCOPY Dockerfile .\n")
        if name:
            assert texts[name] in builder.refused(context)
            del settings[name]
        else:
            builder.image(context)


def test_a_base_image_is_not_invented(builder: Builder) -> None:
    """A name that is in no store and at no registry is an error with the name in it."""
    error = builder.refused(builder.context("FROM localhost:1/no/such:1\n"))
    assert "no/such" in error
