"""What lasts as long as the fleet is not looked at again and again for being garbage.

A thousand containers are half a million objects. A collection that looks at all of them stops the
loop for a fifth of a second, and by default there are several while a fleet comes up.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

YOUNG: Final = 10_000
"""Objects that are made before garbage is looked for among them: about a megabyte."""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Take what is there now for lasting, and look at new objects less often, for a block."""
    before = gc.get_threshold()
    gc.set_threshold(YOUNG, *before[1:])
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def take_for_lasting() -> None:
    """Take for lasting what has been made by now; this costs nothing."""
    gc.freeze()
