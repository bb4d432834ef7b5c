"""`.env` and `env_file`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.env_file import parse_env

TEXT = """\
# a comment
PLAIN=value
  INDENTED = spaced out   # comment
HASH=a#b
export EXPORTED=yes
EMPTY=
SINGLE='as it is $PLAIN \\n' # comment
DOUBLE="line\\nbreak \\"quoted\\" \\$PLAIN ${PLAIN}"
LINES="first
second"
USES=${PLAIN}-${OUTER}
NOT_EMPTY=${EMPTY:-default}
INHERITED
dotted.name-x=1
EQUALS=a=b=c
LAST=no newline"""


def _parse(text: str) -> dict[str, str]:
    return parse_env(text, file="x.env", environment={"INHERITED": "from outside", "OUTER": "o"})


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_are_read_as_docker_reads_them(newline: str) -> None:
    """Comments, blanks, quotes, escapes, export and variables."""
    found = _parse(TEXT.replace("\n", newline))
    assert found == {
        "PLAIN": "value",
        "INDENTED": "spaced out",
        "HASH": "a#b",
        "EXPORTED": "yes",
        "EMPTY": "",
        "SINGLE": "as it is $PLAIN \\n",
        "DOUBLE": 'line\nbreak "quoted" $PLAIN value',
        "LINES": f"first{newline}second",
        "USES": "value-o",
        "NOT_EMPTY": "default",
        "INHERITED": "from outside",
        "dotted.name-x": "1",
        "EQUALS": "a=b=c",
        "LAST": "no newline",
    }


def test_every_wrong_line_is_told_with_its_number_and_without_its_content() -> None:
    """A line that is malformed may be a secret."""
    text = "GOOD=1\npassword hunter2\nX='open\n\n"
    with pytest.raises(FleetError) as caught:
        _parse(text)
    assert [(one.file, one.line, one.message) for one in caught.value.problems] == [
        ("x.env", 2, "the line is not of the form `KEY=value`"),
        ("x.env", 3, "the value of `X` opens a quote that is never closed"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1A=x", "the line is not of the form `KEY=value`"),
        ("=x", "the line is not of the form `KEY=value`"),
        ("KEY: value", "the line is not of the form `KEY=value`"),
        ("MISSING", "variable `MISSING` is not set"),
        ("A=$MISSING", "variable `MISSING` is not set"),
        ("A='x'y", "the value of `A` goes on after its closing quote"),
        ('A="x" y', "the value of `A` goes on after its closing quote"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    """What compose would guess at is refused."""
    with pytest.raises(FleetError) as caught:
        _parse(text)
    assert caught.value.problems[0].message == message


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="'")))
def test_single_quotes_keep_any_value(value: str) -> None:
    """Between single quotes a value is what it is, line breaks included."""
    assert _parse(f"A='{value}' # end\nB=2") == {"A": value, "B": "2"}


@given(st.text(alphabet="AB='\"\\$#\n\r {}xn"))
def test_nothing_but_fleet_error_is_raised(text: str) -> None:
    """Every text is read to its end or refused line by line."""
    try:
        found = _parse(text)
    except FleetError as error:
        lines = [one.line for one in error.problems]
        assert lines == sorted(line for line in lines if line)
    else:
        assert all(found)
