"""What tests of pulling and pushing share: impatience, names, layers, a recorder."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final, final

from anchor_supervisor.images.reference import Reference, parse
from anchor_supervisor.images.transport import Patience
from archives import directory, member, tar
from fake_registry import Call, FakeRegistry, Trick

IMPATIENT: Final = Patience(connect=5, idle=5, tries=4, first_delay=0.001, longest_delay=2)
"""For servers that answer, rightly or wrongly."""

HASTY: Final = Patience(connect=5, idle=1.0, tries=2, first_delay=0.001, longest_delay=2)
"""For servers that do not."""


def at(registry: FakeRegistry | str, name: str = "shop:1") -> Reference:
    """A name at a registry."""
    address = registry if isinstance(registry, str) else registry.address
    return parse(f"{address}/{name}")


def layer(seed: int, size: int = 100) -> bytes:
    """A plain tar whose content does not compress."""
    content = random.Random(seed).randbytes(size)
    return tar(directory(f"d{seed}"), member(f"d{seed}/file", content))


def as_it_is(plain: bytes) -> bytes:
    """Pack a layer not at all."""
    return plain


def on(part: str, act: Callable[[Call], None]) -> Trick:
    """Do this instead where the path has that in it."""

    def trick(call: Call) -> bool:
        if part not in call.asked.path:
            return False
        act(call)
        return True

    return trick


@final
class Recorder:
    """A progress that remembers."""

    def __init__(self, on_advance: Callable[[dict[str, int]], None] = lambda _: None) -> None:
        """`on_advance` gets what has been counted, each time something is."""
        self._on_advance = on_advance
        self.lines: list[str] = []
        self.counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def begin(self, item: str, verb: str, total: int | None = None) -> None:
        """Remember; what is begun again counts from nothing."""
        with self._lock:
            self.lines.append(f"{item} {verb} {total}")
            self.counts[item] = 0

    def advance(self, item: str, count: int) -> None:
        """Count."""
        with self._lock:
            self.counts[item] += count
            self._on_advance(self.counts)

    def end(self, item: str, words: str) -> None:
        """Remember."""
        with self._lock:
            self.lines.append(f"{item}: {words}")

    def note(self, sentence: str) -> None:
        """Remember."""
        with self._lock:
            self.lines.append(sentence)
