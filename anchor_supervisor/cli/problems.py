"""How what went wrong reaches a person, and the exit code it makes. Both programs end here.

No traceback is ever shown: an error of ours is a sentence and a hint, anything else is a bug, and
its traceback goes to a report file. Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

from anchor_supervisor import __version__
from anchor_supervisor.cli.descriptors import OutputFailed
from anchor_supervisor.errors import AnchorError, FleetError, Problem, UnfitHostError
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

INTERRUPTED: Final = 130  # 128 + SIGINT
HUNG_UP: Final = 141  # 128 + SIGPIPE
BUG: Final = 70  # EX_SOFTWARE, sysexits.h

_RED, _CYAN, _YELLOW, _RESET = "\x1b[1;31m", "\x1b[36m", "\x1b[1;33m", "\x1b[0m"


def guarded(
    action: Callable[[], int], *, failure_code: int | None = None, color: bool | None = None
) -> int:
    """Run `action` and return the program's exit code, whatever happens in it.

    `failure_code`, where given, stands for every failure of ours: `run` and `exec` leave all
    other codes to the command. `color` None: as standard error and NO_COLOR say.
    """
    try:
        code = action()
        _flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return HUNG_UP
    except SystemExit as leaving:  # argparse: help (0) or a wrong use (2)
        return _leave(leaving, failure_code)
    except BaseException as error:  # noqa: ASYNC103 - the end of the program; no loop runs here
        code = _explain(error, color=color)
        if failure_code is not None and code != INTERRUPTED:
            code = failure_code
        _forget_output()
    return code


def _leave(leaving: SystemExit, failure_code: int | None) -> int:
    code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    try:
        sys.stdout.flush()
    except OSError:
        pass  # that it was a wrong use says more
    return failure_code if code and failure_code is not None else code


def _explain(error: BaseException, *, color: bool | None) -> int:
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return INTERRUPTED
    if all(isinstance(leaf, AnchorError) for leaf in leaves):
        codes = [show(leaf, color=color) for leaf in leaves if isinstance(leaf, AnchorError)]
        if BUG not in codes:
            return codes[0]
    elif all(isinstance(leaf, OSError) for leaf in leaves) and _is_output_failure(leaves[0]):
        _say("error", f"cannot write to standard output: {_reason(leaves[0])}", _RED, color=color)
        return 1
    else:
        what = f"{type(leaves[0]).__name__}: {leaves[0]}"
        _say("error", f"internal error: {what}", _RED, color=color)
    where = _save_report(error)
    _say("hint", f"this is our mistake; please report it with {where}", _CYAN, color=color)
    return BUG


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Take the groups that trio's nurseries make apart."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error


def show(error: AnchorError, *, color: bool | None = None) -> int:
    """Print one error of ours on standard error; return its exit code."""
    if isinstance(error, FleetError | UnfitHostError):
        for problem in error.problems:
            _show_problem(problem, color=color)
    else:
        _say("error", error.message, _RED, color=color)
        if error.hint:
            _say("hint", error.hint, _CYAN, color=color)
    return error.exit_code


def _show_problem(problem: Problem, *, color: bool | None) -> None:
    _say("error", str(problem), _RED, color=color)
    if problem.hint:
        _say("hint", problem.hint, _CYAN, color=color)


def warn(message: str, *, color: bool | None = None) -> None:
    """Print a warning on standard error."""
    _say("warning", message, _YELLOW, color=color)


def _say(label: str, message: str, colour: str, *, color: bool | None) -> None:
    from anchor_supervisor.observability.terminal import neutral_text, wants_color  # rarely

    shown = neutral_text(message)
    color = wants_color(sys.stderr) if color is None else color
    head = f"{colour}{label}:{_RESET}" if color else f"{label}:"
    try:
        sys.stderr.write(f"{head} {shown}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody is left to tell


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(error.errno, error.strerror) from None


def _is_output_failure(error: BaseException) -> bool:
    return isinstance(error, OutputFailed)


def _reason(error: BaseException) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _forget_output() -> None:
    """Let the interpreter's own last flush go nowhere, instead of complaining a second time."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        except (OSError, ValueError):
            pass  # there is no such file, or no standard output


def _save_report(error: BaseException) -> str:
    """Write the traceback, but no arguments (they hold secrets), for its owner only; say where."""
    import platform
    import tempfile
    import traceback

    text = (
        f"anchor-supervise {__version__}, Python {platform.python_version()}, "
        f"Linux {platform.release()}, {' '.join(sys.argv[:1])}\n\n"
        + "".join(traceback.format_exception(error))
    )
    try:
        fd, path = tempfile.mkstemp(prefix="anchor-report-", suffix=".txt")
        with os.fdopen(fd, "w", errors="replace") as file:
            file.write(text)
    except OSError:
        return f"this: {error!r}"
    return f"`{path}`"
