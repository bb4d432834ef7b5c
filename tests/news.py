"""A listener for what the kernel says of containers: what was told, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import trio
from attrs import Factory, define

from anchor_supervisor.fleet.model import InstanceId
from waiting import DEADLINE


@final
@define(eq=False)
class Listener:
    """Takes the place of the journal."""

    told: list[tuple[float, InstanceId, str, Mapping[str, object]]] = Factory(list)
    news: trio.Event = Factory(trio.Event)

    def tell(self, instance: InstanceId, kind: str, facts: Mapping[str, object]) -> None:
        """Note it."""
        self.told.append((trio.current_time(), instance, kind, facts))
        self.news.set()
        self.news = trio.Event()

    async def until(self, count: int) -> None:
        """Wait until so much was told."""
        with trio.fail_after(DEADLINE):
            while len(self.told) < count:
                await self.news.wait()
