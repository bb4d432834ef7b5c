"""What this project wants of itself, beside what was measured: a row for each goal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, final

from attrs import frozen

from records import Answer, Record, matching, of_question

NOT_MEASURED: Final = "not measured"

START: Final = {
    "strategy": "overlay",
    "point": "first",
    "cache": "warm",
    "concurrency": 1,
    "ready": None,
}


@final
@frozen
class Goal:
    """One figure that is to be at most (or at least) something, and by which facts it is found.

    `others`: by which facts the same of other programs is found among the answers about peers.
    """

    work: str
    question: str
    facts: Mapping[str, Any]
    unit: str
    limit: float | None = None
    ratio: float | None = None
    key: str = "p50"
    scale: float = 1.0
    at_least: bool = False
    digits: int = 2
    others: Mapping[str, Any] | None = None

    def wanted(self) -> str:
        """Say what is wanted, in words."""
        sign = "≥" if self.at_least else "≤"
        parts = []
        if self.ratio is not None:
            parts.append(f"≤ {self.ratio:g} x floor")
        if self.limit is not None:
            parts.append(f"{sign} {self.limit:g} {self.unit}".rstrip())
        return ", ".join(parts) or "stated"

    def row(self, records: Iterable[Record], peers: Iterable[Record] = ()) -> str:
        """Return the row of the table."""
        found, others = self._found(records), self._beside(peers)
        if found is None:
            return f"| {self.work} | {self.wanted()} | {NOT_MEASURED} | | | {others} |"
        value, ratio = found[self.key] * self.scale, found.get("ratio_to_floor")
        shown = f"{value:,.{self.digits}f} {self.unit}".rstrip()
        if self.key not in {"p50", "value"}:
            ratio = None  # it is that of the medians
        times = "" if ratio is None else f"{ratio:.2f} x floor"
        reached = self._verdict(found)
        return f"| {self.work} | {self.wanted()} | {shown} | {times} | {reached} | {others} |"

    def _beside(self, peers: Iterable[Record]) -> str:
        """Return what others took, each once, the fastest first."""
        found = [] if self.others is None else matching(peers, **self.others)
        value = {
            one["peer"]: float(one["p50" if "p50" in one else "value"]) * self.scale
            for one in found
            if not one["peer"].startswith(("anchor", "C floor"))
        }
        ordered = sorted(value, key=lambda peer: value[peer], reverse=self.at_least)
        return "; ".join(f"{peer} {value[peer]:,.3g}" for peer in ordered)

    def _found(self, records: Iterable[Record]) -> Record | None:
        """Of several the one with the largest image: the hardest."""
        found = [one for one in matching(records, **self.facts) if self.key in one]
        return max(found, key=lambda one: one.get("mib", 0), default=None)

    def _verdict(self, found: Record) -> str:
        if self.limit is None and self.ratio is None:
            return ""
        value = found[self.key] * self.scale
        good = True
        if self.limit is not None:
            good = value >= self.limit if self.at_least else value <= self.limit
        if self.ratio is not None:
            good = good and found.get("ratio_to_floor", float("inf")) <= self.ratio
        return "yes" if good else "**no**"


def _start(work: str, **more: Any) -> Goal:  # noqa: ANN401 - a goal's own fields
    facts = {**START, "network": True, "gap_ms": 0.0, **more.pop("facts", {})}
    return Goal(work, "startup", facts, "ms", **more)


GOALS: Final[Sequence[Goal]] = (
    _start(
        "one container, overlay, with network and address: p50",
        limit=5.0,
        ratio=2.5,
        others={"measured": "first", "gap_ms": 0.0, "network": True},
    ),
    _start("the same: p99", limit=20.0, key="p99"),
    _start("the same with gaps of 20 ms: p50", limit=5.0, ratio=2.5, facts={"gap_ms": 20.0}),
    _start("the same with gaps of 20 ms: p99", limit=20.0, key="p99", facts={"gap_ms": 20.0}),
    _start(
        "the same with sandboxes ready in advance, to the floor without network: p50",
        ratio=1.6,
        facts={"gap_ms": 20.0, "ready": True},
    ),
    Goal(
        "overlay, the largest image to the smallest",
        "startup",
        {"independence": True},
        "times",
        limit=1.1,
        key="value",
    ),
    Goal("a copy, to overlay", "startup", {"versus": "copy"}, "times", key="value", digits=0),
    Goal(
        "unpacking a tar, to overlay",
        "startup",
        {"versus": "unpacking a tar"},
        "times",
        key="value",
        digits=0,
    ),
    Goal(
        "burst of 100 with network",
        "burst",
        {"size": 100, "network": True, "measured": "burst"},
        "s",
        limit=0.4,
        scale=1e-3,
    ),
    Goal(
        "burst of 1,000 with network",
        "burst",
        {"size": 1000, "network": True, "measured": "rate"},
        "a second",
        limit=250,
        key="value",
        at_least=True,
        digits=0,
        others={"measured": "rate", "network": True},
    ),
    Goal(
        "crash to the next first instruction, no delay: p50",
        "restart",
        {"network": True},
        "ms",
        limit=4.0,
        others={"measured": "restart"},
    ),
    Goal(
        "`anchor-supervise --detach`, 10 services",
        "commands",
        {"command": "detach", "size": 10},
        "s",
        limit=0.4,
        scale=1e-3,
        others={"measured": "up", "size": 10},
    ),
    Goal(
        "`anchor-supervise --detach`, 50 services",
        "commands",
        {"command": "detach", "size": 50},
        "s",
        limit=0.8,
        scale=1e-3,
        others={"measured": "up", "size": 50},
    ),
    Goal(
        "`anchor run /bin/true`",
        "commands",
        {"command": "anchor run /bin/true"},
        "ms",
        limit=120,
        digits=0,
        others={"measured": "one", "network": True},
    ),
    Goal("`anchor ps`", "commands", {"command": "ps"}, "ms", limit=60, digits=0),
    Goal(
        "memory of the supervisor",
        "memory",
        {"measured": "base"},
        "MB",
        limit=40,
        key="value",
        scale=1.048576,
        digits=1,
    ),
    Goal(
        "memory of the supervisor, for each container",
        "memory",
        {"measured": "each"},
        "KiB",
        limit=40,
        key="value",
        digits=1,
    ),
    Goal(
        "1,000 containers torn down",
        "teardown",
        {"size": 1000, "measured": "command"},
        "s",
        limit=2.0,
        scale=1e-3,
    ),
    Goal(
        "wake-ups of 1,000 idle containers and their supervisor",
        "idle",
        {"size": 1000, "measured": "wake-ups"},
        "",
        limit=0,
        key="value",
        digits=0,
    ),
)


def summary(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield the table, line by line."""
    peers = of_question(answers, "peers")
    yield "| work | goal | measured | ratio | reached | others |"
    yield "|---|---|---|---|---|---|"
    for goal in GOALS:
        yield goal.row(of_question(answers, goal.question), peers)
