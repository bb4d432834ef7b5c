"""An image made from a Dockerfile and a context: its stages that are needed, one by one."""

from __future__ import annotations

from pathlib import Path

from anchor_supervisor.build.options import BuildOptions, Quiet, Reporter
from anchor_supervisor.images.model import Image
from anchor_supervisor.images.store import Store


def build(
    context: Path,
    store: Store,
    options: BuildOptions = BuildOptions(),  # noqa: B008 - frozen
    reporter: Reporter | None = None,
) -> Image:
    """Build, tag and return the image.

    RUN steps move the process into a mount namespace of its own, as a supervisor does. Raises
    BuildError where a step fails, FleetError for a malformed Dockerfile, ImageError or HostError
    for what else is missing.
    """
    _ = (context, store, options, reporter or Quiet())
    raise NotImplementedError
