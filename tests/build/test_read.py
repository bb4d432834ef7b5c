"""One line of a Dockerfile read as the instruction it is."""

from __future__ import annotations

import pytest

from anchor_supervisor.build import instructions as say
from anchor_supervisor.build import lines, read
from anchor_supervisor.build.instructions import Heredoc, MountKind, RunMount
from anchor_supervisor.fleet.wording import Mistake

SECOND = 10**9


def instruction(text: str) -> say.Instruction | say.From | list[str]:
    """What one line says; or everything that is wrong with it."""
    (line,) = lines.split(text, file="D").lines
    found, mistakes = read.instruction(line)
    if mistakes:
        return [mistake.message for mistake in mistakes]
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM debian", say.From("debian")),
        ("from --platform=$P a:b@c as My.Stage-1", say.From("a:b@c", "$P", "my.stage-1")),
        ("RUN a && b", say.Run("a && b")),
        ('RUN ["a", "b"]', say.Run(("a", "b"))),
        ("RUN --network=none --security=sandbox a", say.Run("a", network=say.Network.NONE)),
        ("RUN -- --a", say.Run("--a")),
        (
            "RUN --mount=target=/a --mount=type=tmpfs,target=/b x",
            say.Run(
                "x",
                mounts=(
                    RunMount("", target="/a"),
                    RunMount("", MountKind.TMPFS, target="/b", read_only=False),
                ),
            ),
        ),
        ("RUN cat <<E\na\nE", say.Run("cat <<E", heredocs=(Heredoc("E", "a\n"),))),
        ("COPY a b /c/", say.Copy(("a", "b"), "/c/")),
        ('COPY ["a b", "/c d"]', say.Copy(("a b",), "/c d")),
        (
            "COPY --from=0 --chown=a:b --chmod=0755 --link --parents --exclude=x --exclude=y a b",
            say.Copy(("a",), "b", "0", "a:b", "0755", ("x", "y"), link=True, parents=True),
        ),
        ("COPY <<E a /b\nx\nE", say.Copy(("a",), "/b", heredocs=(Heredoc("E", "x\n"),))),
        ("ADD a.tar /b", say.Add(("a.tar",), "/b")),
        ("ADD --unpack=false a.tar /b", say.Add(("a.tar",), "/b", unpack=False)),
        ("ENV a=b c='d e' f=", say.Env((("a", "b"), ("c", "'d e'"), ("f", "")))),
        ("ENV a  b c  d", say.Env((("a", "b c  d"),))),
        ("ENV a b=c", say.Env((("a", "b=c"),))),
        ('LABEL "a b"=c', say.Label((('"a b"', "c"),))),
        ("ARG a b=c d=", say.Arg((("a", None), ("b", "c"), ("d", "")))),
        ("WORKDIR /a b", say.WorkDir("/a b")),
        ("USER a:b", say.User("a:b")),
        ("EXPOSE 80  $P/udp", say.Expose(("80", "$P/udp"))),
        ("VOLUME /a /b", say.Volume(("/a", "/b"))),
        ('VOLUME ["/a b"]', say.Volume(("/a b",))),
        ("ENTRYPOINT []", say.Entrypoint(())),
        ("CMD echo hi", say.Cmd("echo hi")),
        ("CMD ['echo']", say.Cmd("['echo']")),
        ('SHELL ["/bin/bash", "-c"]', say.Shell(("/bin/bash", "-c"))),
        ("STOPSIGNAL 9", say.StopSignal("9")),
        ("HEALTHCHECK none", say.HealthCheck(None)),
        ('HEALTHCHECK CMD ["a", "b"]', say.HealthCheck(("a", "b"))),
        (
            "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=2m --retries=5 cmd a --b",
            say.HealthCheck("a --b", 90 * SECOND, 1_500_000_000, 120 * SECOND, retries=5),
        ),
        (
            "HEALTHCHECK --start-period=0 --start-interval=300ms CMD a",
            say.HealthCheck("a", start_interval=300_000_000),
        ),
        ("ONBUILD COPY a b", say.OnBuild("COPY a b", say.Copy(("a",), "b"))),
        (
            "ONBUILD RUN <<E\na\nE",
            say.OnBuild("RUN <<E\na\nE", say.Run("<<E", (Heredoc("E", "a\n"),))),
        ),
        ("MAINTAINER some one", say.Maintainer("some one")),
    ],
)
def test_every_instruction_is_read_as_docker_reads_it(
    text: str, expected: say.Instruction | say.From
) -> None:
    """In any case, in each of its forms."""
    assert instruction(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FRM a", "there is no instruction `FRM`"),
        ("FROM", "`FROM` needs an image"),
        ("FROM a b", "`FROM` takes an image, or an image and a name"),
        ("FROM a AS 1", "`1` cannot be a stage's name"),
        ("RUN", "`RUN` needs a command"),
        ("RUN []", "`RUN` needs a command"),
        (
            "RUN --network=nowhere a",
            "`--network` is one of `default`, `none`, `host`, not `nowhere`",
        ),
        ("RUN --security=insecure a", "`RUN --security=insecure` is refused"),
        ("RUN --security=x a", "`--security` is `sandbox`, not `x`"),
        ("COPY", "`COPY` needs a source and a destination"),
        ("COPY a", "`COPY` needs a source and a destination"),
        ("COPY []", "`COPY` needs a source and a destination"),
        ("COPY a <<E\nE", "`COPY` cannot have a heredoc as its destination"),
        ("COPY <<../a /b/\n../a", "the heredoc `../a` is not a file's name"),
        ("COPY <<.. /b/\n..", "the heredoc `..` is not a file's name"),
        ("COPY --from=a <<E /b\nE", "`COPY --from` takes no heredoc"),
        ("COPY --from=$a b c", "variables are not expanded in `--from=$a`"),
        ("ADD https://a/b /c", "`ADD` downloads nothing: `https://a/b`"),
        ("ADD git@a:b.git /c", "`ADD` downloads nothing: `git@a:b.git`"),
        ("ENV", "`ENV` needs an argument"),
        ("ENV a", "`ENV` `a` has no value"),
        ("ENV a=b c", "`c` is not `name=value`"),
        ("ENV =b", "a name of `ENV` is empty"),
        ("LABEL a", "`LABEL` `a` has no value"),
        ("ARG", "`ARG` needs a name"),
        ("ARG =a", "a name of `ARG` is empty"),
        ('VOLUME [""]', "a path of `VOLUME` is empty"),
        ("VOLUME []", "a path of `VOLUME` is empty"),
        ("CMD", "`CMD` needs a command"),
        ("SHELL bash", "`SHELL` takes the exec form only"),
        ("SHELL []", "`SHELL` needs a command"),
        ("HEALTHCHECK", "`HEALTHCHECK` needs `CMD command` or `NONE`"),
        ("HEALTHCHECK NONE a", "`HEALTHCHECK NONE` takes nothing else"),
        ("HEALTHCHECK CMD", "`HEALTHCHECK CMD` needs a command"),
        ("HEALTHCHECK CMD []", "`HEALTHCHECK` needs a command"),
        ("HEALTHCHECK curl a", "`HEALTHCHECK` takes `CMD` or `NONE`, not `curl`"),
        ("HEALTHCHECK --interval=5 CMD a", "`5` is not a duration"),
        ("HEALTHCHECK --interval=1us CMD a", "`1us` is not between 1ms and 290 years"),
        ("HEALTHCHECK --interval=9999999h CMD a", "`9999999h` is not between 1ms and 290 years"),
        ("HEALTHCHECK --retries=-1 CMD a", "`--retries` is a whole number, not `-1`"),
        ("ONBUILD", "`ONBUILD` needs an instruction"),
        ("ONBUILD ONBUILD RUN a", "`ONBUILD` cannot be triggered by ONBUILD"),
        ("ONBUILD FROM a", "`FROM` cannot be triggered by ONBUILD"),
        ("ONBUILD RNU a", "there is no instruction `RNU`"),
        ("CMD [1]", "the exec form takes strings only"),
    ],
)
def test_every_wrong_line_is_named(text: str, message: str) -> None:
    """By what it lacks, or by what it holds."""
    assert instruction(text) == [message]


@pytest.mark.parametrize(
    "given",
    [
        say.Run("make <<E", (Heredoc("E", "a\n"),)),
        say.Copy(("a",), "b"),
        say.Env((("a", "b"),)),
    ],
)
def test_a_trigger_is_read_back(given: say.Instruction) -> None:
    """What ONBUILD keeps as text is the same instruction when it is its turn."""
    spelled = {"RUN": "RUN make <<E\na\nE", "COPY": "copy a b", "ENV": "ENV a=b"}
    said = instruction(f"ONBUILD {spelled[given.keyword]}")
    assert isinstance(said, say.OnBuild)
    assert read.trigger(said.trigger) == said.instruction == given


@pytest.mark.parametrize(
    "text", ["", "RUN a\nRUN b", "RNU a", "FROM a", "RUN cat <<E\n", "RUN --x a"]
)
def test_a_trigger_is_one_instruction(text: str) -> None:
    """It comes from an image, so it may be anything."""
    with pytest.raises(Mistake):
        read.trigger(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, 0),
        ("0", 0),
        ("0s", 0),
        ("1h1m1s1ms", 3661 * SECOND + 10**6),
        ("1.5s", 1_500_000_000),
        ("1500us", 1_500_000),
        ("2000µs", 2_000_000),
        ("1.s", SECOND),
        ("5s1m", 65 * SECOND),
    ],
)
def test_times_are_gos(text: str | None, expected: int) -> None:
    """Units in any order, fractions, nanoseconds."""
    assert read.nanoseconds(text) == expected
