"""What a Dockerfile says, one frozen value for each instruction; nothing in them is expanded yet.

Two instructions are equal when they ask for the same: their place and their spelling don't count.
`expand.instruction` returns the same kinds of values with their variables replaced.
"""

from __future__ import annotations

import enum
import re
from typing import ClassVar, Final, TypeAlias, final

from anchor_supervisor.errors import Problem
from anchor_supervisor.values import field, frozen

Command: TypeAlias = tuple[str, ...] | str
"""The exec form (a tuple of arguments) or the shell form (text for the shell)."""

_TABS: Final = re.compile(r"^\t+", re.MULTILINE)
_LONE_HEREDOC: Final = re.compile(r"\d*<<-?[^<\s]+")  # `<<EOF bash` is the input of bash


@frozen(kw_only=True)
class _Placed:
    """Where an instruction is: its first and last line, and the whole of it on one line."""

    keyword: ClassVar[str]
    line: int = field(default=0, eq=False)
    end_line: int = field(default=0, eq=False)
    text: str = field(default="", eq=False, repr=False)


@final
@frozen
class Heredoc:
    """A text inside the Dockerfile: a file of that name, or a part of a shell's text.

    `content` is as written; `expand` is False when the name was quoted. `chomp` is `<<-`.
    """

    name: str
    content: str = ""
    expand: bool = True
    chomp: bool = False
    descriptor: int = 0

    @property
    def body(self) -> str:
        """The content as a reader of the heredoc sees it: without leading tabs after `<<-`."""
        return _TABS.sub("", self.content) if self.chomp else self.content


@final
class MountKind(enum.StrEnum):
    """What a `RUN --mount` puts there."""

    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"  # noqa: S105 - a kind of mount


@final
class Sharing(enum.StrEnum):
    """Who may use a cache mount at the same time."""

    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


@final
class Network(enum.StrEnum):
    """What a RUN can reach."""

    DEFAULT = "default"
    NONE = "none"
    HOST = "host"


@final
@frozen
class RunMount:
    """One `--mount` of a RUN. `written` is what it was read from, for reading it again expanded.

    Until then a value with a variable in it is missing here. `id` is a cache's or a secret's name,
    `source` a path in `from_` (a stage, an image) or in the context; `size` in bytes, `mode` as is.
    """

    written: str = field(eq=False)
    kind: MountKind = MountKind.BIND
    from_: str | None = None
    source: str | None = None
    target: str | None = None
    read_only: bool = True
    id: str | None = None
    sharing: Sharing = Sharing.SHARED
    required: bool = False
    env: str | None = None
    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@final
@frozen
class From(_Placed):
    """`FROM [--platform=P] IMAGE [AS NAME]`: a stage begins. `name` is in lower case."""

    keyword = "FROM"
    image: str
    platform: str | None = None
    name: str | None = None


@final
@frozen
class Run(_Placed):
    """`RUN`: a command of the build."""

    keyword = "RUN"
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[RunMount, ...] = ()
    network: Network = Network.DEFAULT

    @property
    def exec_form(self) -> bool:
        """Whether it runs without a shell."""
        return isinstance(self.command, tuple)

    @property
    def script(self) -> str | None:
        """The one heredoc that begins with `#!`: a file to be run without a shell."""
        body = self._alone
        return body if body is not None and body.startswith("#!") else None

    @property
    def shell_text(self) -> str:
        """What the shell is given: the one heredoc's body, or the line and its heredocs."""
        assert isinstance(self.command, str), "the exec form has no shell"
        body = self._alone
        if body is not None:
            return body
        parts = [f"\n{heredoc.content}{heredoc.name}" for heredoc in self.heredocs]
        return self.command + "".join(parts)

    @property
    def _alone(self) -> str | None:
        lone = isinstance(self.command, str) and _LONE_HEREDOC.fullmatch(self.command.strip())
        return self.heredocs[0].body if self.heredocs and lone else None


@final
@frozen
class Copy(_Placed):
    """`COPY`: files of the context, of a stage or of an image, and texts of the Dockerfile.

    `from_` is a stage's name or number, or an image. Each heredoc is a file of its name.
    """

    keyword = "COPY"
    sources: tuple[str, ...]
    destination: str
    from_: str | None = None
    chown: str | None = None
    chmod: str | None = None
    exclude: tuple[str, ...] = ()
    link: bool = False
    parents: bool = False
    heredocs: tuple[Heredoc, ...] = ()


@final
@frozen
class Add(_Placed):
    """`ADD`: COPY from the context that unpacks local archives, unless `unpack` is False."""

    keyword = "ADD"
    sources: tuple[str, ...]
    destination: str
    chown: str | None = None
    chmod: str | None = None
    exclude: tuple[str, ...] = ()
    link: bool = False
    unpack: bool | None = None
    heredocs: tuple[Heredoc, ...] = ()


@final
@frozen
class Env(_Placed):
    """`ENV`: variables of the build and of the image."""

    keyword = "ENV"
    variables: tuple[tuple[str, str], ...]


@final
@frozen
class Arg(_Placed):
    """`ARG`: variables of the build alone; without a default the second of a pair is None."""

    keyword = "ARG"
    arguments: tuple[tuple[str, str | None], ...]


@final
@frozen
class WorkDir(_Placed):
    """`WORKDIR`: where commands start and relative paths begin."""

    keyword = "WORKDIR"
    path: str


@final
@frozen
class User(_Placed):
    """`USER`: who commands run as."""

    keyword = "USER"
    user: str


@final
@frozen
class Label(_Placed):
    """`LABEL`: notes on the image."""

    keyword = "LABEL"
    labels: tuple[tuple[str, str], ...]


@final
@frozen
class Expose(_Placed):
    """`EXPOSE`: ports, as written; `configuration.ports` reads them."""

    keyword = "EXPOSE"
    ports: tuple[str, ...]


@final
@frozen
class Volume(_Placed):
    """`VOLUME`: directories that outlive the container."""

    keyword = "VOLUME"
    paths: tuple[str, ...]


@final
@frozen
class Entrypoint(_Placed):
    """`ENTRYPOINT`: what a container always runs."""

    keyword = "ENTRYPOINT"
    command: Command


@final
@frozen
class Cmd(_Placed):
    """`CMD`: what a container runs unless told otherwise."""

    keyword = "CMD"
    command: Command


@final
@frozen
class Shell(_Placed):
    """`SHELL`: what the shell forms after it are given to."""

    keyword = "SHELL"
    command: tuple[str, ...]


@final
@frozen
class StopSignal(_Placed):
    """`STOPSIGNAL`: what asks a container to end."""

    keyword = "STOPSIGNAL"
    signal: str


@final
@frozen
class HealthCheck(_Placed):
    """`HEALTHCHECK`: `command` is None for NONE. Times are nanoseconds, 0 is the default."""

    keyword = "HEALTHCHECK"
    command: Command | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@final
@frozen
class OnBuild(_Placed):
    """`ONBUILD`: `trigger` is the text kept in the image, `instruction` what it says."""

    keyword = "ONBUILD"
    trigger: str
    instruction: Instruction


@final
@frozen
class Maintainer(_Placed):
    """`MAINTAINER`: the image's author; long deprecated."""

    keyword = "MAINTAINER"
    name: str


Instruction: TypeAlias = (
    Run
    | Copy
    | Add
    | Env
    | Arg
    | WorkDir
    | User
    | Label
    | Expose
    | Volume
    | Entrypoint
    | Cmd
    | Shell
    | StopSignal
    | HealthCheck
    | OnBuild
    | Maintainer
)
"""Whatever can stand inside a stage."""


@final
@frozen
class Stage:
    """A FROM and what follows it."""

    base: From
    instructions: tuple[Instruction, ...] = ()

    @property
    def name(self) -> str | None:
        """What it is called by `--from` and `--target`, in lower case."""
        return self.base.name


@final
@frozen
class Dockerfile:
    """A whole file: the ARGs before the first FROM, and the stages (at least one).

    `warnings` are what is allowed and hardly meant.
    """

    file: str
    stages: tuple[Stage, ...]
    arguments: tuple[Arg, ...] = ()
    escape: str = "\\"
    syntax: str | None = None
    lines: tuple[str, ...] = field(default=(), eq=False, repr=False)
    warnings: tuple[Problem, ...] = field(default=(), eq=False)

    def find(self, name: str, *, before: int | None = None) -> int | None:
        """Return the index of the stage of this name or number, the last such one before `before`.

        None: no stage, so it can only be an image. (For `--target` there is no `before`.)
        """
        end = len(self.stages) if before is None else before
        for index in reversed(range(end)):
            if self.stages[index].name == name.lower():
                return index
        number = int(name) if name.isascii() and name.isdigit() and len(name) < 5 else end
        return number if number < end else None

    def excerpt(self, instruction: Instruction | From) -> tuple[str, ...]:
        """Return an instruction's lines as they are in the file."""
        return self.lines[instruction.line - 1 : instruction.end_line]
