"""What a change of each field does to a running container."""

from __future__ import annotations

import itertools

import pytest
from attrs import evolve, fields_dict

from anchor_supervisor.fleet.effects import (
    EFFECTS,
    Effect,
    asks_for_notices,
    effect_between,
    field_effect,
)
from anchor_supervisor.fleet.model import (
    Container,
    Grant,
    Health,
    NotifyProbe,
    Reaction,
    ReactionKind,
    Startup,
    TcpProbe,
)
from container_values import CONF, DATA, HUP, PLAIN, TOKEN, VALUES

REACTIONS = [
    (Reaction(ReactionKind.IGNORE), Effect.NOTHING),
    (HUP, Effect.SIGNAL),
    (Reaction(ReactionKind.RESTART), Effect.RESTART),
]


def test_every_field_has_an_effect() -> None:
    """And nothing else has."""
    assert set(EFFECTS) == set(fields_dict(Container)) == set(VALUES)


@pytest.mark.parametrize("name", [name for name in VALUES if len(VALUES[name]) > 1])
def test_any_change_of_a_field_has_the_fields_effect(name: str) -> None:
    """The greatest that can happen, but for what only content changed of."""
    for before, after in itertools.permutations(VALUES[name], 2):
        old, new = (evolve(PLAIN, **{name: value}) for value in (before, after))
        effect = effect_between(old, new)
        assert effect is field_effect(name, old, new)
        # By default, a change of content asks for a restart, as these fields do.
        socket = asks_for_notices(new) and not asks_for_notices(old)
        assert effect is (Effect.RESTART if socket else EFFECTS[name])


def test_who_is_to_be_told_by_a_message_begins_with_a_socket() -> None:
    """A run that has none cannot be asked; one that has none to spare loses nothing by it."""
    told, asked = Health(NotifyProbe()), Health(TcpProbe(80))
    assert effect_between(evolve(PLAIN, health=asked), evolve(PLAIN, health=told)) is Effect.RESTART
    assert effect_between(evolve(PLAIN, health=told), evolve(PLAIN, health=asked)) is Effect.LIVE
    moved = evolve(PLAIN, startup=Startup(NotifyProbe()), health=asked)
    assert effect_between(evolve(PLAIN, health=told), moved) is Effect.LIVE


def test_no_change_has_no_effect() -> None:
    """An equal value is the same."""
    assert effect_between(PLAIN, evolve(PLAIN)) is Effect.NOTHING


@pytest.mark.parametrize(("reaction", "effect"), REACTIONS)
def test_a_change_of_content_has_the_effect_that_the_file_wants(
    reaction: Reaction, effect: Effect
) -> None:
    """The new file's wish counts; whatever else changed of the mount makes it a restart."""
    old = evolve(PLAIN, volumes=(DATA, CONF), grants=(TOKEN,))
    new = evolve(old, on_change=reaction)
    other = Grant(TOKEN.kind, TOKEN.name, TOKEN.target, b"other")
    changed_file = evolve(new, volumes=(DATA, evolve(CONF, content="sha256:9")))
    changed_secret = evolve(new, grants=(other,))
    for changed in (changed_file, changed_secret):
        assert effect_between(new, changed) is effect
        assert effect_between(old, changed) is max(effect, Effect.LIVE)
    moved = evolve(new, grants=(evolve(other, mode=0o440),))
    assert effect_between(new, moved) is Effect.RESTART


def test_the_greatest_effect_wins() -> None:
    """A restart brings what could have been taken over live as well."""
    new = evolve(PLAIN, replicas=2, command=("other",), hostname="x")
    assert effect_between(PLAIN, new) is Effect.RECREATE
