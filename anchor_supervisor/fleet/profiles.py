"""Which containers are there this time: those without profiles, and those of the chosen ones.

A container that is left out is read and checked as any other; only its place on this machine, its
ports and addresses, may be another's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Container
from anchor_supervisor.fleet.sheet import Table
from anchor_supervisor.fleet.values import filled_text
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show
from anchor_supervisor.patterns import pattern

EVERY: Final = "*"
"""Chosen instead of a name: all of them."""

_NAME: Final = pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

Containers = Mapping[str, Container]


def profiles(table: Table) -> tuple[str, ...]:
    """Read `profiles` of a container."""
    names = table.items("profiles", _name)
    if len(set(names)) < len(names):
        table.sheet.report(table.at("profiles"), "a profile is listed twice")
    return names


def _name(value: object) -> str:
    name = filled_text(value)
    if _NAME.fullmatch(name) is None:
        hint = "letters, digits, `_`, `.` and `-`, at most 63"
        message = f"{show(name)} cannot name a profile"
        raise Mistake(message, hint=hint)
    return name


def active(containers: Containers, chosen: Sequence[str]) -> dict[str, Container]:
    """Return the containers that are there when these profiles are chosen."""
    wanted = set(chosen)
    return {
        name: one
        for name, one in containers.items()
        if not one.profiles or EVERY in wanted or wanted.intersection(one.profiles)
    }


def profile_findings(containers: Containers, chosen: Sequence[str]) -> Iterator[Finding]:
    """Yield what is wrong with this choice among all containers of the files."""
    yield from _choice(containers, chosen)
    yield from _dependencies(containers, chosen)


def _choice(containers: Containers, chosen: Sequence[str]) -> Iterator[Finding]:
    """Yield names that no container has; say where nothing is left to run."""
    known = sorted({profile for one in containers.values() for profile in one.profiles})
    listed = ", ".join(f"`{name}`" for name in known)
    unknown = [name for name in dict.fromkeys(chosen) if name not in known and name != EVERY]
    for name in unknown:
        near = did_you_mean(name, known)
        there = f"there are {listed}" if known else "no container has `profiles`"
        hint = f"{near} {there}" if near else there
        yield Finding("", f"there is no profile {show(name)}", hint)
    if containers and not unknown and not active(containers, chosen):
        hint = f"choose with `--profile`: {listed}"
        message = "every container has a profile, and none of them is chosen"
        because = tuple(path_of("containers", name, "profiles") for name in containers)
        yield Finding("", message, hint, because)


def _dependencies(containers: Containers, chosen: Sequence[str]) -> Iterator[Finding]:
    """Yield every dependency of a container that is there on one that is not."""
    there = active(containers, chosen)
    for name, one in there.items():
        for wanted in one.depends_on:
            if wanted in containers and wanted not in there:
                options = containers[wanted].profiles
                listed = " or ".join(f"`{profile}`" for profile in options)
                yield Finding(
                    path_of("containers", name, "depends_on", wanted),
                    f"`{wanted}` is only there with profile {listed}",
                    f"choose it with `--profile {options[0]}`, or give `{name}` the same profile",
                    because=(path_of("containers", wanted, "profiles"),),
                )
