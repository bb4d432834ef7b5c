"""How both programs begin and end: what the interpreter does beside our work, and need not do.

Nothing is imported here that any program of ours does without.
"""

from __future__ import annotations

import gc
import os
import sys

from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn


def anchor() -> NoReturn:
    """Be `anchor`."""
    gc.disable()
    from anchor_supervisor.cli.main import main  # after that: imports make no garbage, only much

    leave(main())


def anchor_supervise() -> NoReturn:
    """Be `anchor-supervise`."""
    gc.disable()
    from anchor_supervisor.cli.supervise import main

    leave(main())


def collect_garbage_from_now() -> None:
    """Let the collector begin: all that was imported stays, so that need never be looked at."""
    gc.freeze()
    gc.enable()


def leave(code: int) -> NoReturn:
    """End the process. Whatever had to be given back has been, so nothing is left to take apart.

    Taking modules and classes apart would last longer than `anchor ps` itself. Threads that still
    wait for work hold nothing; what was printed is on its way before this, or is flushed here.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # told before, by whoever wrote; or closed
    os._exit(code)
