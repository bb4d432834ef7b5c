"""A supervisor for fleets of Linux containers, in one trio loop and no daemon.

The rooms, and which way imports point (down only; `lint-imports` proves it)::

    cli            what a person types: one verb a file, the only sys.exit
    build          Dockerfiles made into images
    runtime        where trio lives: one inbox, one core, one writer
    images         what images are and where they come from: store, registries, archives
    control network rootfs   talking to a fleet, reaching each other, what is seen as /
    supervision    what to do next: events in, commands out, pure
    fleet kernel observability   what is wanted, how Linux is asked, what happened
    errors         every deliberate error; beside it values, patterns, digests; beneath them hints
"""

__version__ = "0.1.0"
