"""One kind of start, taken in turns with the floor: what each took, and where the time went."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, final

from attrs import field, frozen

from arithmetic import rounds
from floor import WARM_UP, floor_samples
from harness import Fresh, Start, fleet_of, instances_for, machine_of, phases, run_loop
from programs import disk_usage, stored_image


@final
@frozen
class Kind:
    """One kind of start; `facts` are told with every figure of it."""

    words: str
    image: Path
    strategy: str
    count: int
    width: int
    mib: int
    network: bool = True
    gap: float = 0.0
    ready: bool = False  # what it will hold is taken before its time begins

    @property
    def facts(self) -> dict[str, Any]:
        """By which its figures are found again."""
        facts = {
            "image": self.words,
            "mib": self.mib,
            "strategy": self.strategy,
            "network": self.network,
            "concurrency": self.width,
        }
        return {**facts, "ready": True} if self.ready else facts

    @property
    def named(self) -> str:
        """In words."""
        network = "with network and address" if self.network else "without network"
        return f"{self.strategy} {network}{', ready in advance' if self.ready else ''}"


@final
@frozen
class Taken:
    """What one kind of start took: turns of ours and of the floor's, phases, bytes on disk each."""

    starts: list[list[Start]] = field(factory=list)
    floors: list[list[tuple[float, float]]] = field(factory=list)
    spent: dict[str, list[float]] = field(factory=dict)
    written: list[int] = field(factory=list)

    def firsts(self) -> list[list[float]]:
        """Seconds until the first instruction, in turns."""
        return [[one.first for one in turn] for turn in self.starts]

    def reaped(self) -> list[list[float]]:
        """Seconds until the end was reaped, in turns."""
        return [[one.reaped for one in turn] for turn in self.starts]

    def floor(self, point: int) -> list[list[float]]:
        """The floor's seconds until the first instruction (0) or the end (1), in turns."""
        return [[pair[point] for pair in turn] for turn in self.floors]


def starts(kind: Kind, directory: Path) -> Taken:
    """Start new containers, in turns with the floor."""
    replicas = instances_for(kind.count, width=kind.width)
    # The root of an image in the store can be made ready as well: what is in it stays as it is.
    image = stored_image(kind.image) if kind.ready else kind.image
    fleet = fleet_of(image, replicas, root=kind.strategy, network=kind.network)
    taken = Taken()

    async def take_turns() -> None:
        fresh = Fresh(machine)
        for number in rounds(kind.count):
            taken.floors.append(
                floor_samples(
                    kind.image,
                    directory,
                    number,
                    kind.gap,
                    network=kind.network and not kind.ready,
                    width=kind.width,
                )
            )
            taken.starts.append(
                await fresh.start(number, width=kind.width, gap=kind.gap, ready=kind.ready)
            )

    with machine_of(fleet) as machine, phases() as spent:
        run_loop(take_turns)
        taken.spent.update({name: counted(times, kind) for name, times in spent.items()})
        taken.written.append(disk_usage(machine.site.writable) // replicas)
    return taken


def counted(times: list[float], kind: Kind) -> list[float]:
    """Leave those of the starts that do not count out of a phase's times, where one can tell."""
    if kind.width > 1 or len(times) != instances_for(kind.count):
        return times
    left = iter(times)
    return [
        one
        for number in rounds(kind.count)
        for one in list(islice(left, WARM_UP + number))[WARM_UP:]
    ]


def rest(executed: list[float], spent: list[list[float]]) -> float:
    """Return the median, over starts, of what none of the phases is; seconds.

    Where the phases do not go with the starts one by one: what the medians leave of the median.
    """
    if spent and all(len(times) == len(executed) for times in spent):
        together = zip(*spent, strict=True)
        both = zip(executed, together, strict=True)
        return float(median(one - sum(parts) for one, parts in both))
    return median(executed) - sum(map(median, spent))
