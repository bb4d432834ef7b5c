"""What killed builds have left on the machine: the fleets of their RUN steps, and secrets."""

from __future__ import annotations

from contextlib import suppress

from anchor_supervisor.build.scratch import sweep_dead
from anchor_supervisor.build.workshop import PREFIX, SECRETS
from anchor_supervisor.control.fleets import dead_fleets
from anchor_supervisor.errors import HostError
from anchor_supervisor.observability import places


def sweep_dead_builds() -> None:
    """Remove it all: nobody else knows their names. What lives is left alone."""
    sweep_dead(places.run_dir() / SECRETS)
    dead = [name for name in dead_fleets() if name.startswith(PREFIX)]
    if not dead:
        return
    from anchor_supervisor.runtime.sweep import sweep_fleet  # the network room: seldom needed

    for name in dead:
        with suppress(HostError):  # it has only just begun, and has no socket yet
            sweep_fleet(name, volumes=True)
