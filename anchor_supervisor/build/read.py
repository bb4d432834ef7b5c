"""One line of a Dockerfile read as the instruction it is. Pure; wrong ones are Mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from anchor_supervisor.build import instructions as say
from anchor_supervisor.build import lines, words
from anchor_supervisor.build.flags import Flags, read_flags
from anchor_supervisor.build.lines import Line
from anchor_supervisor.build.mounts import read_mount
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show

_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]*")
_REMOTE: Final = re.compile(r"(?:https?|ftp|git|ssh)://|git@", re.IGNORECASE)
_SECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TIME: Final = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{0,15})?(?:ns|us|µs|μs|ms|s|m|h))+")
_TIME_PART: Final = re.compile(r"([0-9]+)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
SHORTEST_TIME: Final = 10**6  # nanoseconds; docker takes no health check's time under it
LONGEST_TIME: Final = 2**63 - 1
MOST_RETRIES: Final = 2**31 - 1

Parts: TypeAlias = dict[str, Any]
Place: TypeAlias = dict[str, Any]


def instruction(line: Line) -> tuple[say.Instruction | say.From | None, list[Mistake]]:
    """Return what a line asks for, None where it cannot be told; and all that is wrong with it."""
    reader = _READERS.get(line.keyword.upper())
    if reader is None:
        known = tuple(_READERS)
        message = f"there is no instruction {show(line.keyword)}"
        return None, [Mistake(message, hint=did_you_mean(line.keyword.upper(), known))]
    flags, mistakes = read_flags(line.keyword.upper(), line.flags)
    try:
        return reader(line, flags), mistakes
    except Mistake as mistake:
        return None, [*mistakes, mistake]


def trigger(text: str) -> say.Instruction:
    """Read one instruction of an image's `OnBuild`, heredocs and all. Raises Mistake."""
    found = lines.split(text, file="")
    if found.problems:
        raise Mistake(found.problems[0].message, hint=found.problems[0].hint)
    if len(found.lines) != 1:
        message = f"{show(text)} is not one instruction"
        raise Mistake(message)
    return _triggered(found.lines[0])


def _triggered(line: Line) -> say.Instruction:
    if line.keyword.upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        message = f"`{line.name}` cannot be triggered by ONBUILD"
        raise Mistake(message)
    found, mistakes = instruction(line)
    if mistakes:
        raise mistakes[0]
    assert found is not None
    assert not isinstance(found, say.From)
    return found


def _place(line: Line) -> Place:
    return {"line": line.line, "end_line": line.end_line, "text": line.text}


def _needed(line: Line, what: str = "an argument") -> str:
    if not line.rest:
        message = f"`{line.name}` needs {what}"
        raise Mistake(message)
    return line.rest


def _command(line: Line, text: str, *, empty: bool = False) -> say.Command:
    """Read the exec or the shell form; `empty` allows `[]`, which undoes an inherited one."""
    found = words.json_words(text)
    if found is None:
        return text
    if not found and not empty:
        message = f"`{line.name}` needs a command"
        raise Mistake(message)
    return found


def _listed(text: str) -> tuple[str, ...]:
    found = words.json_words(text)
    return found if found is not None else tuple(words.BLANKS.split(text))


def _from(line: Line, flags: Flags) -> say.From:
    parts = words.BLANKS.split(_needed(line, "an image"))
    name = None
    if len(parts) == 3 and parts[1].lower() == "as":
        name = parts[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            message = f"{show(parts[2])} cannot be a stage's name"
            hint = "a letter, then letters, digits, `-`, `_` and `.`"
            raise Mistake(message, hint=hint)
    elif len(parts) != 1:
        raise Mistake("`FROM` takes an image, or an image and a name", hint="`FROM image AS name`")
    return say.From(image=parts[0], platform=flags.text("platform"), name=name, **_place(line))


def _run(line: Line, flags: Flags) -> say.Run:
    network = flags.text("network") or "default"
    if network not in list(say.Network):
        listed = ", ".join(f"`{member}`" for member in say.Network)
        message = f"`--network` is one of {listed}, not {show(network)}"
        raise Mistake(message, hint=did_you_mean(network, list(say.Network)))
    security = flags.text("security") or "sandbox"
    if security == "insecure":
        raise Mistake("`RUN --security=insecure` is refused", hint="every RUN is confined")
    if security != "sandbox":
        message = f"`--security` is `sandbox`, not {show(security)}"
        raise Mistake(message)
    return say.Run(
        command=_command(line, _needed(line, "a command")),
        heredocs=line.heredocs,
        mounts=tuple(read_mount(text) for text in flags.texts("mount")),
        network=say.Network(network),
        **_place(line),
    )


def _copied(line: Line, flags: Flags) -> Parts:
    """Read what COPY and ADD share."""
    parts = _listed(_needed(line, "a source and a destination"))
    if len(parts) < 2:
        message = f"`{line.name}` needs a source and a destination"
        raise Mistake(message, hint=f"`{line.name} {parts[0] if parts else 'source'} ./`")
    if line.heredocs and words.heredoc(parts[-1]) is not None:
        message = f"`{line.name}` cannot have a heredoc as its destination"
        raise Mistake(message)
    opened = {heredoc.name for heredoc in line.heredocs}
    for name in opened:
        if "/" in name or name in (".", ".."):
            message = f"the heredoc {show(name)} is not a file's name"
            raise Mistake(message)
    sources = []
    for part in parts[:-1]:
        heredoc = words.heredoc(part)
        if heredoc is None or heredoc.name not in opened:
            sources.append(part)
    return {
        "sources": tuple(sources),
        "destination": parts[-1],
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "exclude": flags.texts("exclude"),
        "link": flags.switch("link") is True,
        "heredocs": line.heredocs,
    }


def _copy(line: Line, flags: Flags) -> say.Copy:
    source = flags.text("from")
    if source is not None and "$" in source:
        message = f"variables are not expanded in {show(f'--from={source}')}"
        raise Mistake(message, hint="give it a stage of its own: `FROM $IMAGE AS name`")
    parts = _copied(line, flags)
    if source is not None and parts["heredocs"]:
        raise Mistake("`COPY --from` takes no heredoc")
    parents = flags.switch("parents") is True
    return say.Copy(**parts, from_=source, parents=parents, **_place(line))


def _add(line: Line, flags: Flags) -> say.Add:
    parts = _copied(line, flags)
    refuse_remote(parts["sources"])
    return say.Add(**parts, unpack=flags.switch("unpack"), **_place(line))


def refuse_remote(sources: tuple[str, ...]) -> None:
    """Refuse what ADD would have to download: nothing says what it should be."""
    for source in sources:
        if _REMOTE.match(source):
            message = f"`ADD` downloads nothing: {show(source)}"
            raise Mistake(message, hint="put it into the context, or fetch it in a RUN")


def _pairs(line: Line) -> tuple[tuple[str, str], ...]:
    """Read `k=v k="v w"`, or the old `k v w`, which is one variable and the rest of the line."""
    found = words.quoted_words(_needed(line), line.escape)
    if not found or "=" not in found[0]:
        parts = words.BLANKS.split(line.rest, maxsplit=1)
        if len(parts) < 2:
            message = f"`{line.name}` {show(line.rest)} has no value"
            raise Mistake(message, hint=f"`{line.name} name=value`")
        return ((parts[0], parts[1]),)
    pairs = []
    for word in found:
        name, equals, value = word.partition("=")
        if not equals:
            message = f"{show(word)} is not `name=value`"
            raise Mistake(message, hint="quote a value with spaces in it")
        if not name:
            message = f"a name of `{line.name}` is empty"
            raise Mistake(message)
        pairs.append((name, value))
    return tuple(pairs)


def _arg(line: Line, _: Flags) -> say.Arg:
    arguments = []
    for word in words.quoted_words(_needed(line, "a name"), line.escape):
        name, equals, value = word.partition("=")
        if not name:
            message = f"a name of `{line.name}` is empty"
            raise Mistake(message)
        arguments.append((name, value if equals else None))
    return say.Arg(tuple(arguments), **_place(line))


def _volume(line: Line, _: Flags) -> say.Volume:
    paths = tuple(path.strip() for path in _listed(_needed(line, "a path")))
    if not paths or not all(paths):
        raise Mistake("a path of `VOLUME` is empty")
    return say.Volume(paths, **_place(line))


def _shell(line: Line, _: Flags) -> say.Shell:
    command = _command(line, _needed(line, "a command"))
    if isinstance(command, str):
        raise Mistake("`SHELL` takes the exec form only", hint='`SHELL ["/bin/bash", "-c"]`')
    return say.Shell(command, **_place(line))


def _health_check(line: Line, flags: Flags) -> say.HealthCheck:
    kind, *rest = words.BLANKS.split(_needed(line, "`CMD command` or `NONE`"), maxsplit=1)
    if kind.upper() == "NONE":
        if rest or flags.values:
            raise Mistake("`HEALTHCHECK NONE` takes nothing else")
        return say.HealthCheck(None, **_place(line))
    if kind.upper() != "CMD":
        message = f"`HEALTHCHECK` takes `CMD` or `NONE`, not {show(kind)}"
        raise Mistake(message, hint="`HEALTHCHECK CMD command`")
    if not rest:
        raise Mistake("`HEALTHCHECK CMD` needs a command")
    return say.HealthCheck(
        command=_command(line, rest[0]),
        interval=nanoseconds(flags.text("interval")),
        timeout=nanoseconds(flags.text("timeout")),
        start_period=nanoseconds(flags.text("start-period")),
        start_interval=nanoseconds(flags.text("start-interval")),
        retries=_retries(flags.text("retries") or "0"),
        **_place(line),
    )


def nanoseconds(text: str | None) -> int:
    """Read a time as Go writes it: `1h5m`, `1.5s`, `300ms`; 0 is left to the default."""
    if text is None or text == "0":
        return 0
    if not _TIME.fullmatch(text):
        message = f"{show(text)} is not a duration"
        raise Mistake(message, hint="such as `1m30s`, `5s` or `200ms`")
    total = 0
    for whole, part, unit in _TIME_PART.findall(text):
        total += int(whole) * _SECONDS[unit]
        total += int(part or 0) * _SECONDS[unit] // 10 ** len(part)
    if 0 < total < SHORTEST_TIME or total > LONGEST_TIME:
        message = f"{show(text)} is not between 1ms and 290 years"
        raise Mistake(message)
    return total


def _retries(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 11) or int(text) > MOST_RETRIES:
        message = f"`--retries` is a whole number, not {show(text)}"
        raise Mistake(message)
    return int(text)


def _on_build(line: Line, _: Flags) -> say.OnBuild:
    inner = lines.one(
        _needed(line, "an instruction"),
        escape=line.escape,
        line=line.line,
        end_line=line.end_line,
        heredocs=line.heredocs,
    )
    text = inner.text + "".join(f"\n{each.content}{each.name}" for each in line.heredocs)
    return say.OnBuild(trigger=text, instruction=_triggered(inner), **_place(line))


_READERS: Final[Mapping[str, Callable[[Line, Flags], say.Instruction | say.From]]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": lambda line, _: say.Cmd(
        _command(line, _needed(line, "a command"), empty=True), **_place(line)
    ),
    "COPY": _copy,
    "ENTRYPOINT": lambda line, _: say.Entrypoint(
        _command(line, _needed(line, "a command"), empty=True), **_place(line)
    ),
    "ENV": lambda line, _: say.Env(_pairs(line), **_place(line)),
    "EXPOSE": lambda line, _: say.Expose(
        tuple(words.BLANKS.split(_needed(line, "a port"))), **_place(line)
    ),
    "FROM": _from,
    "HEALTHCHECK": _health_check,
    "LABEL": lambda line, _: say.Label(_pairs(line), **_place(line)),
    "MAINTAINER": lambda line, _: say.Maintainer(_needed(line, "a name"), **_place(line)),
    "ONBUILD": _on_build,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": lambda line, _: say.StopSignal(_needed(line, "a signal"), **_place(line)),
    "USER": lambda line, _: say.User(_needed(line, "a user"), **_place(line)),
    "VOLUME": _volume,
    "WORKDIR": lambda line, _: say.WorkDir(_needed(line, "a path"), **_place(line)),
}
