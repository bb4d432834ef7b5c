"""Names of fleets, containers, networks, volumes and hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.check_names import is_host_name
from fleet_text import HEAD, container, messages, problems_in, read


@pytest.mark.parametrize("name", ["a", "web", "web-2", "9", "x" * 58])
def test_names_that_work_everywhere(name: str) -> None:
    """As a host name, a file name and a word of the command line."""
    text = f'[fleet]\nname = "f"\n[containers.{name}]\nimage = "x"\n[networks.{name}]\n'
    assert name in read(text).containers


@pytest.mark.parametrize(
    "name", ["", "Web", "web_2", "web.2", "-a", "a-", "a/b", "..", "a b", "é", "x" * 59, "a\n"]
)
def test_names_that_do_not_are_refused(name: str) -> None:
    """A dot is a replica's, an underscore no host name's, a slash leads elsewhere."""
    quoted = f'"{name}"'.replace("\n", "\\n")
    found = problems_in(f'[containers.{quoted}]\nimage = "x"\n[networks.{quoted}]\n')
    assert [one.message.partition("` ")[2] for one in found] == [
        "cannot name a container",
        "cannot name a network",
    ]


def test_a_better_name_is_proposed() -> None:
    """Where lower case and dashes are enough."""
    found = problems_in('[containers.My_App]\nimage = "x"\n')
    assert found[0].hint == "`my-app` would do"


@pytest.mark.parametrize("name", ["Shop", "", "-a", "a_b", "x" * 32, "a\n"])
def test_a_fleets_name_is_short_and_plain(name: str) -> None:
    """It is a directory under /run/anchor and part of what the kernel's objects are called."""
    quoted = name.replace("\n", "\\n")
    found = problems_in(f'[fleet]\nname = "{quoted}"\n{HEAD}')
    assert [one.key for one in found] == ["fleet.name"]


def test_words_with_a_meaning_are_no_names() -> None:
    """`host` and `none` among networks, `tmpfs` among volumes."""
    after = "[networks.host]\n[networks.none]\n[volumes.tmpfs]\n"
    assert messages("", after) == [
        "`host` already means something as a network",
        "`none` already means something as a network",
        "`tmpfs` already means something as a volume",
    ]


def test_a_volumes_name_is_a_file_name() -> None:
    """What docker allows; no path."""
    assert read(f'{HEAD}[volumes."My_data.1"]').volumes == {"My_data.1"}
    assert messages("", '[volumes."a/b"]\n[volumes.".."]') == [
        "`a/b` cannot name a volume",
        "`..` cannot name a volume",
    ]


def test_host_names_have_labels() -> None:
    """In `hostname`, aliases and `extra_hosts`."""
    assert container('hostname = "a.b-c.d"').hostname == "a.b-c.d"
    assert messages('hostname = "a..b"') == ["`a..b` is not a host name"]
    assert messages(f'hostname = "{"x" * 40}.{"x" * 40}"') == [
        f"`{'x' * 40}.{'x' * 39}…` is not a host name"
    ]
    assert messages('extra_hosts = { "a b" = "10.0.0.1" }') == ["`a b` is not a host name"]
    assert messages('networks = { default = { aliases = ["x\\n10.0.0.1 y"] } }') == [
        "alias `x\\n10.0.0.1 y` is not a host name"
    ]


@given(st.text(alphabet="ab-._ \n/\0é1", max_size=12))
def test_a_host_name_is_one_line_of_labels(text: str) -> None:
    """Whatever passes has letters, digits and dashes between its dots, and nothing else."""
    if is_host_name(text):
        assert all(label.strip("-") == label != "" for label in text.split("."))
        assert set(text) <= set("ab1-.")
