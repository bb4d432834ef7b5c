"""The steps as data: what C is given, and the words a person is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from anchor_supervisor.kernel import steps

CHILD_HEADER = Path(steps.__file__).with_name("_child.h")


def test_the_operation_numbers_are_those_of_the_c_half() -> None:
    """Every step has its number in `_child.h`, under the same name."""
    body = CHILD_HEADER.read_text().partition("enum operation {")[2].partition("}")[0]
    names = re.findall(r"^\s*([A-Z_]+)\b", body, re.MULTILINE)
    expected = {name: number for number, name in enumerate(names, 1) if name != "OPERATION_END"}
    found = {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", step.__name__).upper(): step.operation
        for step in get_args(steps.Step)
    }
    assert found == expected


def test_the_count_of_slots_is_that_of_the_c_half() -> None:
    """A slot that Python accepts has a place in C."""
    assert f"#define SLOTS {steps.SLOTS}\n" in CHILD_HEADER.read_text()


@pytest.mark.parametrize("number", [-1, steps.SLOTS])
def test_a_slot_out_of_range_is_refused(number: int) -> None:
    """A slot that C has no place for cannot be made."""
    with pytest.raises(ValueError, match="not between"):
        steps.Slot(number)


def test_a_slot_travels_below_minus_one() -> None:
    """-1 stays free to mean none."""
    assert steps.EnterRoot(steps.Slot(0)).encode()[1] == (-2,)
    assert steps.EnterRoot(steps.Slot(31)).encode()[1] == (-33,)
    assert steps.EnterRoot(5).encode()[1] == (5,)


def test_a_file_system_tells_flags_from_values() -> None:
    """A flag has no value, which is not the same as an empty one."""
    step = steps.OpenFilesystem(steps.Slot(1), "tmpfs", (("ro", None), ("size", "")), 3)
    assert step.encode() == (6, (-3, 3, 0, 1), (b"tmpfs", b"ro", b"", b"size", b""))
    assert step.describe() == "make a new tmpfs (ro,size=)"


def test_execute_counts_what_follows() -> None:
    """The integers say which of the strings are candidates, arguments and environment."""
    step = steps.Execute(("/a", "/b"), ("b", "x"), ("K=V",), init=7)
    assert step.encode() == (21, (7, -1, 2, 2, 1, 1), (b"/a", b"/b", b"b", b"x", b"K=V"))
    assert step.describe() == "execute `b` under init"


def test_a_name_that_is_not_text_survives() -> None:
    """Bytes of a path that no encoding knows come through as they were."""
    assert steps.MakeDirectory("/\udcff").encode()[2] == (b"/\xff",)
