"""Which variables a stage sees."""

from __future__ import annotations

import pytest

from anchor_supervisor.build.arguments import (
    Scope,
    global_variables,
    platform_arguments,
    unknown,
)
from anchor_supervisor.build.dockerfile import parse
from anchor_supervisor.build.instructions import Arg
from anchor_supervisor.errors import FleetError
from anchor_supervisor.images.model import Platform

PLATFORMS = platform_arguments(Platform(), Platform("linux", "arm", "v7"), stage="x")


def declared(scope: Scope, *arguments: tuple[str, str | None]) -> Scope:
    """The scope after one ARG."""
    return scope.declare(Arg(arguments))[0]


def test_platforms_are_written_as_docker_writes_them() -> None:
    """Whole, and in parts; without a variant its part is empty."""
    assert PLATFORMS == {
        "BUILDPLATFORM": "linux/amd64",
        "BUILDOS": "linux",
        "BUILDARCH": "amd64",
        "BUILDVARIANT": "",
        "TARGETPLATFORM": "linux/arm/v7",
        "TARGETOS": "linux",
        "TARGETARCH": "arm",
        "TARGETVARIANT": "v7",
        "TARGETSTAGE": "x",
    }


def test_from_sees_the_platforms_and_the_arguments_before_it() -> None:
    """Each ARG sees those before it; what `--build-arg` gives wins over both."""
    file = parse("ARG V=1\nARG T=$V-$TARGETARCH N\nARG G=no\nFROM a", file="D")
    given = {"G": "yes", "TARGETARCH": "x", "OTHER": "1"}
    found = global_variables(file, given, PLATFORMS)
    assert {name: found.get(name) for name in ("V", "T", "N", "G", "TARGETOS", "OTHER")} == {
        "V": "1",
        "T": "1-x",
        "N": None,
        "G": "yes",
        "TARGETOS": "linux",
        "OTHER": None,
    }


def test_a_stage_sees_what_its_own_arg_asks_for() -> None:
    """Global ARGs, platforms and `--build-arg`s are invisible until then."""
    scope = Scope(given={"G": "given"}, globals_={"V": "1", "TARGETARCH": "arm"})
    assert scope.variables == {}
    scope = declared(scope, ("V", None), ("TARGETARCH", None), ("G", None), ("N", None))
    assert scope.variables == {"V": "1", "TARGETARCH": "arm", "G": "given"}


def test_defaults_and_what_wins_over_them() -> None:
    """`--build-arg`, then the stage's default, then the global value."""
    scope = Scope(given={"A": "given"}, globals_={"A": "global", "B": "global", "C": "global"})
    scope = declared(scope, ("A", "own"), ("B", "own"), ("C", None))
    assert scope.variables == {"A": "given", "B": "own", "C": "global"}


def test_an_env_wins_over_an_arg_of_its_name() -> None:
    """Whichever comes first."""
    scope = declared(Scope(environment={"A": "image"}), ("A", "arg"), ("B", "$A"))
    assert scope.variables == {"A": "image", "B": "image"}
    assert declared(Scope(), ("A", "arg")).with_environment({"A": "env"}).variables == {"A": "env"}


def test_arguments_see_those_before_them() -> None:
    """Also in one ARG; and one that is declared again without a value keeps what it has."""
    scope = declared(Scope(), ("A", "1"), ("B", '"$A 2"'), ("A", None))
    assert scope.variables == {"A": "1", "B": "1 2"}
    _, arg = Scope(given={"A": "x"}).declare(Arg((("A", "1"), ("B", "$A"), ("C", None))))
    assert arg.arguments == (("A", "x"), ("B", "x"), ("C", None))


def test_declaring_leaves_the_scope_before_as_it_was() -> None:
    """Stages that begin with the same one do not see each other's."""
    before = declared(Scope(), ("A", "1"))
    declared(before, ("B", "2"))
    assert before.variables == {"A": "1"}


def test_proxies_reach_a_run_without_an_arg() -> None:
    """And are seen by nothing else: no expansion, no cache, no history."""
    scope = Scope(given={"HTTP_PROXY": "p", "no_proxy": "n", "X": "x"})
    assert scope.run_environment == {"HTTP_PROXY": "p", "no_proxy": "n"}
    assert scope.variables == scope.cache_variables == {}
    assert scope.history_prefix() == ""
    assert declared(scope, ("HTTP_PROXY", None)).cache_variables == {"HTTP_PROXY": "p"}
    assert scope.with_environment({"no_proxy": "e"}).run_environment["no_proxy"] == "e"


def test_the_history_tells_the_arguments() -> None:
    """As docker writes it: how many, and each with its value."""
    scope = declared(Scope(environment={"C": "3"}), ("B", "2"), ("A", None), ("C", "1"))
    assert scope.history_prefix() == "|3 B=2 A= C=3 "


def test_what_no_arg_asks_for_is_known() -> None:
    """But for what needs no ARG; one inside an ONBUILD counts."""
    file = parse("ARG A\nFROM a\nARG B=1\nONBUILD ARG C\n", file="D")
    given = dict.fromkeys(["A", "B", "C", "Z", "Y", "HTTPS_PROXY", "TARGETARCH"], "")
    assert unknown(file, given) == ("Y", "Z")


def test_a_wrong_default_has_its_line() -> None:
    """It is expanded when it is declared, and not when something else gives the value."""
    arg = Arg((("A", "${B"),), line=4)
    with pytest.raises(FleetError) as caught:
        Scope().declare(arg, file="D")
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == ("D", 4)
    assert Scope(given={"A": "x"}).declare(arg)[0].variables == {"A": "x"}
