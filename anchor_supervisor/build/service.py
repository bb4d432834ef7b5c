"""An image made from a Dockerfile and a context: its stages that are needed, one by one."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import final

from anchor_supervisor.build import configuration as config
from anchor_supervisor.build import dockerfile as files
from anchor_supervisor.build import expand, sources
from anchor_supervisor.build.arguments import global_variables, platform_arguments, unknown
from anchor_supervisor.build.cache import Cache
from anchor_supervisor.build.fingerprint import FileDigests
from anchor_supervisor.build.instructions import Dockerfile, From, Label
from anchor_supervisor.build.options import BuildOptions, Quiet, Reporter
from anchor_supervisor.build.scratch import scratch
from anchor_supervisor.build.stage import LAYERED, Built, StageRun, needed
from anchor_supervisor.build.sweep import sweep_dead_builds
from anchor_supervisor.build.tree import Tree
from anchor_supervisor.build.workshop import Workshop
from anchor_supervisor.errors import BuildError, HostError
from anchor_supervisor.images.indexes import parse_platform
from anchor_supervisor.images.model import Image, Layer, machine_platform
from anchor_supervisor.images.store import Store
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.values import define, field

__all__ = ["BuildOptions", "build"]

SCRATCH = "scratch"


def build(
    context: Path,
    store: Store,
    options: BuildOptions = BuildOptions(),  # noqa: B008 - frozen
    reporter: Reporter | None = None,
) -> Image:
    """Build, tag and return the image.

    A RUN moves the process into a mount namespace of its own, as a supervisor does, and leaves
    threads behind. Raises BuildError where a step fails, FleetError for a malformed Dockerfile,
    ImageError or HostError for what else is missing, Interrupted where a signal ended a RUN.
    """
    reporter = reporter or Quiet()
    if os.geteuid() != 0:
        message = "images can only be built by root"
        raise HostError(message, hint="run it again with sudo")
    sweep_dead_builds()
    with ExitStack() as opened:
        root = sources.open_context(context)
        opened.callback(os.close, root)
        text, file = sources.read_dockerfile(root, context, options)
        dockerfile = files.parse(text, file=file)
        for warning in dockerfile.warnings:
            reporter.note(str(warning))
        for name in unknown(dockerfile, options.arguments):
            reporter.note(f"no `ARG` asks for the build argument `{name}`")
        ignored = sources.read_ignored(root, context, options)
        cache = Cache(store, reads=options.cache)
        make_private(cache.path)
        shop = Workshop(
            store,
            opened.enter_context(store.lease("build")),
            options,
            reporter,
            Tree(root, "the context", ignored=ignored),
            cache,
            FileDigests(cache.path / "files"),
            opened.enter_context(scratch(cache.path / "scratch")),
            opened,
        )
        built = _Build(shop, dockerfile).run()
        shop.digests.save()
        settings = _labelled(built.configuration, options.labels)
        image = store.make_image(shop.lease, settings, built.layers)
        for reference in options.names:
            store.tag(reference, image.digest)
        return image


def _labelled(configuration: Mapping[str, object], labels: Mapping[str, str]) -> dict[str, object]:
    if not labels:
        return dict(configuration)
    return config.changed(dict(configuration), Label(labels=tuple(labels.items())))


@final
@define(eq=False)
class _Build:
    """One build under way."""

    shop: Workshop
    dockerfile: Dockerfile
    _variables: Mapping[str, str] = field(init=False)
    _froms: Sequence[From] = field(init=False)
    _built: dict[int, Built] = field(factory=dict, init=False)
    _images: dict[str, Image] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)

    def run(self) -> Built:
        """Build what the target needs. Raises AnchorError."""
        dockerfile, options = self.dockerfile, self.shop.options
        target = len(dockerfile.stages) - 1
        if options.target is not None:
            found = dockerfile.find(options.target)
            if found is None:
                message = f"`{dockerfile.file}` has no stage `{options.target}`"
                raise BuildError(message, hint=_names(dockerfile))
            target = found
        stage = dockerfile.stages[target].name or "default"
        platforms = platform_arguments(machine_platform(), self.shop.platform, stage=stage)
        self._variables = global_variables(dockerfile, options.arguments, platforms)
        self._froms = [
            expand.instruction(
                stage.base, self._variables, escape=dockerfile.escape, file=dockerfile.file
            )
            for stage in dockerfile.stages
        ]
        bases = [dockerfile.find(base.image, before=at) for at, base in enumerate(self._froms)]
        indexes = needed(dockerfile, target, bases)
        self._count = sum(
            1 + sum(isinstance(each, LAYERED) for each in dockerfile.stages[index].instructions)
            for index in indexes
        )
        for index in indexes:
            self._stage(index)
        return self._built[target]

    def _stage(self, index: int) -> Built:
        """A stage, built if it has not been."""
        if index not in self._built:
            stage = self.dockerfile.stages[index]
            base = self._base(index)
            run = StageRun(
                self.shop,
                self.dockerfile,
                self._variables,
                lambda name: self._layers(name, index),
                self._begin,
            )
            self._built[index] = run.run(stage, base)
        return self._built[index]

    def _begin(self, text: str) -> None:
        self._number += 1
        self._count = max(self._count, self._number)  # triggers of a base are not known before
        self.shop.reporter.begin(self._number, self._count, text)

    def _base(self, index: int) -> Built:
        base = self._froms[index]
        self._begin(self.dockerfile.stages[index].base.text)
        started = time.monotonic()
        other = self.dockerfile.find(base.image, before=index)
        if other is not None:
            built = self._stage(other)
        elif base.image == SCRATCH:
            built = Built(config.empty(self.shop.platform))
        else:
            image = self._image(base.image, base.platform)
            built = Built(image.config, image.layers)
        self.shop.reporter.end(time.monotonic() - started)
        return built

    def _layers(self, name: str, index: int) -> Sequence[Layer]:
        """The layers of what `--from` names: a stage before this one, or an image."""
        other = self.dockerfile.find(name, before=index)
        if other is not None:
            return self._stage(other).layers
        if name == SCRATCH:
            return ()
        if name.isdecimal() or self.dockerfile.find(name) is not None:
            message = f"stage `{name}` is not before this one"
            raise BuildError(message, hint=_names(self.dockerfile))
        return self._image(name, None).layers

    def _image(self, name: str, platform: str | None) -> Image:
        key = f"{platform}\0{name}"
        if key not in self._images:
            wanted = self.shop.platform if platform is None else parse_platform(platform)
            self._images[key] = sources.find_image(
                name,
                self.shop.store,
                self.shop.lease,
                platform=wanted,
                pull=self.shop.options.pull,
                reporter=self.shop.reporter,
            )
        return self._images[key]


def _names(dockerfile: Dockerfile) -> str:
    names = [stage.name for stage in dockerfile.stages if stage.name]
    return f"its stages: {', '.join(names)}" if names else "its stages have numbers, from 0 on"
