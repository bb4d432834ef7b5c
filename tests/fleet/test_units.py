"""Durations, sizes, counts and ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet import units
from anchor_supervisor.fleet.units import (
    format_duration,
    format_size,
    parse_count,
    parse_decimal,
    parse_duration,
    parse_id,
    parse_mode,
    parse_percentage,
    parse_size,
)
from anchor_supervisor.fleet.wording import Mistake


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h5m30s20ms", 3930.02),
        ("0s", 0.0),
        ("500us", 0.0005),
        ("1.5s", 1.5),
        ("90m", 5400.0),
        ("0.1s", 0.1),
    ],
)
def test_durations_are_read_as_seconds(text: str, seconds: float) -> None:
    """Every unit counts, alone and together."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "5", "5.0", "1m1h", "1s1s", "-1s", "+1s", " 1s", "1s\n", "1 s", "\uff11s", "1e3s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """No sign, no blank, no repetition, no order but the falling one, ASCII digits only."""
    with pytest.raises(Mistake):
        parse_duration(text)


def test_a_plain_number_gets_a_hint_how_to_write_it() -> None:
    """A number without a unit is the commonest slip."""
    with pytest.raises(Mistake) as caught:
        parse_duration("10")
    assert caught.value.message == "`10` has no unit"
    assert caught.value.hint == "`10s` is 10 seconds"


def test_ten_years_are_long_enough() -> None:
    """A duration that overflows a timer is a slip of the pen."""
    assert parse_duration("87600h") == units.LONGEST_DURATION
    with pytest.raises(Mistake, match="ten years"):
        parse_duration("87601h")


@given(st.integers(0, units.LONGEST_DURATION * 1_000_000))
def test_a_duration_survives_writing_and_reading(microseconds: int) -> None:
    """What format_duration writes, parse_duration reads back, to the microsecond."""
    seconds = microseconds / 1_000_000
    assert parse_duration(format_duration(seconds)) == seconds


def test_durations_are_written_briefly() -> None:
    """Only the units that matter are written."""
    assert format_duration(3930.02) == "1h5m30s20ms"
    assert format_duration(0) == "0s"
    assert format_duration(-1.5) == "-1s500ms"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64M", 64 << 20),
        ("64m", 64 << 20),
        ("64MB", 64 << 20),
        ("64MiB", 64 << 20),
        ("1.5G", 3 << 29),
        ("1T", 1 << 40),
        ("512K", 512 << 10),
        ("1000", 1000),
        ("1000b", 1000),
        ("0", 0),
    ],
)
def test_sizes_are_read_as_bytes(text: str, size: int) -> None:
    """K, M, G and T are powers of 1024, with or without what docker allows behind them."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "-1M", "1 M", "1iB", "1X", "64Mi B", "\uff19M", "1e3", "inf"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """No sign, no blank, no unknown unit."""
    with pytest.raises(Mistake):
        parse_size(text)


def test_a_size_fits_in_the_kernels_number() -> None:
    """The largest size is the largest signed 64-bit number."""
    assert parse_size(str(2**63 - 1)) == 2**63 - 1
    with pytest.raises(Mistake, match="64-bit"):
        parse_size("9999999T")


@given(st.integers(1, 1023), st.sampled_from("KMGT"))
def test_a_whole_number_of_units_survives_writing_and_reading(number: int, unit: str) -> None:
    """A size that a person would write is written back the same."""
    assert format_size(parse_size(f"{number}{unit}")) == f"{number}{unit}"


@given(st.integers(0, 2**50))
def test_a_written_size_is_near_the_true_one(size: int) -> None:
    """Writing rounds by no more than a twentieth of the unit, never to another order."""
    written = format_size(size)
    assert abs(parse_size(written) - size) <= max(size // 20, 0) + 1
    assert not written.startswith("1024") or written.endswith("T")


def test_a_peak_just_under_a_limit_reads_like_the_limit() -> None:
    """One page below 64M is 64M to a person."""
    assert format_size((64 << 20) - 4096) == "64M"
    assert format_size((1 << 20) - 1) == "1M"
    assert format_size(1023) == "1023B"


@pytest.mark.parametrize(
    "text", ["", "-1", "+0", "01", "1_000", " 1", "\uff10", "\u0663", "1.0", "0x1"]
)
def test_counts_and_ids_are_plain_digits(text: str) -> None:
    """What int() would read beyond plain digits is refused."""
    with pytest.raises(Mistake):
        parse_count(text)
    with pytest.raises(Mistake):
        parse_id(text)


def test_the_largest_id_is_one_below_minus_one() -> None:
    """4294967295 is (uid_t) -1: do not change."""
    assert parse_id("4294967294") == 4294967294
    with pytest.raises(Mistake, match="larger than 4294967294"):
        parse_id("4294967295")


@given(st.text())
def test_readers_raise_nothing_but_mistake(text: str) -> None:
    """No text gets another exception out of a reader."""
    for read in (
        parse_duration,
        parse_size,
        parse_count,
        parse_decimal,
        parse_percentage,
        parse_id,
        parse_mode,
    ):
        try:
            found = read(text)
        except Mistake:
            continue
        assert found >= 0


def test_percentages_and_modes() -> None:
    """50% is a half; a mode is octal, as chmod has it."""
    assert parse_percentage("50%") == 0.5
    assert parse_decimal("0.25") == 0.25
    assert parse_mode("1777") == 0o1777
    for wrong in ("50", "%", "-1%"):
        with pytest.raises(Mistake):
            parse_percentage(wrong)
    for wrong in ("8", "0o755", "99999", "789"):
        with pytest.raises(Mistake):
            parse_mode(wrong)
