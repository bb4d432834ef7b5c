"""The only module of this room that reads files: fleet files, `.env` beside them, `env_file`."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.document import parse_document
from anchor_supervisor.fleet.env_file import parse_env
from anchor_supervisor.fleet.tree import Node, Origin
from anchor_supervisor.fleet.values import absolute, clean
from anchor_supervisor.fleet.wording import Mistake, show

LARGEST_FILE: Final = 1 << 20  # bytes; a fleet of a thousand containers takes about 200 KiB
MOST_FILES: Final = 100  # of one fleet


class Identity(NamedTuple):
    """Which file it is, by whatever name, and what it is told besides the environment."""

    path: str
    told: tuple[tuple[str, str], ...] = ()


TEXT: Final = Identity("")
"""A text that is in no file."""


@final
class Reader:
    """Reads the files of one fleet, each once. `environment` wins over every `.env`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Nothing is read yet."""
        self._environment = environment
        self._known: dict[Identity, Node] = {}

    def identify(self, name: str, around: Origin, told: Mapping[str, str]) -> Identity:
        """Say which file another names. Raises Mistake for what is no path."""
        try:
            path = os.path.realpath(absolute(name, around.directory))
        except ValueError as error:  # a NUL, or half a character
            message = f"{show(name)} is not a path: {error}"
            raise Mistake(message) from error
        return Identity(path, tuple(sorted(told.items())))

    def named(self, name: str, around: Origin, told: Mapping[str, str]) -> Node:
        """Read a file that another one names. `told` are variables that win over all others.

        Raises Mistake where it cannot be read, FleetError where there is something wrong in it.
        """
        identity = self.identify(name, around, told)
        if identity in self._known:
            return self._known[identity]
        path = absolute(name, around.directory)
        file = path if around.file is None else _beside(around.file, name)
        return self._read(identity, path, file)

    def given(self, path: Path) -> tuple[Node, Identity]:
        """Read a file of the command line. Raises FleetError."""
        absolute_path = str(path.absolute())
        try:
            identity = Identity(os.path.realpath(absolute_path))
        except ValueError as error:  # a NUL, or half a character
            problem = Problem(f"{show(str(path))} is not a path: {error}")
            raise FleetError([problem]) from error
        if identity in self._known:
            raise FleetError([Problem("the file is given twice", str(path))])
        try:
            return self._read(identity, absolute_path, str(path)), identity
        except Mistake as mistake:
            raise FleetError([Problem(mistake.message, str(path), hint=mistake.hint)]) from mistake

    def _read(self, identity: Identity, path: str, file: str) -> Node:
        if len(self._known) >= MOST_FILES:
            message = f"{show(file)} is one file too many: a fleet is of at most {MOST_FILES}"
            raise Mistake(message)
        text = _text(path, file)
        directory = posixpath.dirname(path)
        environment = {**self._environment, **dict(identity.told)}
        dotenv = _dotenv(posixpath.join(directory, ".env"), environment)
        node = parse_document(text, Origin(file, directory, {**dotenv, **environment}))
        self._known[identity] = node
        return node


def read_text(path: str) -> str:
    """Read a plain UTF-8 file of bearable size. Raises Mistake."""
    return _text(path, path)


def read_bytes(path: str) -> bytes:
    """Read a plain file of bearable size. Raises Mistake."""
    return _bytes(path, path)


def _beside(file: str, name: str) -> str:
    """Name a file as whoever named the one beside it would."""
    path = posixpath.join(posixpath.dirname(file), name)
    return clean(path)


def _dotenv(path: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    if not Path(path).exists():
        return {}
    return parse_env(read_text(path), file=path, environment=environment)


def _text(path: str, name: str) -> str:
    content = _bytes(path, name)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"{show(name)} is not UTF-8 text: line {line}"
        raise Mistake(message) from error


def _bytes(path: str, name: str) -> bytes:
    """Read a file that a person knows by this name."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = _content(descriptor) if regular else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"{show(name)} cannot be read: {error.strerror}"
        raise Mistake(message) from error
    except ValueError as error:  # a NUL in the path, or half a character
        message = f"{show(name)} cannot be read: {error}"
        raise Mistake(message) from error
    if not regular:
        message = f"{show(name)} is not a plain file"
        raise Mistake(message)
    if len(content) > LARGEST_FILE:
        message = f"{show(name)} is larger than {LARGEST_FILE} bytes"
        raise Mistake(message)
    return content


def _content(descriptor: int) -> bytes:
    """Read a plain file, up to one byte more than is allowed."""
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(LARGEST_FILE + 1)
