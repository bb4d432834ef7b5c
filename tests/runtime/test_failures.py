"""The system's failures: told as ours, and kept from those that they do not concern."""

from __future__ import annotations

import errno

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.runtime.failures import told, whatever_happens
from log_lines import captured_logs


def test_a_failure_of_the_system_says_what_could_not_be_done() -> None:
    """With its number and the file; one of ours goes through as it is."""
    full = OSError(errno.ENOSPC, "No space left on device", "/x")
    with (
        pytest.raises(KernelError, match="make ready `/x`: No space") as caught,
        told("make ready"),
    ):
        raise full
    assert caught.value.errno == errno.ENOSPC
    ours = KernelError(errno.EPERM, "mount", "/y")
    with pytest.raises(KernelError) as kept, told("make ready"):
        raise ours
    assert kept.value is ours


@pytest.mark.parametrize("failure", [HostError("it waits"), OSError(errno.EIO, "broken")])
def test_one_that_cannot_be_given_back_is_told(failure: Exception) -> None:
    """And nothing else; a mistake of ours is not hidden."""

    def give_back(failure: Exception) -> None:
        with whatever_happens(InstanceId("web", 2)):
            raise failure

    with captured_logs() as logged:
        give_back(failure)
    [entry] = logged
    assert (entry["container"], entry["error"]) == ("web.2", str(failure))
    with pytest.raises(KeyError):
        give_back(KeyError())
