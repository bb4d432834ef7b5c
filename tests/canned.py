"""Answers of a fleet that only pretends: its plans, changes and events."""

from __future__ import annotations

from typing import Final

from anchor_supervisor.control.shapes import ApplyLine, JournalEntry, Plan, UpdateRow

LONG_AGO_EXACTLY: Final = "2026-01-02T03:04:05.678000000Z"


def entry(event: str, **facts: object) -> JournalEntry:
    """An entry of the journal, of long ago."""
    return {"time": LONG_AGO_EXACTLY, "event": event, **facts}  # type: ignore[typeddict-item]


def web_plan() -> Plan:
    """A plan that concerns `web`: a limit and the command; and a new `cache`; `migrate` goes."""
    nothing = {"replicas_before": 2, "replicas": 2}
    return {
        "fleet": "shop",
        "running": True,
        "keys": [{"key": "fleet.parallel", "before": None, "after": "4", "effect": "live"}],
        "containers": [
            {
                "container": "web",
                "action": "change",
                "effect": "restart",
                **nothing,  # type: ignore[typeddict-item]
                "keys": [
                    {"key": "limits.memory", "before": "64M", "after": "128M", "effect": "live"},
                    {
                        "key": "command",
                        "before": "serve \x1b[2J",
                        "after": "serve --fast",
                        "effect": "restart",
                    },
                ],
            },
            {
                "container": "cache",
                "action": "start",
                "effect": "start",
                "replicas_before": 0,
                "replicas": 3,
                "keys": [],
            },
            {
                "container": "migrate",
                "action": "stop",
                "effect": "stop",
                "replicas_before": 1,
                "replicas": 0,
                "keys": [],
            },
        ],
    }


EMPTY_PLAN: Plan = {"fleet": "shop", "running": True, "keys": [], "containers": []}


def web_updated(result: str, reason: str) -> list[ApplyLine]:
    """The lines of an apply of `web_plan` whose update of `web` came to this end."""
    done = result == "done"
    update: UpdateRow = {
        "container": "web",
        "active": False,
        "result": result,
        "reason": reason,
        "replaced": 2 if done else 1,
        "total": 2,
    }
    failed = [] if done else [f"the update of `web` is {result}: {reason}"]
    return [
        {"plan": web_plan()},
        {"entry": entry("transition", container="web.1", state="running", reason="started")},
        {"entry": entry("update", container="web", result=result, reason=reason)},
        {
            "result": {
                "plan": web_plan(),
                "updates": [update],
                "failed": failed,
                "ok": done,
            }
        },
    ]
