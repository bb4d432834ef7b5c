"""What becomes of the system's failures while something is taken or given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from anchor_supervisor.errors import AnchorError, KernelError
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.observability.log import log


@contextmanager
def told(what: str) -> Iterator[None]:
    """Tell the system's failures as ours: `what` could not be done. Raises KernelError."""
    try:
        yield
    except OSError as error:
        if isinstance(error, AnchorError):
            raise
        raise KernelError(error.errno or 0, what, error.filename) from error


@contextmanager
def whatever_happens(instance: InstanceId) -> Iterator[None]:
    """Go on with the others where one cannot be given back; that is logged."""
    try:
        yield
    except (AnchorError, OSError) as error:
        log.warning("could not give back", container=str(instance), error=str(error))
