"""Pictures of answers: before and after copy-on-write, distributions, phases, bursts, peers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from arithmetic import cumulative
from records import Answer, Record, matching, of_question

COLORS: Final = {
    "floor": "#6b7280",
    "bind": "#0d9488",
    "overlay": "#2563eb",
    "reflink": "#7c3aed",
    "copy": "#dc2626",
    "unpack": "#9a3412",
}
PHASE_COLORS: Final = "tab20"
SETTINGS: Final[dict[Any, Any]] = {
    "svg.hashsalt": "anchor",
    "svg.fonttype": "none",  # text stays text: a tenth of the size, and it can be searched
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def draw(answers: Sequence[Answer], folder: Path, kinds: Sequence[str]) -> list[Path]:
    """Draw whatever there are figures for, as files of these kinds; return them."""
    made: list[Path] = []
    starts = of_question(answers, "startup")
    peers = of_question(answers, "peers")
    with mpl.rc_context(SETTINGS):
        for name, picture, records in (
            ("copy-on-write", _copy_on_write, starts),
            ("distribution", _distribution, starts),
            ("phases", _phases, starts),
            ("burst", _burst, [*of_question(answers, "burst"), *peers]),
            ("peers", _peers, peers),
        ):
            figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
            if picture(records, axes):
                for kind in kinds:
                    made.append(folder / f"{name}.{kind}")
                    undated = {"Date": None} if kind == "svg" else None
                    figure.savefig(made[-1], dpi=120, metadata=undated)
            plt.close(figure)
    return made


def _copy_on_write(records: Sequence[Record], axes: Axes) -> bool:
    """The founding question: bars of the median start, by image size, before and after."""
    warm = matching(records, network=False, point="first", cache="warm", gap_ms=0.0)
    chosen = [*warm, *matching(records, strategy="unpack")]
    images = [one["image"] for one in sorted(chosen, key=lambda one: one["mib"]) if "image" in one]
    images = list(dict.fromkeys(images))
    heights = {(one["image"], one["strategy"]): one["p50"] for one in chosen}
    strategies = [name for name in COLORS if any(name == strategy for _, strategy in heights)]
    width = 0.84 / max(1, len(strategies))
    for place, strategy in enumerate(strategies):
        shift = (place - (len(strategies) - 1) / 2) * width
        bars = axes.bar(
            [number + shift for number in range(len(images))],
            [heights.get((image, strategy), 0.0) for image in images],
            width * 0.92,
            label={"unpack": "unpacking a tar", "floor": "C floor"}.get(strategy, strategy),
            color=COLORS[strategy],
        )
        shown = [heights.get((image, strategy)) for image in images]
        axes.bar_label(bars, [_short(one) for one in shown], fontsize=8)
    axes.set_xticks(range(len(images)), images)
    axes.set_yscale("log")
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("ms to the first instruction, p50")
    axes.set_title("A start with copy-on-write, and before")
    if chosen:
        axes.legend(ncols=3, fontsize=8)
    return bool(chosen)


def _short(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _distribution(records: Sequence[Record], axes: Axes) -> bool:
    """Which part of all starts took no longer: overlay and the floor, with the largest image."""
    chosen = [
        one
        for strategy in ("overlay", "floor")
        for one in matching(records, strategy=strategy, point="first", cache="warm", ready=None)
        if one.get("us")
    ]
    largest = max((one["mib"] for one in chosen), default=0)
    chosen = [one for one in chosen if one["mib"] == largest]
    for one in chosen:
        times, parts = cumulative([micro / 1000 for micro in one["us"]])
        named = "C floor" if one["strategy"] == "floor" else one["strategy"]
        network = "network" if one["network"] else "no network"
        gap = f"gaps of {one['gap_ms']:g} ms" if one["gap_ms"] else "back to back"
        axes.step(
            times,
            parts,
            where="post",
            label=f"{named}, {network}, {gap}",
            color=COLORS[one["strategy"]],
            linestyle="-" if one["network"] else ":",
            alpha=0.5 if one["gap_ms"] else 1.0,
        )
    axes.set_xscale("log")
    axes.set_xlabel("ms to the first instruction")
    axes.set_ylabel("part of all starts")
    axes.set_title("How starts are distributed")
    if chosen:
        axes.legend(fontsize=8)
    return bool(chosen)


def _phases(records: Sequence[Record], axes: Axes) -> bool:
    """Where the time of a start goes: overlay, with the largest image."""
    chosen = [one for one in matching(records, strategy="overlay") if "phase" in one]
    largest = max((one["mib"] for one in chosen), default=0)
    chosen = [one for one in chosen if one["mib"] == largest]
    names = list(dict.fromkeys(one["phase"] for one in chosen))
    colors = mpl.colormaps[PHASE_COLORS].colors  # type: ignore[attr-defined]
    for number, network in enumerate((False, True)):
        left = 0.0
        for color, name in zip(colors, names, strict=False):
            for one in matching(chosen, network=network, phase=name):
                spent = float(one["p50"] if "p50" in one else one["value"])
                label = name if network else None
                axes.barh(number, spent, left=left, color=color, label=label)
                left += spent
    axes.set_yticks((0, 1), ("without network", "with network"))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("ms, the medians of the phases")
    axes.set_title("Where the time of a start goes, until the command is executed")
    if chosen:
        axes.legend(ncols=4, fontsize=8)
    return bool(chosen)


def _burst(records: Sequence[Record], axes: Axes) -> bool:
    """How many a second, by how many at once; whoever else can do that beside it."""
    lines: dict[str, list[tuple[int, float]]] = {}
    styles: dict[str, dict[str, Any]] = {}
    for one in records:
        if one.get("measured") not in {"rate", "floor"} or "value" not in one:
            continue
        network = "network" if one.get("network", True) else "no network"
        floor = one["measured"] == "floor"
        who = "C floor" if floor else one.get("peer", "anchor")
        lines.setdefault(f"{who}, {network}", []).append((one["size"], one["value"]))
        color = COLORS["floor"] if floor else COLORS["overlay"] if who == "anchor" else None
        style = {"color": color} if color else {}
        styles[f"{who}, {network}"] = {**style, "linestyle": "-" if "no" not in network else ":"}
    for label, points in lines.items():
        sizes, rates = zip(*sorted(points), strict=True)
        axes.plot(sizes, rates, marker="o", label=label, **styles[label])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("containers at once")
    axes.set_ylabel("started a second")
    axes.set_title("Many at once")
    if lines:  # too many of them to leave room in the picture itself
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return bool(lines)


def _peers(records: Sequence[Record], axes: Axes) -> bool:
    """One container of one program by whoever is installed: its start, and the whole command."""
    firsts = {one["peer"]: one["p50"] for one in matching(records, measured="first", gap_ms=0.0)}
    wholes = {one["peer"]: one["p50"] for one in matching(records, measured="one", gap_ms=0.0)}
    names = sorted({**wholes, **firsts}, key=lambda name: -firsts.get(name, wholes.get(name, 0.0)))
    for times, label, shade in ((wholes, "whole command", 0.35), (firsts, "first instruction", 1)):
        there = [name for name in names if name in times]
        axes.barh(
            [names.index(name) for name in there],
            [times[name] for name in there],
            color=[COLORS[_colour_of(name)] for name in there],
            alpha=shade,
            label=label,
        )
    for place, name in enumerate(names):
        longest = max(firsts.get(name, 0.0), wholes.get(name, 0.0))
        shown = [f"{times[name]:,.3g}" for times in (firsts, wholes) if name in times]
        axes.annotate(
            f" {' / '.join(shown)} ms", (longest, place), fontsize=8, verticalalignment="center"
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("ms to the first instruction (dark) and of the whole command (light), p50")
    axes.set_title("One container of one program")
    return bool(names)


def _colour_of(peer: str) -> str:
    return "overlay" if peer.startswith("anchor") else "floor" if "floor" in peer else "bind"
