"""An image's history: one entry for each instruction, in the words that docker writes. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from anchor_supervisor.build import configuration as config
from anchor_supervisor.build import instructions as say

Configuration = dict[str, Any]

_UNCLEAR: Final = re.compile(r"""[\s"'\\]""")


def recorded(
    configuration: Configuration,
    created_by: str,
    *,
    created: str | None,
    diff_id: str | None = None,
    comment: str | None = None,
) -> Configuration:
    """Return the configuration with one more step; with `diff_id`, one that made that layer.

    `created` is a time as RFC 3339 writes it, None for none.
    """
    entry: dict[str, Any] = {"created_by": created_by}
    if created is not None:
        entry["created"] = created
    if comment is not None:
        entry["comment"] = comment
    if diff_id is None:
        entry["empty_layer"] = True
    result = {**configuration, "history": [*_list(configuration, "history"), entry]}
    if created is not None:
        result["created"] = created
    if diff_id is not None:
        rootfs = configuration.get("rootfs")
        layers = _list(rootfs, "diff_ids") if isinstance(rootfs, Mapping) else []
        result["rootfs"] = {"type": "layers", "diff_ids": [*layers, diff_id]}
    return result


def created_by(
    instruction: say.Instruction, configuration: Mapping[str, Any], *, arguments: str = ""
) -> str:
    """Return how the history names an (expanded) instruction, after it has been applied.

    `arguments` is the `Scope.history_prefix` of a RUN.
    """
    keyword = instruction.keyword
    match instruction:
        case say.Run():
            given = instruction.command
            if isinstance(given, str):
                script = instruction.script
                given = (script,) if script is not None else instruction.shell_text
            return f"{keyword} {arguments}{' '.join(config.command(configuration, given))}"
        case say.Env():
            return f"{keyword} {_pairs(instruction.variables)}"
        case say.Label():
            return f"{keyword} {_pairs(instruction.labels)}"
        case say.Arg():
            words = [_pair(name, value) for name, value in instruction.arguments]
            return f"{keyword} {' '.join(words)}"
        case say.WorkDir():
            settings = configuration.get("config")
            path = settings.get("WorkingDir") if isinstance(settings, Mapping) else None
            return f"{keyword} {path or instruction.path}"
        case say.Expose():
            ports = [port for text in instruction.ports for port in config.read_ports(text)]
            return f"{keyword} [{' '.join(ports)}]"
        case say.Volume():
            return f"{keyword} [{' '.join(instruction.paths)}]"
        case say.Cmd() | say.Entrypoint():
            words = [_quoted(word) for word in config.command(configuration, instruction.command)]
            return f"{keyword} [{' '.join(words)}]"
        case say.Shell():
            return f"{keyword} [{' '.join(instruction.command)}]"
        case say.User():
            return f"{keyword} {instruction.user}"
        case say.StopSignal():
            return f"{keyword} {instruction.signal}"
        case say.Maintainer():
            return f"{keyword} {instruction.name}"
        case say.OnBuild():
            return f"{keyword} {instruction.trigger}"
        case say.Copy() | say.Add():
            return _copied(instruction)
        case say.HealthCheck():
            return instruction.text or keyword


def _copied(instruction: say.Copy | say.Add) -> str:
    flags = {"chown": instruction.chown, "chmod": instruction.chmod}
    if isinstance(instruction, say.Copy):
        flags["from"] = instruction.from_
    words = [f"--{name}={value}" for name, value in flags.items() if value]
    words += [f"--exclude={pattern}" for pattern in instruction.exclude]
    words += ["--link"] if instruction.link else []
    words += instruction.sources
    words += [f"<<{heredoc.name}" for heredoc in instruction.heredocs]
    return " ".join([instruction.keyword, *words, instruction.destination])


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return " ".join(_pair(name, value) for name, value in pairs)


def _pair(name: str, value: str | None) -> str:
    if value is None:
        return name
    # A value with spaces could not be told from the next variable.
    return f"{name}={_quoted(value) if _UNCLEAR.search(value) else value}"


def _quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False)


def _list(holder: Mapping[str, Any], name: str) -> list[Any]:
    found = holder.get(name)
    return found if isinstance(found, list) else []
