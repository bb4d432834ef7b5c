"""The flags of instructions."""

from __future__ import annotations

import pytest

from anchor_supervisor.build.flags import KNOWN, read_flags


def test_flags_are_read_by_kind() -> None:
    """Once, several times, or on and off."""
    flags, mistakes = read_flags(
        "COPY", ("--from=a", "--exclude=x", "--exclude=y=z", "--link", "--parents=FALSE")
    )
    assert mistakes == []
    assert (flags.text("from"), flags.texts("exclude")) == ("a", ("x", "y=z"))
    assert (flags.switch("link"), flags.switch("parents")) == (True, False)
    assert (flags.text("chown"), flags.texts("mount"), flags.switch("unpack")) == (None, (), None)


@pytest.mark.parametrize(
    ("instruction", "flag", "message", "hint"),
    [
        ("COPY", "--form=a", "`COPY` has no flag `--form`", "did you mean `--from`?"),
        ("ENV", "--x", "`ENV` has no flag `--x`", None),
        ("COPY", "--chown", "`--chown` needs a value", "`--chown=...`"),
        ("COPY", "--chown=", "`--chown` needs a value", "`--chown=...`"),
        ("COPY", "--link=1", "`--link` is `true` or `false`, not `1`", None),
        ("ADD", "--keep-git-dir", "`ADD --keep-git-dir` is not supported yet", None),
        ("RUN", "--device=a", "`RUN --device` is not supported yet", None),
    ],
)
def test_wrong_flags_are_named(instruction: str, flag: str, message: str, hint: str | None) -> None:
    """With the nearest one, or with what it lacks."""
    _, (mistake,) = read_flags(instruction, (flag,))
    assert (mistake.message, mistake.hint) == (message, hint)


def test_every_wrong_flag_is_reported() -> None:
    """Not only the first; and the same one twice is wrong as well."""
    flags, mistakes = read_flags("FROM", ("--a", "--platform=x", "--b", "--platform=y"))
    assert [mistake.message for mistake in mistakes] == [
        "`FROM` has no flag `--a`",
        "`FROM` has no flag `--b`",
        "`--platform` is there twice",
    ]
    assert flags.text("platform") == "x"


def test_every_kind_is_known() -> None:
    """A kind that nothing reads would let anything pass."""
    kinds = {kind for flags in KNOWN.values() for kind in flags.values()}
    assert kinds == {"text", "texts", "switch", "later"}
