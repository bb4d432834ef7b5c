"""The flags of instructions, `--name=value`: which there are, and which not yet.

Pure. Every wrong flag of an instruction is reported, not only the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show
from anchor_supervisor.values import frozen

_COPYING: Final = {
    "chown": "text",
    "chmod": "text",
    "link": "switch",
    "exclude": "texts",
}
KNOWN: Final[Mapping[str, Mapping[str, str]]] = {
    "FROM": {"platform": "text"},
    "RUN": {"mount": "texts", "network": "text", "security": "text", "device": "later"},
    "COPY": {**_COPYING, "from": "text", "parents": "switch"},
    "ADD": {**_COPYING, "unpack": "switch", "checksum": "later", "keep-git-dir": "later"},
    "HEALTHCHECK": {
        "interval": "text",
        "timeout": "text",
        "start-period": "text",
        "start-interval": "text",
        "retries": "text",
    },
}
"""How each is written: `--name=value` once, several times, `--name[=true]`, or refused for now."""


@final
@frozen
class Flags:
    """An instruction's flags, by name."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str | None:
        """Return the value of a flag that may be given once."""
        return self.values[name][-1] if name in self.values else None

    def texts(self, name: str) -> tuple[str, ...]:
        """Return all values of a flag that may be given several times."""
        return self.values.get(name, ())

    def switch(self, name: str) -> bool | None:
        """Return whether a flag is on; None where it is not given."""
        return self.values[name][-1] == "true" if name in self.values else None


def read_flags(instruction: str, written: tuple[str, ...]) -> tuple[Flags, list[Mistake]]:
    """Read the flags of an instruction (its name in capitals), and what is wrong with them."""
    known = KNOWN.get(instruction, {})
    values: dict[str, tuple[str, ...]] = {}
    mistakes: list[Mistake] = []
    for flag in written:
        name, equals, value = flag.removeprefix("--").partition("=")
        kind = known.get(name)
        try:
            value = _value(instruction, name, kind, value if equals else None)
            if name in values and kind != "texts":
                message = f"`--{name}` is there twice"
                raise Mistake(message)  # noqa: TRY301 - collected with the others
        except Mistake as mistake:
            mistakes.append(mistake)
        else:
            values[name] = (*values.get(name, ()), value)
    return Flags(values), mistakes


def _value(instruction: str, name: str, kind: str | None, value: str | None) -> str:
    known = KNOWN.get(instruction, {})
    match kind:
        case None:
            message = f"`{instruction}` has no flag {show(f'--{name}')}"
            near = did_you_mean(name, known)
            raise Mistake(message, hint=near.replace("`", "`--", 1) if near else None)
        case "later":
            message = f"`{instruction} --{name}` is not supported yet"
            raise Mistake(message)
        case "switch" if value is None:
            return "true"
        case "switch" if value is not None and value.lower() not in ("true", "false"):
            message = f"`--{name}` is `true` or `false`, not {show(value)}"
            raise Mistake(message)
        case "switch":
            return str(value).lower()
        case _ if not value:
            message = f"`--{name}` needs a value"
            raise Mistake(message, hint=f"`--{name}=...`")
        case _:
            return value
