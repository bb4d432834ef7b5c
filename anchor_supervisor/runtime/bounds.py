"""How often the same is told: news of one kind come at most so often, and none is forgotten."""

from __future__ import annotations

import math
from typing import Final, final

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.values import define, field

TELL_EVERY: Final = 10.0  # seconds between two of a kind and instance

Matter = tuple[InstanceId, str]
"""One kind of news of one instance."""


@final
@define(eq=False)
class Bounds:
    """Lets one of each matter through in TELL_EVERY seconds, and counts the others. No clock."""

    _quiet: dict[Matter, float] = field(factory=dict, init=False)
    _left_out: dict[Matter, int] = field(factory=dict, init=False)

    def admit(self, matter: Matter, now: float) -> bool:
        """Whether it may be told now; otherwise it is due later."""
        if now < self._quiet.get(matter, -math.inf):
            self._left_out[matter] = self._left_out.get(matter, 0) + 1
            return False
        self._quiet[matter] = now + TELL_EVERY
        return True

    def next_due(self) -> float:
        """When something that was left out may be told."""
        return min((self._quiet[matter] for matter in self._left_out), default=math.inf)

    def take_due(self, now: float) -> list[tuple[Matter, int]]:
        """What was left out and may be told now, with how often it was."""
        due = [matter for matter in self._left_out if self._quiet[matter] <= now]
        taken = [(matter, self._left_out.pop(matter)) for matter in due]
        self._quiet.update((matter, now + TELL_EVERY) for matter in due)
        return taken

    def forget(self, instance: InstanceId) -> None:
        """Owe nothing of this instance any more."""
        for matter in [matter for matter in self._quiet if matter[0] == instance]:
            del self._quiet[matter]
            self._left_out.pop(matter, None)
