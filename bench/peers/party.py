"""Who takes part: everybody that is installed, wanted and able to run one container."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, final

from attrs import define, field

from measure import Results
from peers.corner import Corner
from peers.daemons import Store, docker, podman
from peers.engines import MAKERS, LeftOutError, Maker
from peers.starts import CommandError, Engine, each

COMPOSES: Final = {"podman": ("podman-compose",), "docker": ("docker compose", "docker-compose")}
"""What asks an engine with a store."""

NAMES: Final = (
    *MAKERS,
    *(name for engine, names in COMPOSES.items() for name in (engine, *names)),
    "supervisord",
)


@final
@define
class Party:
    """Everybody who is asked, and where the answers go."""

    options: argparse.Namespace
    results: Results
    place: Corner
    image: Path
    engines: list[Engine] = field(factory=list, init=False)
    stores: dict[str, Store] = field(factory=dict, init=False)

    def gather(self) -> None:
        """Set up whoever is installed and wanted; each runs one container, which is not timed."""
        candidates: list[Engine] = []
        for name, make in MAKERS.items():
            candidates += self._made(name, make) if self.wanted(name) else ()
        private = self.options.with_dockerd
        setups: Mapping[str, Callable[[], Store]] = {
            "podman": lambda: podman(self.place, self.image),
            "docker": lambda: docker(self.place, self.image, private=private),
        }
        for name, setup in setups.items():
            if self.wanted(name, *COMPOSES[name]) and self._stored(name, setup):
                candidates += self.stores[name].engines() if self.wanted(name) else ()
        self.engines = [one for one in candidates if self._able(one)]

    def wanted(self, *names: str) -> bool:
        """Whether one of these is to be asked."""
        return any(name in self.options.only for name in names)

    def _made(self, name: str, make: Maker) -> list[Engine]:
        try:
            return list(make(self.place, self.image))
        except LeftOutError as out:
            self.missing(name, out)
            return []

    def _stored(self, name: str, setup: Callable[[], Store]) -> bool:
        try:
            self.stores[name] = setup()
        except LeftOutError as out:
            self.missing(name, out)
            return False
        return True

    def _able(self, engine: Engine) -> bool:
        try:
            each(engine, self.place, [self.name(engine, "try", 0)])
        except CommandError as failed:
            self.missing(engine.name, failed)
            return False
        return True

    def missing(self, what: str, why: Exception) -> None:
        """Tell what is not among the figures, and why."""
        self.results.missing(what, str(why), peer=what)

    def name(self, engine: Engine, work: str, number: int) -> str:
        """A container's name; none is the beginning of another's."""
        words = engine.name.replace(",", "").replace(" ", "-")
        return f"{self.place.token}-{words}-{work}-{number:05}"
