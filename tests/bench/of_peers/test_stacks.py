"""Stacks: their files, and that each is up before it is said to be, and down whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from peers.corner import Corner
from peers.daemons import Store
from peers.engines import LeftOutError
from peers.stacks import Stack, compose, compose_file, turn
from peers.starts import CommandError

Install = Callable[[str, str], Path]

STORE = Store("docker", "20.10", "image-7", None)


def stack(place: Corner, up: str, there: int) -> Stack:
    """A stack whose commands are shell scripts that say what they did."""

    def script(words: str) -> list[str]:
        return ["sh", "-c", f"{words} >>{place.run}/asked"]

    return Stack(
        "shell",
        "1",
        lambda directory, project, _: directory / project,
        lambda _, project: script(f"{up}; echo up {project}"),
        lambda _, project: script(f"echo down {project}"),
        lambda _: there,
    )


def asked(place: Corner) -> list[str]:
    """What was asked of it."""
    return (place.run / "asked").read_text().splitlines()


def test_a_stack_goes_up_and_down(place: Corner) -> None:
    """Both are timed."""
    took = turn(stack(place, "true", 3), place, 3)
    assert took.up > 0
    assert took.down > 0
    assert asked(place) == ["up anchor-bench-7-3", "down anchor-bench-7-3"]


def test_what_is_not_all_there_is_no_figure(place: Corner) -> None:
    """But it is brought down."""
    with pytest.raises(CommandError, match=r"^2 of 3 services are there$"):
        turn(stack(place, "true", 2), place, 3)
    assert asked(place) == ["up anchor-bench-7-3", "down anchor-bench-7-3"]


def test_what_fails_is_brought_down_too(place: Corner) -> None:
    """Some of it may have come up."""
    with pytest.raises(CommandError, match=r"^no such image$"):
        turn(stack(place, "echo no such image >&2; exit 1", 3), place, 3)
    assert asked(place) == ["down anchor-bench-7-3"]


def test_a_compose_file_has_a_service_for_each(tmp_path: Path) -> None:
    """The same program, which waits."""
    text = compose_file(tmp_path, "p", 2, "image-7").read_text()
    assert text == (
        "services:\n"
        '  s1:\n    image: image-7\n    command: ["/first", "wait"]\n'
        '  s2:\n    image: image-7\n    command: ["/first", "wait"]\n'
    )


def test_compose_says_on_which_engine_it_was_asked(install: Install, place: Corner) -> None:
    """A plugin, or a program of its own."""
    install("docker", "echo Docker Compose version v2.26.1")
    made = compose("docker compose", STORE, "docker", place)
    assert made.version == "2.26.1 on docker 20.10"
    file = made.write(place.directory, "p", 1)
    assert list(made.up(file, "p")) == ["docker", "compose", "-p", "p", "-f", str(file), "up", "-d"]
    assert list(made.down(file, "p"))[:2] == ["docker", "compose"]
    install("podman-compose", "echo podman-compose version 1.6.0")
    made = compose("podman-compose", Store("podman", "4", "i", None), "podman", place)
    assert list(made.down(file, "p")) == ["podman-compose", "-p", "p", "-f", str(file), "down"]


def test_compose_without_a_plugin_or_an_engine_is_left_out(install: Install, place: Corner) -> None:
    """Each with its reason."""
    install("docker", "echo unknown command: docker compose >&2; exit 1")
    with pytest.raises(LeftOutError, match="unknown command: docker compose"):
        compose("docker compose", STORE, "docker", place)
    with pytest.raises(LeftOutError, match=r"^not installed$"):
        compose("docker-compose", STORE, "docker", place)
    install("docker-compose", "echo 1.29.2")
    with pytest.raises(LeftOutError, match=r"^there is no docker that it could ask$"):
        compose("docker-compose", None, "docker", place)
