"""Pictures of results, as SVG and PNG: before and after copy-on-write, bursts, peers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Record = dict[str, Any]
COLORS: Final = {
    "overlay": "#2563eb",
    "bind": "#0d9488",
    "reflink": "#7c3aed",
    "copy": "#dc2626",
    "unpack": "#9a3412",
    "floor": "#6b7280",
}


def draw(records: Sequence[Record], out: Path) -> None:
    """Draw whatever there are figures for."""
    mpl.rcParams["svg.hashsalt"] = "anchor"
    for name, picture in (
        ("copy-on-write", _copy_on_write),
        ("distribution", _distribution),
        ("burst", _burst),
        ("peers", _peers),
    ):
        figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
        if picture(records, axes):
            for kind in ("svg", "png"):
                figure.savefig(
                    out / f"{name}.{kind}",
                    dpi=150,
                    metadata={"Date": None} if kind == "svg" else None,
                )
        plt.close(figure)


def _copy_on_write(records: Sequence[Record], axes: Axes) -> bool:
    """The founding question: bars of the median start, by image size, before and after."""
    chosen = [
        one
        for one in records
        if one["question"] == "startup"
        and one.get("gap_ms", 0.0) == 0.0
        and (
            one["what"].endswith("without network: first instruction")
            or one["what"].startswith("unpacking")
        )
    ]
    images = list(dict.fromkeys(one["image"] for one in chosen))
    strategies = [name for name in COLORS if any(one["strategy"] == name for one in chosen)]
    width = 0.8 / max(1, len(strategies))
    for place, strategy in enumerate(strategies):
        heights = [
            next(
                (
                    one["p50"]
                    for one in chosen
                    if (one["image"], one["strategy"]) == (image, strategy)
                ),
                0.0,
            )
            for image in images
        ]
        left = [
            number + (place - (len(strategies) - 1) / 2) * width for number in range(len(images))
        ]
        bars = axes.bar(left, heights, width, label=strategy, color=COLORS[strategy])
        axes.bar_label(bars, [f"{one:.3g}" if one else "" for one in heights], fontsize=8)
    axes.set_xticks(range(len(images)), images)
    axes.set_yscale("log")
    axes.set_ylabel("milliseconds to the first instruction, p50 (log)")
    axes.set_title("Starting a container: with copy-on-write, and before")
    axes.legend()
    return bool(chosen)


def _distribution(records: Sequence[Record], axes: Axes) -> bool:
    chosen = [
        one
        for one in records
        if one["question"] == "startup"
        and "first instruction" in one["what"]
        and one.get("strategy") in {"overlay", "floor"}
    ]
    for one in chosen:
        what = one["what"].removesuffix(": first instruction")
        words = f"{what}, {one['image']}, gap {one.get('gap_ms', 0):g}"
        axes.plot(
            ["p50", "p95", "p99", "max"],
            [one[rank] for rank in ("p50", "p95", "p99", "max")],
            marker="o",
            label=words,
        )
    axes.set_ylabel("milliseconds")
    axes.set_title("Start latency, by percentile")
    axes.legend(fontsize=6)
    return bool(chosen)


def _burst(records: Sequence[Record], axes: Axes) -> bool:
    chosen = [
        one for one in records if one["question"] == "burst" and "network" in one and "p50" in one
    ]
    for network in (True, False):
        points = sorted(
            (one["size"], one["p50"] / 1000) for one in chosen if one["network"] is network
        )
        if points:
            words = "with network" if network else "without network"
            axes.plot(
                [size for size, _ in points],
                [seconds for _, seconds in points],
                marker="o",
                label=words,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("containers")
    axes.set_ylabel("seconds until the last one runs")
    axes.set_title("Many at once")
    axes.legend()
    return bool(chosen)


def _peers(records: Sequence[Record], axes: Axes) -> bool:
    chosen = [one for one in records if one["question"] == "peers" and "p50" in one]
    chosen.sort(key=lambda one: -one["p50"])
    bars = axes.barh(
        [one["what"] for one in chosen], [one["p50"] for one in chosen], color="#2563eb"
    )
    axes.bar_label(bars, [f"{one['p50']:.1f} ms" for one in chosen], padding=3, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, whole command, p50 (log)")
    axes.set_title("One container of one program")
    return bool(chosen)
