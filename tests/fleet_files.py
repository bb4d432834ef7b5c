"""Fleets of several files, written into a directory that is the working directory meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import pytest

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.model import Container, Fleet
from anchor_supervisor.fleet.parse import load_files
from fleet_text import NOTHING


@final
class Folder:
    """Files by their names; a file is named as someone in this directory would name it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, files: Mapping[str, str]) -> Folder:
        """Write files, with the directories they are in."""
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)
        return self

    def load(
        self,
        *names: str,
        environment: Mapping[str, str] = NOTHING,
        profiles: Sequence[str] = (),
    ) -> Fleet:
        """Read the fleet of these files; `fleet.toml` where none is named."""
        paths = [Path(name) for name in names or ("fleet.toml",)]
        return load_files(paths, environment, profiles)

    def container(self, name: str, *files: str) -> Container:
        """Read one container of the fleet of these files."""
        return self.load(*files).containers[name]

    def problems(
        self,
        *names: str,
        environment: Mapping[str, str] = NOTHING,
        profiles: Sequence[str] = (),
    ) -> list[Problem]:
        """Read a fleet that is wrong; return what is said about it."""
        with pytest.raises(FleetError) as caught:
            self.load(*names, environment=environment, profiles=profiles)
        return list(caught.value.problems)

    def told(self, *names: str, profiles: Sequence[str] = ()) -> list[str]:
        """As `problems`, in the words of the terminal, with this directory's name left out."""
        found = self.problems(*names, profiles=profiles)
        return [str(problem).replace(f"{self.path}/", "") for problem in found]
