"""`anchor build DIR`: an image from a Dockerfile."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from anchor_supervisor.cli.build_words import output
from anchor_supervisor.cli.options import add_json_option, print_json
from anchor_supervisor.errors import AnchorError, HostError
from anchor_supervisor.observability import places

if TYPE_CHECKING:
    from anchor_supervisor.build.options import BuildOptions, Secret
    from anchor_supervisor.images.model import Image

__all__ = ["EXAMPLES", "configure", "output", "run"]

EXAMPLES: Final = """\
RUN steps are containers of their own, isolated as every other. A step that was done before over
the same is not done again: what counts is the content of what it takes. Standard output is the
image's digest. SOURCE_DATE_EPOCH stands for now where it is set: then two builds are alike.

examples:
  anchor build -t shop .                           the Dockerfile in this directory
  anchor build -t shop -f docker/Dockerfile .      another one
  anchor build --target test --build-arg V=2 .     up to a stage, with a variable
  anchor build --secret id=token,src=./token .     for `RUN --mount=type=secret,id=token`
  anchor run -i $(anchor build -q .) CMD           straight into a container
"""


class WrongUse(AnchorError):  # noqa: N818 - it is what it is
    """An option cannot be read."""

    exit_code = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    many: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("-t", "--tag", metavar="NAME", **many, help="a name for the image")
    parser.add_argument(
        "-f",
        "--file",
        metavar="FILE",
        dest="dockerfile",
        help="the Dockerfile; `-`: standard input; default: DIR/Dockerfile",
    )
    parser.add_argument("--target", metavar="STAGE", help="build up to this stage")
    parser.add_argument(
        "--build-arg", metavar="K=V", **many, help="a variable; `K` alone takes ours"
    )
    parser.add_argument("--label", metavar="K=V", **many, help="a label of the image")
    parser.add_argument(
        "--secret", metavar="id=ID,src=FILE", **many, help="a secret; or `id=ID,env=VARIABLE`"
    )
    parser.add_argument("--no-cache", action="store_true", help="do every step anew")
    parser.add_argument("--pull", action="store_true", help="ask the base images' registries")
    parser.add_argument("--platform", metavar="P", help="os/architecture; default: this machine's")
    parser.add_argument("--iidfile", metavar="FILE", help="write the image's digest there")
    parser.add_argument("-q", "--quiet", action="store_true", help="show only the digest")
    parser.add_argument("context", metavar="DIR", help="what COPY and ADD take from")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Build; print the digest."""
    from anchor_supervisor.build.options import Interrupted
    from anchor_supervisor.build.service import build
    from anchor_supervisor.images.store import Store

    wanted = _options(options)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with output(quiet=options.quiet) as reporter:
            image = build(Path(options.context), Store(places.data_dir()), wanted, reporter)
    except Interrupted as interrupted:
        return 128 + interrupted.number
    finally:
        signal.signal(signal.SIGTERM, before)
    if options.iidfile is not None:
        _write_digest(image.digest, options.iidfile)
    _print(image, wanted, as_json=options.json, quiet=options.quiet)
    return 0


def _write_digest(digest: str, file: str) -> None:
    """Write `--iidfile`. Raises HostError; the image is there, so it says which one that is."""
    try:
        Path(file).write_text(digest)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte
        reason = error.strerror if isinstance(error, OSError) else error
        message = f"`--iidfile {file}` cannot be written: {reason}"
        raise HostError(message, hint=f"the image is built all the same: `{digest}`") from error


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """End a build outside its RUN steps as Ctrl-C does: what was begun is undone on the way."""
    from anchor_supervisor.build.options import Interrupted

    raise Interrupted(number)


def _print(image: Image, wanted: BuildOptions, *, as_json: bool, quiet: bool) -> None:
    names = [str(name) for name in wanted.names]
    if as_json:
        print_json(
            {
                "digest": image.digest,
                "config_digest": image.config_blob.digest,
                "names": names,
                "layers": len(image.layers),
                "size": image.size,
            }
        )
        return
    print(image.digest)
    for known in () if quiet else wanted.names:
        print(known.familiar)


def _options(options: argparse.Namespace) -> BuildOptions:
    from anchor_supervisor.build.options import BuildOptions
    from anchor_supervisor.images.indexes import parse_platform
    from anchor_supervisor.images.reference import parse

    from_input = options.dockerfile == "-"
    has_file = options.dockerfile is not None and not from_input
    return BuildOptions(
        names=tuple(parse(name) for name in options.tag),
        dockerfile=Path(options.dockerfile) if has_file else None,
        text=sys.stdin.read() if from_input else None,
        target=options.target,
        arguments=_pairs(options.build_arg, "--build-arg", os.environ),
        labels=_pairs(options.label, "--label", None),
        secrets=dict(_secret(text) for text in options.secret),
        platform=None if options.platform is None else parse_platform(options.platform),
        cache=not options.no_cache,
        pull=options.pull,
        epoch=_epoch(os.environ.get("SOURCE_DATE_EPOCH")),
    )


def _pairs(texts: Sequence[str], option: str, ours: Mapping[str, str] | None) -> dict[str, str]:
    """Read `K=V`; `K` alone takes the value that K has here, and is left out where it has none.

    `ours` None: nothing here has values for them, and `K` alone is K with an empty one.
    """
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            message = f"`{option} {text}` is not `K=V`"
            raise WrongUse(message)
        if equals or ours is None:
            pairs[name] = value
        elif name in ours:
            pairs[name] = ours[name]
    return pairs


def _secret(text: str) -> tuple[str, Secret]:
    from anchor_supervisor.build.options import Secret

    fields = dict(field.partition("=")[::2] for field in text.split(","))
    kind = fields.pop("type", None)
    name = fields.pop("id", "")
    file = fields.pop("src", None) or fields.pop("source", None)
    variable = fields.pop("env", None)
    if not name or fields or kind not in (None, "file", "env") or (file and variable):
        message = f"`--secret {text}` is not a secret"
        raise WrongUse(message, hint="`id=ID,src=FILE` or `id=ID,env=VARIABLE`")
    if file is None and (variable is not None or kind == "env" or name in os.environ):
        return name, Secret(variable=variable or name)
    return name, Secret(file=Path(file or name))


def _epoch(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 11:
        message = f"SOURCE_DATE_EPOCH is `{text}`, not a number of seconds"
        raise WrongUse(message)
    return int(text)
