"""What the path, the query and the body of a request ask for. Pure; no I/O.

Everything raises Malformed where it is not understood; what is unknown is never passed over.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final, TypeGuard
from urllib.parse import parse_qs

from anchor_supervisor.control.handler import EventQuery, LogQuery, Wanted
from anchor_supervisor.control.protocol import Malformed
from anchor_supervisor.fleet.container import MOST_REPLICAS
from anchor_supervisor.patterns import pattern

_NAME = pattern(r"[a-z0-9][a-z0-9_.-]{0,127}", re.IGNORECASE)
_SIGNAL = pattern(r"[A-Z0-9+-]{1,16}")
_TIME = pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", re.ASCII)
_EVENT_KEYS: Final = frozenset({"name", "tail", "since", "follow"})
_LOG_KEYS: Final = _EVENT_KEYS | {"previous"}
_FILES: Final = 100


def parse_name(name: str) -> str:
    """Return a container's name, or `NAME.REPLICA`."""
    if _NAME.fullmatch(name) is None:
        message = f"`{name}` is not a container's name"
        raise Malformed(message)
    return name


def parse_body(body: bytes, keys: set[str]) -> dict[str, object]:
    """Take an object apart; nothing at all is an empty one, an unknown key an error."""
    value = _parse_object(body)
    for key in value.keys() - keys:
        message = f"unknown key `{key}`"
        raise Malformed(message, hint=f"known here: {', '.join(sorted(keys))}")
    return value


def _parse_object(body: bytes) -> dict[str, object]:
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        message = "the body is not JSON"
        raise Malformed(message) from error
    if not isinstance(value, dict):
        message = "the body is not a JSON object"
        raise Malformed(message)
    return value


def parse_wanted(body: bytes) -> Wanted:
    """Return the fleet that a plan or an apply asks for."""
    given = parse_body(body, {"files", "profiles", "environment"})
    files, profiles = given.get("files"), given.get("profiles", [])
    if not (_is_words(files) and files and all(one.startswith("/") for one in files)):
        message = "`files` must be a list of absolute paths"
        raise Malformed(message)
    if not _is_words(profiles):
        message = "`profiles` must be a list of names"
        raise Malformed(message)
    environment = given.get("environment", {})
    if not isinstance(environment, dict) or not _is_words(list(environment.values()), math.inf):
        message = "`environment` must be an object of texts"
        raise Malformed(message)
    return Wanted(tuple(files), tuple(profiles), environment)


def _is_words(value: object, most: float = _FILES) -> TypeGuard[list[str]]:
    """Whether this is a list of texts that a system call can take."""
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(isinstance(one, str) and "\0" not in one for one in value)
    )


def parse_replicas(body: bytes) -> dict[str, int]:
    """Return how many replicas of which containers are asked for."""
    given = _parse_object(body)
    if not given:
        message = "the body must say how many replicas of which containers"
        raise Malformed(message, hint='such as {"web": 5}')
    wanted = {}
    for name, count in given.items():
        if type(count) is not int or not 0 < count <= MOST_REPLICAS:
            message = f"`{name}`: replicas must be a number from 1 to {MOST_REPLICAS}"
            raise Malformed(message)
        wanted[parse_name(name)] = count
    return wanted


def parse_flag(options: dict[str, object], key: str) -> bool:
    """Return a switch of a body; absent is false."""
    value = options.get(key, False)
    if not isinstance(value, bool):
        message = f"`{key}` must be true or false"
        raise Malformed(message)
    return value


def parse_signal(options: dict[str, object], verb: str) -> str | None:
    """Return the signal that a kill asks for."""
    value = options.get("signal")
    if value is None:
        return None
    if verb != "kill" or not isinstance(value, str) or not _SIGNAL.fullmatch(value):
        message = "`signal` must be a signal's name without SIG, and is for kill only"
        raise Malformed(message)
    return value


def _parse_query(query: str, keys: frozenset[str]) -> dict[str, list[str]]:
    try:
        given = parse_qs(query, keep_blank_values=True, max_num_fields=300)
    except ValueError as error:
        message = f"the query is malformed: {error}"
        raise Malformed(message) from error
    for key in given.keys() - keys:
        message = f"unknown parameter `{key}`"
        raise Malformed(message, hint=f"known here: {', '.join(sorted(keys))}")
    return given


def parse_event_query(query: str) -> EventQuery:
    """Return which entries of the journal are asked for."""
    given = _parse_query(query, _EVENT_KEYS)
    return EventQuery(
        names=tuple(parse_name(name) for name in given.get("name", ())),
        tail=_tail(given.get("tail", [""])[-1]),
        since=_since(given.get("since", [""])[-1]),
        follow=_switch(given, "follow"),
    )


def parse_log_query(query: str) -> LogQuery:
    """Return which records of output are asked for."""
    given = _parse_query(query, _LOG_KEYS)
    return LogQuery(
        names=tuple(parse_name(name) for name in given.get("name", ())),
        tail=_tail(given.get("tail", [""])[-1]),
        since=_since(given.get("since", [""])[-1]),
        follow=_switch(given, "follow"),
        previous=_switch(given, "previous"),
    )


def _tail(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        message = f"`tail` must be a count, not `{text}`"
        raise Malformed(message)
    return int(text)


def _since(text: str) -> str | None:
    if text and _TIME.fullmatch(text) is None:
        message = f"`since` must be a time such as 2026-01-02T03:04:05.000000000Z, not `{text}`"
        raise Malformed(message)
    return text or None


def _switch(given: dict[str, list[str]], key: str) -> bool:
    text = given.get(key, ["0"])[-1]
    if text not in {"0", "1"}:
        message = f"`{key}` must be 0 or 1, not `{text}`"
        raise Malformed(message)
    return text == "1"
