"""Counts and times on the command line, for `logs` and `events`. Standard library only."""

from __future__ import annotations

import argparse

from anchor_supervisor.cli import render


def parse_count(text: str) -> int:
    """Give the count that is meant."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        message = f"`{text}` is not a count"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def parse_moment(text: str) -> str:
    """Give the time that is meant as the log writes times: a duration ago, or RFC 3339."""
    from datetime import datetime, timedelta

    from anchor_supervisor.fleet.units import parse_duration
    from anchor_supervisor.observability.log_store import format_time

    try:
        moment = render.now() - timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        try:
            moment = datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError):
            message = (
                f"`{text}` is neither a duration such as 10m nor a time such as 2026-01-02T03:04"
            )
            raise argparse.ArgumentTypeError(message) from None
    return format_time(round(moment.timestamp() * 1_000_000) * 1000)
