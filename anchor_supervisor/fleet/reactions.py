"""`depends_on` and `on_change`: what is waited for, and what is done when it changes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from anchor_supervisor.fleet import schema, values
from anchor_supervisor.fleet.model import Condition, Reaction, ReactionKind
from anchor_supervisor.fleet.places import join
from anchor_supervisor.fleet.sheet import Sheet, Table, items, table_of
from anchor_supervisor.fleet.signals import NO_NEWS_SIGNALS, check_signal, signal_name
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, kind_of, show

_WORDS: Final = ("restart", "ignore", "signal")


def reaction(value: object) -> Reaction:
    """Accept `restart`, `ignore` or `signal NAME`."""
    text = values.text(value)
    word, _, name = text.partition(" ")
    if word not in _WORDS or (name and word != "signal"):
        message = f"{show(text)} is none of `restart`, `ignore`, `signal NAME`"
        raise Mistake(message, hint=_meant(text))
    if word != "signal":
        return Reaction(ReactionKind(word))
    if not name.strip():
        message = f"{show(text)} does not say which signal"
        raise Mistake(message, hint="`signal HUP`")
    signal = signal_name(name.strip())
    check_signal(signal)
    if signal in NO_NEWS_SIGNALS:
        message = f"{show(signal)} cannot be handled by any process"
        raise Mistake(message, hint="`signal HUP`, `signal USR1` or `restart`")
    return Reaction(ReactionKind.SIGNAL, signal)


def _meant(text: str) -> str | None:
    try:
        check_signal(signal_name(text))
    except Mistake:
        return did_you_mean(text.partition(" ")[0], _WORDS)
    return f"`signal {signal_name(text)}`"


def dependencies(
    sheet: Sheet, path: str, value: object
) -> tuple[Mapping[str, Condition], Mapping[str, Reaction]]:
    """Read a list of names, which need only be started, or a table: conditions, and reactions.

    A reaction that does nothing is not among them.
    """
    if isinstance(value, list):
        names = items(sheet, path, value, values.filled_text)
        if len(set(names)) < len(names):
            sheet.report(path, "a container is listed twice")
        conditions = dict.fromkeys(names, Condition.STARTED)
        return MappingProxyType(conditions), MappingProxyType({})
    conditions, reactions = {}, {}
    for name, given in table_of(sheet, path, value).items():
        condition, reacts = _dependency(sheet, join(path, name), given)
        if condition is not None:
            conditions[name] = condition
            if reacts.kind is not ReactionKind.IGNORE:
                reactions[name] = reacts
    return MappingProxyType(conditions), MappingProxyType(reactions)


def _dependency(sheet: Sheet, path: str, value: object) -> tuple[Condition | None, Reaction]:
    """Read one condition, or the table that has it; None where it is wrong."""
    nothing = Reaction()
    if isinstance(value, dict):
        table = Table(sheet, path, value, schema.DEPENDENCY)
        condition: Condition | None = table.read("condition", _condition, Condition.STARTED)
        return condition, table.read("on_restart", reaction, nothing)
    if not isinstance(value, str):
        message = f"{show(value)} is {kind_of(value)}, not a string or a table"
        sheet.report(path, message, '`"healthy"`, or `{ condition = "healthy" }`')
        return None, nothing
    return sheet.attempt(path, _condition_or_none, value, None), nothing


def _condition_or_none(value: object) -> Condition | None:
    return _condition(value)


def _condition(value: object) -> Condition:
    if isinstance(value, str) and value.startswith("service_"):
        words = {"service_completed_successfully": "completed"}
        hint = f"`{words.get(value, value.removeprefix('service_'))}`"
        message = f"{show(value)} is a word of compose's"
        raise Mistake(message, hint=hint)
    return values.choice(Condition)(value)
