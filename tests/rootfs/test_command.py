"""The command: entrypoint and command joined, PATH walked, a first environment."""

from __future__ import annotations

import pytest

from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.model import Container, Image, ImageKind
from anchor_supervisor.rootfs.command import DEFAULT_PATH, argv, candidates, environment

HOST = Image(ImageKind.HOST, "host")


def test_entrypoint_and_command_follow_each_other() -> None:
    """The command is the entrypoint's arguments, as docker has it."""
    container = Container("web", HOST, entrypoint=("run", "-x"), command=("serve",))
    assert argv(container) == ("run", "-x", "serve")


@pytest.mark.parametrize(
    ("entrypoint", "command"), [(None, None), ((), ()), (None, ("",)), (("", "x"), None)]
)
def test_nothing_to_run_is_the_files_mistake(
    entrypoint: tuple[str, ...] | None, command: tuple[str, ...] | None
) -> None:
    """A container without a program names itself and the key to write."""
    with pytest.raises(FleetError) as refused:
        argv(Container("web", HOST, entrypoint=entrypoint, command=command))
    assert refused.value.problems[0].key == "containers.web.command"


def test_a_bare_name_is_looked_for_along_path() -> None:
    """Every absolute directory of PATH is tried in order, each once."""
    assert candidates("sh", "/usr/bin:/bin/:/usr/bin") == ("/usr/bin/sh", "/bin/sh")


def test_relative_entries_of_path_are_passed_over() -> None:
    """What runs does not depend on the working directory."""
    assert candidates("sh", ".::bin:/bin") == ("/bin/sh",)


@pytest.mark.parametrize("program", ["/bin/sh", "./run", "bin/run"])
def test_a_name_with_a_slash_is_taken_as_it_is(program: str) -> None:
    """A path is not searched for."""
    assert candidates(program, "/usr/bin") == (program,)


def test_the_environment_has_what_every_program_expects() -> None:
    """PATH, HOME and HOSTNAME are there; TERM only with a terminal."""
    container = Container("web", HOST)
    plain = environment(container, hostname="web", home="/root")
    assert plain == {"PATH": DEFAULT_PATH, "HOME": "/root", "HOSTNAME": "web"}
    assert environment(container, hostname="web", home="/", terminal=True)["TERM"] == "xterm"


def test_the_containers_own_variables_win() -> None:
    """A variable of the file replaces the default of the same name."""
    container = Container("web", HOST, environment={"PATH": "/x", "A": "1"})
    found = environment(container, hostname="web", home="/")
    assert (found["PATH"], found["A"]) == ("/x", "1")
