"""The text of a file to a tree. What breaks a parser is in `test_parse`."""

from __future__ import annotations

import pytest

from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.document import parse_document, tree_of
from anchor_supervisor.fleet.tree import Origin, flatten

ORIGIN = Origin("x.toml", "/x", {"A": "1"})


def test_variables_are_replaced_in_every_string() -> None:
    """Not in keys, and not in what is no string; a variable that is missing stays a mistake."""
    node = parse_document('a = ["$A", { b = "${B:-2}" }]\n"$A" = 3\nc = "$C"\n', ORIGIN)
    flat = flatten(node)
    assert flat.document == {"a": ["1", {"b": "2"}], "$A": 3, "c": "$C"}
    [(path, mistake)] = flat.mistakes
    assert (path, mistake.message) == ("c", "variable `C` is not set")
    assert flat.places["c"].line == 3


def test_values_that_nobody_should_have_to_think_of() -> None:
    """A NUL, also one that only a variable brings, and a number that no machine has."""
    origin = Origin(None, "/", {"NUL": "a\0b"})
    flat = flatten(tree_of({"a": "$NUL", "b": 2**63, "c": -(2**63)}, {}, origin))
    assert [(path, mistake.message) for path, mistake in flat.mistakes] == [
        ("a", "`$NUL` has a NUL character in it"),
        ("b", "`a number of more than 64 bits` cannot be meant"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\na = x", "x.toml:2: not valid TOML: invalid value"),
        (f"a = {'9' * 5000}", "x.toml: a number in the file has too many digits"),
        (f"a = {'[' * 5000}", "x.toml: tables or lists are nested too deeply"),
        (f"a = {'[' * 150}{']' * 150}", "x.toml: tables or lists are nested too deeply"),
        (f"\n{'a.' * 50}a = 1", "x.toml:2: a dotted key of more than 32 parts"),
    ],
)
def test_what_is_no_document(text: str, told: str) -> None:
    """The file is named, and the line where it is known."""
    with pytest.raises(FleetError) as caught:
        parse_document(text, ORIGIN)
    assert str(caught.value) == told
