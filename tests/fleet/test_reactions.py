"""`depends_on` with its reactions, and `on_change`."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.model import Condition, Reaction, ReactionKind
from fleet_text import container, messages, problems

DB = '[containers.db]\nimage = "host"\ncommand = ["x"]\nhealth = { tcp = 1 }\n'
HUP = Reaction(ReactionKind.SIGNAL, "HUP")
RESTART = Reaction(ReactionKind.RESTART)


def test_a_dependency_is_a_word_or_a_table() -> None:
    """The table has the reaction besides; one that does nothing is as good as none."""
    one = container('depends_on = { db = { condition = "healthy", on_restart = "restart" } }', DB)
    assert (one.depends_on, one.on_restart) == ({"db": Condition.HEALTHY}, {"db": RESTART})
    one = container('depends_on = { db = { on_restart = "signal sighup" } }', DB)
    assert (one.depends_on, one.on_restart) == ({"db": Condition.STARTED}, {"db": HUP})
    one = container('depends_on = { db = { on_restart = "ignore" } }', DB)
    assert one == container('depends_on = ["db"]', DB)


def test_on_change_is_a_reaction() -> None:
    """A restart, unless the file says otherwise."""
    assert container("").on_change == RESTART
    mounted = 'volumes = ["./conf:/conf:ro"]\n'
    assert container(f'{mounted}on_change = "signal HUP"').on_change == HUP
    ignored = container(f'{mounted}on_change = "ignore"').on_change
    assert ignored == Reaction(ReactionKind.IGNORE)


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ('"reload"', "`reload` is none of `restart`, `ignore`, `signal NAME`", None),
        (
            '"restrat"',
            "`restrat` is none of `restart`, `ignore`, `signal NAME`",
            "did you mean `restart`?",
        ),
        ('"HUP"', "`HUP` is none of `restart`, `ignore`, `signal NAME`", "`signal HUP`"),
        ('"restart HUP"', "`restart HUP` is none of `restart`, `ignore`, `signal NAME`", ...),
        ('"signal"', "`signal` does not say which signal", "`signal HUP`"),
        ('"signal HOP"', "`HOP` is not a signal", ...),
        ('"signal 1"', "`1` is not a signal", "by name, as in `TERM`"),
        ('"signal KILL"', "`KILL` cannot be handled by any process", ...),
        ('"signal SIGSTOP"', "`STOP` cannot be handled by any process", ...),
        ("true", "`true` is a boolean, not a string", ...),
    ],
)
def test_reactions_that_cannot_be_meant(written: str, message: str, hint: object) -> None:
    """Wherever one is written, the same is said of it."""
    for line in (
        f"depends_on = {{ db = {{ on_restart = {written} }} }}",
        f'volumes = ["./c:/c"]\non_change = {written}',
    ):
        [found] = problems(line, DB)
        assert found.message == message
        assert hint in (..., found.hint)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("5", "`5` is a number, not a string or a table"),
        ('["healthy"]', "`[…]` is a list, not a string or a table"),
        ('{ condition = "up" }', "`up` is none of `started`, `healthy`, `completed`"),
        ('{ condition = "service_healthy" }', "`service_healthy` is a word of compose's"),
        ("{ restart = true }", "unknown key `restart`"),
        ('"service_completed_successfully"', ...),
    ],
)
def test_dependencies_that_cannot_be_meant(written: str, message: object) -> None:
    """One problem each."""
    [found] = messages(f"depends_on = {{ db = {written} }}", DB)
    assert message in (..., found)


def test_a_reaction_to_a_container_that_is_not_there_is_one_problem() -> None:
    """That of the dependency."""
    found = messages('depends_on = { bd = { on_restart = "restart" } }', DB)
    assert found == ["there is no container `bd`"]


def test_a_reaction_to_changes_needs_something_that_can_change() -> None:
    """A named volume is not looked at."""
    nothing = "the container has no files of this machine, secrets or configs that could change"
    assert messages('on_change = "ignore"') == [nothing]
    assert messages('on_change = "ignore"\nvolumes = ["d:/d"]', "[volumes.d]") == [nothing]
    taken = 'on_change = "ignore"\nconfigs = ["motd"]'
    assert container(taken, '[configs.motd]\ncontent = "x"').grants
