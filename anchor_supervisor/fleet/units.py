"""Durations, sizes, counts, percentages and ids: strict readers of text, and their writers.

Pure. Every reader raises `Mistake` (a ValueError) with the offending value and, where one helps,
a hint. Digits are ASCII only: `int()` would take fullwidth ones, `1_000` and ` 7 ` as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anchor_supervisor.fleet.wording import Mistake, show
from anchor_supervisor.patterns import pattern

if TYPE_CHECKING:
    from fractions import Fraction

LARGEST_ID: Final = 2**32 - 2
"""2**32 - 1 is (uid_t) -1, which means `do not change` (setresuid(2), chown(2))."""

LONGEST_DURATION: Final = 10 * 365 * 24 * 3600  # seconds; ten years, a slip of the pen beyond it
LARGEST_SIZE: Final = 2**63 - 1  # bytes; what the kernel reads into a signed 64-bit number

_DURATION_UNITS: Final = (
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
)
_DURATION: Final = pattern(
    "".join(rf"(?:([0-9]{{1,15}}(?:\.[0-9]{{1,9}})?){unit})?" for unit, _ in _DURATION_UNITS)
)
_SIZE_UNITS: Final = ("", "K", "M", "G", "T")
_SIZE: Final = pattern(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)(?:([KMGTkmgt])i?)?[Bb]?")
_DECIMAL: Final = pattern(r"[0-9]{1,19}(?:\.[0-9]{1,19})?")
_COUNT: Final = pattern(r"0|[1-9][0-9]{0,18}")
_MODE: Final = pattern(r"[0-7]{3,4}")


def _exact(number: str | int) -> Fraction:
    from fractions import Fraction  # 5 ms, for files and figures that need it

    return Fraction(number)


def parse_duration(text: str) -> float:
    """Read `1h5m30s20ms` as seconds: units in falling order, each once, a fraction at will."""
    if _DECIMAL.fullmatch(text):
        message = f"{show(text)} has no unit"
        raise Mistake(message, hint=f"`{text}s` is {text} seconds")
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        message = f"{show(text)} is not a duration"
        raise Mistake(message, hint="such as `1h30m`, `5s` or `200ms`")
    microseconds = sum(
        _exact(number) * factor
        for number, (_, factor) in zip(found.groups(), _DURATION_UNITS, strict=True)
        if number is not None
    )
    if microseconds > LONGEST_DURATION * 1_000_000:
        message = f"{show(text)} is longer than ten years"
        raise Mistake(message)
    return float(microseconds / 1_000_000)


def format_duration(seconds: float) -> str:
    """Write seconds as `1h5m30s20ms`, to the microsecond; `0s` for nothing."""
    rest = round(abs(seconds) * 1_000_000)
    parts: list[str] = []
    for unit, factor in _DURATION_UNITS:
        number, rest = divmod(rest, factor)
        if number:
            parts.append(f"{number}{unit}")
    sign = "-" if seconds < 0 and parts else ""
    return sign + ("".join(parts) or "0s")


def parse_size(text: str) -> int:
    """Read `64M` as bytes: K, M, G, T are powers of 1024, as docker has them; no unit is bytes."""
    found = _SIZE.fullmatch(text)
    if found is None:
        message = f"{show(text)} is not a size"
        raise Mistake(message, hint="such as `64M`, `1.5G` or `512K`")
    number, unit = found.groups()
    size = int(_exact(number) * 1024 ** _SIZE_UNITS.index((unit or "").upper()))
    if size > LARGEST_SIZE:
        message = f"{show(text)} is more than a 64-bit number of bytes"
        raise Mistake(message)
    return size


def format_size(size: int) -> str:
    """Write bytes as `64M`: exact where it is a whole number of units, else to one decimal."""
    rank = 0
    while rank < len(_SIZE_UNITS) - 1 and abs(size) >= 1024 ** (rank + 1):
        rank += 1
    number = _exact(size) / 1024**rank
    # 1023.96K would be written `1024.0K`.
    if rank and rank < len(_SIZE_UNITS) - 1 and round(abs(number), 1) >= 1024:
        rank += 1
        number /= 1024
    if rank == 0:
        return f"{size}B"
    return f"{float(number):.1f}".removesuffix(".0") + _SIZE_UNITS[rank]


def parse_count(text: str) -> int:
    """Read a plain decimal number: no sign, no leading zero, no separators."""
    if _COUNT.fullmatch(text) is None:
        message = f"{show(text)} is not a whole number"
        raise Mistake(message)
    return int(text)


def parse_decimal(text: str) -> float:
    """Read `0.5` or `2`: no sign, no exponent."""
    if _DECIMAL.fullmatch(text) is None:
        message = f"{show(text)} is not a number"
        raise Mistake(message)
    return float(text)


def parse_percentage(text: str) -> float:
    """Read `50%` as 0.5."""
    number = text.removesuffix("%")
    if number == text or _DECIMAL.fullmatch(number) is None:
        message = f"{show(text)} is not a percentage"
        raise Mistake(message, hint="such as `50%`")
    return float(_exact(number) / 100)


def parse_id(text: str) -> int:
    """Read a user or group id: 0 to 4294967294."""
    if _COUNT.fullmatch(text) is None:
        message = f"{show(text)} is not an id"
        raise Mistake(message, hint="digits only, as in `1000`")
    number = int(text)
    if number > LARGEST_ID:
        message = f"id {show(text)} is larger than {LARGEST_ID}"
        raise Mistake(message)
    return number


def parse_mode(text: str) -> int:
    """Read permission bits as chmod(1) writes them: `0755`, `1777`."""
    if _MODE.fullmatch(text) is None:
        message = f"{show(text)} is not a file mode"
        raise Mistake(message, hint="octal digits, as in `0755`")
    return int(text, 8)
