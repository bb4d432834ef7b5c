"""What an error says, and which exit code it stands for."""

from __future__ import annotations

import errno

import pytest

from anchor_supervisor import errors


def test_a_problem_names_its_place() -> None:
    """File, line and key come first, and what is not known is left out."""
    assert str(errors.Problem("is wrong", "shop.toml", 3, "fleet.name")) == (
        "shop.toml:3: fleet.name: is wrong"
    )
    assert str(errors.Problem("is wrong")) == "is wrong"


def test_equal_problems_are_one() -> None:
    """Whatever is said of it counts, and it shows how it was made."""
    one = errors.Problem("is wrong", "shop.toml", 3, "fleet.name", "do b")
    assert {one, errors.Problem("is wrong", "shop.toml", 3, "fleet.name", hint="do b")} == {one}
    assert one != errors.Problem("was wrong", "shop.toml", 3, "fleet.name", "do b")
    assert one != errors.Problem("is wrong", "shop.toml", 3, "fleet.name")
    assert one != ("is wrong", "shop.toml", 3, "fleet.name", "do b")
    assert repr(one) == "Problem('is wrong', 'shop.toml', 3, 'fleet.name', 'do b')"


def test_a_fleet_error_tells_every_problem() -> None:
    """All of them, a line each; advice only where there is one problem to give it for."""
    one, two = errors.Problem("a", hint="do b"), errors.Problem("c", hint="do d")
    assert str(errors.FleetError([one, two])) == "a\nc"
    assert errors.FleetError([one]).hint == "do b"
    assert errors.FleetError([one, two]).hint is None


def test_a_kernel_error_is_an_os_error() -> None:
    """It can be caught as either, and says call, object and reason."""
    error = errors.KernelError(errno.EPERM, "mount tmpfs on", "/run", hint="be root")
    assert isinstance(error, OSError)
    assert error.errno == errno.EPERM
    assert str(error) == "mount tmpfs on `/run`: Operation not permitted"
    assert str(errors.KernelError(errno.ENOENT, "clone3")) == "clone3: No such file or directory"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.AnchorError, 1),
        (errors.FleetError, 2),
        (errors.HostError, 3),
        (errors.KernelError, 3),
        (errors.ImageError, 3),
        (errors.NetworkError, 3),
        (errors.ControlError, 1),
        (errors.SupervisionBug, 70),
    ],
)
def test_exit_codes_are_the_contracts(kind: type[errors.AnchorError], code: int) -> None:
    """Each kind of error stands for one exit code, whoever prints it."""
    assert kind.exit_code == code
