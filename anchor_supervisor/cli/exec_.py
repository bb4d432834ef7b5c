"""`anchor exec NAME CMD...`: one more process in a running container, with our own terminal.

The supervisor says what the process must be like; it is started from here, as our child, so that
its input, output and exit code need no way through the supervisor.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from anchor_supervisor.cli.options import add_fleet_options, fleet_client
from anchor_supervisor.cli.problems import show
from anchor_supervisor.control.protocol import container_page
from anchor_supervisor.errors import ControlError
from anchor_supervisor.kernel import pidfd
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.init_image import open_init
from anchor_supervisor.kernel.process import refuse_dumps
from anchor_supervisor.kernel.spawn import Child, SpawnError, spawn
from anchor_supervisor.rootfs import users
from anchor_supervisor.rootfs.command import DEFAULT_PATH, candidates
from anchor_supervisor.runtime.recipe import Powers, Process, exec_steps, limit_number

LIMITS: Final = ("nofile", "nproc", "core", "memlock", "stack", "fsize", "as", "data", "cpu")
FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)

EXAMPLES: Final = """\
The exit code is the command's; 128+N if signal N ended it, 125 our own error, 126 not
executable, 127 not found.

examples:
  anchor exec web ps aux
  anchor exec -u nobody -w /tmp -e LANG=C web.2 sh -c 'id; pwd'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-t", "--tty", action="store_true", help="not supported yet")
    parser.add_argument("-u", "--user", help="name or number; default: the container's own")
    parser.add_argument("-w", "--workdir", metavar="DIR", help="default: the container's own")
    parser.add_argument(
        "-e", "--env", metavar="K=V", action="append", default=[], help="a variable"
    )
    add_fleet_options(parser)
    parser.add_argument("name", metavar="NAME", help="`web`, or `web.2` for the second replica")
    parser.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER, help="what to run")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if options.tty or not words:
        message = "`-t` is not supported yet" if options.tty else "no command is given"
        raise ControlError(message, hint="anchor exec NAME CMD...")
    path = container_page(options.name, "exec-context")
    context = fleet_client(options).get(path)
    refuse_dumps()
    with ExitStack() as opened:
        main = _open_main_process(context)
        opened.callback(os.close, main)
        group = Cgroup(Path(context["cgroup"])).open()
        opened.callback(os.close, group)
        init = open_init()
        opened.callback(os.close, init)
        process = _process(context, options, tuple(words))
        steps = exec_steps(_powers(context), main, process, init)
        # A signal that comes meanwhile waits until it can be passed on.
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        try:
            child = spawn(steps, cgroup=group, share_memory=False)
        except SpawnError as error:
            show(error)
            return error.shell_code
        opened.callback(child.close)
        return _wait(child)


def _open_main_process(context: Mapping[str, Any]) -> int:
    """Open the container's main process, and make sure that it still is that."""
    handle = pidfd.open_pidfd(context["pid"])
    found = pidfd.identify(context["pid"])
    if found is None or not str(context["cgroup"]).endswith(found.cgroup) or not found.cgroup:
        os.close(handle)
        message = f"`{context['name']}` has just ended"
        raise ControlError(message, hint="`anchor ps` tells whether it is up again")
    return handle


def _powers(context: Mapping[str, Any]) -> Powers:
    """The limits are read from the main process; everything else the supervisor said."""
    pid = context["pid"]
    own, theirs = (os.stat(f"/proc/{one}/ns/user") for one in ("self", pid))
    limits = {name: resource.prlimit(pid, limit_number(name)) for name in LIMITS}
    return Powers(
        bounding=context["capabilities"],
        no_new_privileges=context["no_new_privileges"],
        private_users=not os.path.samestat(own, theirs),
        limits=limits,
    )


def _process(
    context: Mapping[str, Any], options: argparse.Namespace, argv: tuple[str, ...]
) -> Process:
    environment = dict(entry.split("=", 1) for entry in context["environment"])
    uid, gid, groups = context["uid"], context["gid"], tuple(context["groups"])
    if options.user is not None:
        root = os.open(f"/proc/{context['pid']}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = users.lookup(root, options.user)
        finally:
            os.close(root)
        uid, gid, groups = found.uid, found.gid, found.groups
        environment["HOME"] = found.home
    for entry in options.env:
        key, equals, value = entry.partition("=")
        if equals or key in os.environ:
            environment[key] = value if equals else os.environ[key]
    return Process(
        argv=argv,
        candidates=candidates(argv[0], environment.get("PATH", DEFAULT_PATH)),
        environment=environment,
        uid=uid,
        gid=gid,
        groups=groups,
        working_dir=options.workdir or context["working_dir"],
        stdio=(0, 1, 2),
    )


def _wait(child: Child) -> int:
    """Pass signals on until the command ends; return what a shell would say of its end."""
    for number in FORWARDED:
        signal.signal(number, lambda got, _frame: bool(pidfd.send_signal(child.pidfd, got)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    ended = select.poll()
    ended.register(child.pidfd, select.POLLIN)
    ended.poll()
    ending = pidfd.reap(child.pidfd) or pidfd.Ending()
    return ending.shell_code
