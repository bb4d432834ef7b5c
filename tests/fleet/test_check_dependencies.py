"""Dependencies that could never be met."""

from __future__ import annotations

import graphlib
import itertools

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.check_dependencies import dependency_findings
from anchor_supervisor.fleet.model import Condition, Container, Fleet, Image, ImageKind
from fleet_text import container, messages, problems, problems_in

DB = '[containers.db]\nimage = "host"\ncommand = ["x"]\n'


def test_an_unknown_container_gets_the_nearest_name() -> None:
    """The place is the dependency's own line."""
    found = problems('depends_on = { bd = "started", nobody = "started" }', DB)
    assert [(one.line, one.key, one.message, one.hint) for one in found] == [
        (4, "containers.web.depends_on.bd", "there is no container `bd`", "did you mean `db`?"),
        (4, "containers.web.depends_on.nobody", "there is no container `nobody`", None),
    ]


def test_a_state_has_to_be_reachable() -> None:
    """`healthy` needs a health check, `completed` a job."""
    assert messages('depends_on = { db = "healthy" }', DB) == [
        "`db` has no health check, so it never becomes `healthy`"
    ]
    assert messages('depends_on = { db = "completed" }', DB) == [
        "`db` is a service, so it never becomes `completed`"
    ]
    found = problems('depends_on = { db = "healthy" }', DB + 'kind = "job"\n')
    assert found[0].hint == "`completed`: it is a job"


def test_a_startup_probe_makes_healthy_as_well() -> None:
    """Where there is no other."""
    probed = DB + "startup = { tcp = 80 }\n"
    assert container('depends_on = { db = "healthy" }', probed).depends_on


def test_a_health_check_may_come_from_an_image_of_the_store() -> None:
    """What is not known yet is no mistake; `health = "none"` makes it one."""
    wanted = DB.replace("host", "postgres")
    assert container('depends_on = { db = "healthy" }', wanted).depends_on
    assert messages('depends_on = { db = "healthy" }', wanted + 'health = "none"\n') == [
        "`db` has no health check, so it never becomes `healthy`"
    ]


def test_a_wrong_health_check_is_not_told_as_a_missing_one() -> None:
    """The one mistake is the probe's."""
    found = messages('depends_on = { db = "healthy" }', DB + "health = { tcp = 0 }\n")
    assert found == ["`0`: `0` is not between 1 and 65535"]


def test_a_circle_is_shown_in_the_order_of_waiting() -> None:
    """From the first of the file, each waiting for the next."""
    text = "".join(
        f'[containers.{name}]\nimage = "x"\ndepends_on = ["{wanted}"]\n'
        for name, wanted in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "d"), ("e", "a"))
    )
    found = problems_in(text)
    assert [(one.line, one.message) for one in found] == [
        (3, "dependencies in a circle: `a` -> `b` -> `c` -> `a`"),
        (12, "dependencies in a circle: `d` -> `d`"),
    ]


def test_self_dependency() -> None:
    """The shortest circle."""
    assert messages('depends_on = ["web"]') == ["dependencies in a circle: `web` -> `web`"]


@given(st.lists(st.lists(st.integers(0, 5), max_size=3, unique=True), min_size=1, max_size=6))
def test_circles_are_found_exactly_where_there_are_any(wanted: list[list[int]]) -> None:
    """A fleet without findings can be put in order; every circle shown is one."""
    names = [f"c{number}" for number in range(len(wanted))]
    blank = Container("x", Image(ImageKind.HOST, "host"))
    containers = {
        name: evolve(
            blank,
            name=name,
            depends_on={f"c{one}": Condition.STARTED for one in ones if one < len(wanted)},
        )
        for name, ones in zip(names, wanted, strict=True)
    }
    found = list(dependency_findings(Fleet("f", containers, {})))
    graph = {name: set(one.depends_on) for name, one in containers.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError:
        assert found
    else:
        assert not found
    for finding in found:
        circle = finding.message.partition(": ")[2].replace("`", "").split(" -> ")
        assert circle[0] == circle[-1]
        assert all(
            after in containers[before].depends_on for before, after in itertools.pairwise(circle)
        )
