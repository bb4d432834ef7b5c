from collections.abc import Mapping
from typing import Final

NUMBERS: Final[Mapping[str, int]]

def close_all(*descriptors: int) -> None: ...
def call(number: int, waits: bool, /, *arguments: int | bytes | bytearray | None) -> int: ...
