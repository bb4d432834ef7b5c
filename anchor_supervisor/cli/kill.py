"""`anchor kill`."""

from __future__ import annotations

import argparse

from anchor_supervisor.cli.actions import configure_action, perform

EXAMPLES = """\
Without -s every process of the container is ended at once; what happens then is the restart
policy's business. `anchor stop` keeps a container stopped.

examples:
  anchor kill web
  anchor kill -s HUP web       let it read its configuration again
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_action(parser)
    parser.add_argument(
        "-s",
        "--signal",
        metavar="SIG",
        type=_signal,
        help="send the main process this signal: HUP, SIGHUP or 1 (default: KILL, to all)",
    )


def run(options: argparse.Namespace) -> int:
    """Do it, and come back when it is done."""
    return perform(options, "kill", {"wait": True, "signal": options.signal})


def _signal(text: str) -> str:
    """Give a signal's name without SIG, from its name or number."""
    import signal

    try:
        if text.isdecimal():
            return signal.Signals(int(text)).name.removeprefix("SIG")
        name = text.upper().removeprefix("SIG")
        return signal.Signals[f"SIG{name}"].name.removeprefix("SIG")
    except (KeyError, ValueError):
        message = f"there is no signal `{text}`"
        raise argparse.ArgumentTypeError(message) from None
