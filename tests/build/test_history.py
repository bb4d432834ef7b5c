"""An image's history."""

from __future__ import annotations

import pytest

from anchor_supervisor.build import instructions as say
from anchor_supervisor.build.configuration import empty
from anchor_supervisor.build.history import created_by, recorded
from anchor_supervisor.build.instructions import Heredoc
from anchor_supervisor.images.model import Platform

DIGEST = "sha256:" + "1" * 64
BASH = {"config": {"Shell": ["/bin/bash", "-c"], "WorkingDir": "/a/b"}}


def test_a_step_without_a_layer_says_so() -> None:
    """And one with a layer adds it; what was there stays as it was."""
    before = empty(Platform())
    first = recorded(before, "ENV a=b", created="2024-01-01T00:00:00Z")
    second = recorded(first, "RUN c", created=None, diff_id=DIGEST, comment="x")
    assert before["history"] == []
    assert second["history"] == [
        {"created_by": "ENV a=b", "created": "2024-01-01T00:00:00Z", "empty_layer": True},
        {"created_by": "RUN c", "comment": "x"},
    ]
    assert second["rootfs"] == {"type": "layers", "diff_ids": [DIGEST]}
    assert (first["rootfs"], second["created"]) == (before["rootfs"], "2024-01-01T00:00:00Z")


def test_a_base_of_wrong_types_is_built_on() -> None:
    """They count as missing."""
    found = recorded({"history": 1, "rootfs": []}, "RUN a", created=None, diff_id=DIGEST)
    assert found == {
        "history": [{"created_by": "RUN a"}],
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (say.Run("a && b"), "RUN |1 V=1 /bin/bash -c a && b"),
        (say.Run(("a", "b")), "RUN |1 V=1 a b"),
        (say.Run("<<E", (Heredoc("E", "a\n"),)), "RUN |1 V=1 /bin/bash -c a\n"),
        (say.Run("<<E", (Heredoc("E", "#!/a\n"),)), "RUN |1 V=1 #!/a\n"),
        (say.Env((("a", "b"), ("c", "d e"), ("f", ""))), 'ENV a=b c="d e" f='),
        (say.Label((("a", "it's"),)), 'LABEL a="it\'s"'),
        (say.Arg((("a", "b"), ("c", None))), "ARG a=b c"),
        (say.WorkDir("b"), "WORKDIR /a/b"),
        (say.Expose(("80", "1-2/udp")), "EXPOSE [80/tcp 1/udp 2/udp]"),
        (say.Volume(("/a", "/b")), "VOLUME [/a /b]"),
        (say.Cmd("a b"), 'CMD ["/bin/bash" "-c" "a b"]'),
        (say.Entrypoint(("a", 'b"')), 'ENTRYPOINT ["a" "b\\""]'),
        (say.Shell(("/bin/bash", "-c")), "SHELL [/bin/bash -c]"),
        (say.User("a"), "USER a"),
        (say.StopSignal("9"), "STOPSIGNAL 9"),
        (say.Maintainer("a b"), "MAINTAINER a b"),
        (say.OnBuild("RUN a", say.Run("a")), "ONBUILD RUN a"),
        (
            say.Copy(("a", "b"), "/c", "x", "1:2", "0755", ("*.o",), heredocs=(Heredoc("E"),)),
            "COPY --chown=1:2 --chmod=0755 --from=x --exclude=*.o a b <<E /c",
        ),
        (say.Add(("a",), "b", link=True), "ADD --link a b"),
        (say.HealthCheck(None, text="HEALTHCHECK NONE"), "HEALTHCHECK NONE"),
    ],
)
def test_every_step_is_named_as_docker_names_it(given: say.Instruction, expected: str) -> None:
    """Expanded, with the shell that a shell form is given to."""
    assert created_by(given, BASH, arguments="|1 V=1 ") == expected
