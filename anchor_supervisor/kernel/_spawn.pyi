from collections.abc import Sequence
from typing import Final

NO_STEP: Final[int]

class StepFailed(Exception): ...  # noqa: N818 - named for what happened; args are (errno, step)

def spawn(
    steps: Sequence[tuple[int, tuple[int, ...], tuple[bytes, ...]]],
    given: tuple[int, ...],
    flags: int,
    cgroup: int,
    share_memory: bool,
    timeout_ms: int,
    /,
) -> tuple[int, int]: ...
def make_namespaces(flags: int, id_map: bytes, proc: int, /) -> tuple[int, int, int, int]: ...
def ended_child() -> int: ...
