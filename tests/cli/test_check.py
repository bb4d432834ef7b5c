"""`--check` and `--plan`: said to a person and to a machine."""

from __future__ import annotations

import json

import pytest

from anchor_supervisor.cli import check as program
from anchor_supervisor.errors import FleetError, Problem, UnfitHostError
from anchor_supervisor.fleet.model import Container, Fleet, Image, ImageKind
from anchor_supervisor.runtime import preflight
from anchor_supervisor.runtime.explain import FleetPlan, InstancePlan
from anchor_supervisor.runtime.preflight import Findings

WEB = Container("web", Image(ImageKind.HOST, "host"), replicas=3, command=("true",))
SHOP = Fleet("shop", {"web": WEB}, {})


def found(
    monkeypatch: pytest.MonkeyPatch, findings: Findings, programs: Exception | None = None
) -> None:
    """Let the look at the machine have found this."""

    def require(_: Fleet) -> None:
        if programs is not None:
            raise programs

    monkeypatch.setattr(preflight, "look", lambda _: findings)
    monkeypatch.setattr(preflight, "require_programs_on_disk", require)


def test_all_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard output, and 0."""
    found(monkeypatch, Findings())
    assert program.check(SHOP, as_json=False) == 0
    said = capsys.readouterr()
    assert said.out == "fleet `shop` is right: 3 containers, and this machine can run them\n"
    assert said.err == ""


def test_warnings_do_not_refuse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They go to standard error, or into the document."""
    found(monkeypatch, Findings(warnings=("it runs without `memory`",)))
    assert program.check(SHOP, as_json=False) == 0
    assert capsys.readouterr().err == "warning: it runs without `memory`\n"
    assert program.check(SHOP, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "fleet": "shop",
        "containers": 3,
        "warnings": ["it runs without `memory`"],
        "absent_images": {},
    }


def test_what_stands_in_the_way_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a start would: the file's fault is 2, the machine's is 3."""
    problem = Problem("there is no `./conf`")
    found(monkeypatch, Findings(wrong=(problem,)))
    with pytest.raises(FleetError) as wrong:
        program.check(SHOP, as_json=False)
    assert wrong.value.exit_code == 2
    found(monkeypatch, Findings(unfit=(problem,)))
    with pytest.raises(UnfitHostError) as unfit:
        program.check(SHOP, as_json=False)
    assert unfit.value.exit_code == 3
    found(monkeypatch, Findings(), FleetError([Problem("`serve` was not found")]))
    with pytest.raises(FleetError, match="`serve` was not found"):
        program.check(SHOP, as_json=False)


def test_a_plan_is_numbered_for_people_and_whole_for_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is shared, what is made once, what is done at every start."""
    one = InstancePlan("web.1", ("`db` healthy",), ("new namespaces: user",), ("join", "execute"))
    monkeypatch.setattr(program, "explain", lambda _: FleetPlan("shop", ("make a cgroup",), (one,)))
    assert program.plan(SHOP, as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "fleet shop",
        "  make a cgroup",
        "",
        "container web.1",
        "  wait until `db` healthy",
        "  once:",
        "    new namespaces: user",
        "  at every start:",
        "     1. join",
        "     2. execute",
    ]
    assert program.plan(SHOP, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["fleet"] == "shop"
    assert document["instances"][0]["steps"] == ["join", "execute"]
