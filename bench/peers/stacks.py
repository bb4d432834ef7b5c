"""A stack of idle services brought up and down by one command each, as a person types it.

The same services for everybody: our static program, which waits, and ends when it is asked to; the
network that each makes by default.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from fleets import stack_file
from measure import say
from peers.corner import Corner
from peers.daemons import Store, running
from peers.engines import LeftOutError, installed, version_of
from peers.party import COMPOSES, Party
from peers.starts import Argv, CommandError, ask
from programs import command

COMPOSE: Final = """services:
{services}"""
SERVICE: Final = """  s{number}:
    image: {image}
    command: ["/first", "wait"]
"""


@frozen
class Stack:
    """Whoever brings stacks up: its name and version, its file, and its two commands.

    `there` counts the containers of a stack, for a look from outside.
    """

    name: str
    version: str
    write: Callable[[Path, str, int], Path]
    up: Callable[[Path, str], Argv]
    down: Callable[[Path, str], Argv]
    there: Callable[[str], int]


@frozen
class Turn:
    """Seconds that a stack took up and down."""

    up: float
    down: float


def turn(stack: Stack, place: Corner, size: int) -> Turn:
    """Bring a stack of this size up and down; nothing of it is left. Raises CommandError."""
    project = f"{place.token}-{size}"
    file = stack.write(place.directory, project, size)
    try:
        up = _seconds(stack.up(file, project), place)
        _see(stack, project, size)
    except BaseException:
        _end(stack, file, project, place)
        raise
    return Turn(up, _seconds(stack.down(file, project), place))


def _see(stack: Stack, project: str, size: int) -> None:
    found = stack.there(project)
    if found != size:
        message = f"{found} of {size} services are there"
        raise CommandError(message)


def _end(stack: Stack, file: Path, project: str, place: Corner) -> None:
    try:
        ask(stack.down(file, project), place.run, shielded=True)
    except CommandError:
        return  # it has failed before: its engine removes what there is


def _seconds(argv: Argv, place: Corner) -> float:
    begun, ended, _ = ask(argv, place.run)
    return (ended - begun) / 1e9


def compose_file(directory: Path, project: str, size: int, image: str) -> Path:
    """Write what compose reads."""
    services = (SERVICE.format(number=number, image=image) for number in range(1, size + 1))
    file = directory / f"{project}.yml"
    file.write_text(COMPOSE.format(services="".join(services)))
    return file


def tell(party: Party) -> None:
    """Ask everybody who can bring a stack up."""
    for name, stack in everybody(party):
        if isinstance(stack, LeftOutError):
            party.missing(name, stack)
            continue
        for size in party.options.stacks:
            say(f"stack: {size} services, {name}")
            try:
                turns = [turn(stack, party.place, size) for _ in range(party.options.times)]
            except CommandError as failed:
                party.missing(f"{name}, {size} services", failed)
                break
            facts: dict[str, Any] = {"who": name, "peer": name, "size": size}
            facts["version"] = stack.version
            up, down = [one.up for one in turns], [one.down for one in turns]
            party.results.samples(f"{name}: {size} services up", up, measured="up", **facts)
            party.results.samples(f"{name}: {size} services down", down, measured="down", **facts)


def everybody(party: Party) -> Iterator[tuple[str, Stack | LeftOutError]]:
    """Whoever is wanted, with its engine; or why it is left out."""
    if party.wanted("anchor"):
        yield "anchor-supervise --detach", anchor(party.place)
    for engine, names in COMPOSES.items():
        for name in filter(party.wanted, names):
            try:
                yield name, compose(name, party.stores.get(engine), engine, party.place)
            except LeftOutError as out:
                yield name, out


def anchor(place: Corner) -> Stack:
    """A fleet of ours."""

    def there(project: str) -> int:
        _, _, said = ask(command("main", "ps", "--json", "-p", project), place.run)
        return sum(one["state"] == "running" for one in json.loads(said))

    return Stack(
        "anchor-supervise --detach",
        version_of(command("main", "--version")),
        stack_file,
        lambda file, _: command("supervise", "--detach", str(file)),
        lambda file, _: command("main", "down", "-f", str(file)),
        there,
    )


def compose(name: str, store: Store | None, engine: str, place: Corner) -> Stack:
    """A program that reads compose files. Raises LeftOutError."""
    words = name.split()
    version = installed(words[0], ask=(*words[1:], "version"))
    if store is None:
        message = f"there is no {engine} that it could ask"
        raise LeftOutError(message)

    def there(project: str) -> int:
        return len(running(store, project, place))

    return Stack(
        name,
        f"{version} on {store.program} {store.version}",
        lambda directory, project, size: compose_file(directory, project, size, store.image),
        lambda file, project: [*words, "-p", project, "-f", str(file), "up", "-d"],
        lambda file, project: [*words, "-p", project, "-f", str(file), "down"],
        there,
    )
