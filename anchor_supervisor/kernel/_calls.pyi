from collections.abc import Mapping
from typing import Final

NUMBERS: Final[Mapping[str, int]]

def call(number: int, waits: bool, /, *arguments: int | bytes | bytearray | None) -> int: ...
