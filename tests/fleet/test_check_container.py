"""One container by itself."""

from __future__ import annotations

import pytest

from fleet_text import messages, problems_in, read


@pytest.mark.parametrize("image", ["host", "./dir", "./root.tar"])
def test_an_image_without_a_command_of_its_own_needs_one(image: str) -> None:
    """A directory or an archive says nothing about what to run."""
    found = problems_in(f'[containers.web]\nimage = "{image}"\n')
    assert found[0].message.startswith("nothing to run: image `")
    found = problems_in(f'[containers.web]\nimage = "{image}"\ncommand = []\n')
    assert found[0].key == "containers.web.command"


def test_an_image_of_the_store_may_have_its_own() -> None:
    """And an entrypoint is enough for any."""
    assert read('[containers.web]\nimage = "postgres"\n').containers["web"].command is None
    assert read('[containers.web]\nimage = "host"\nentrypoint = "x"\n').containers


def test_a_program_has_a_name() -> None:
    """An empty first word cannot be looked for."""
    assert messages('entrypoint = [""]') == ["the program's name is empty"]


def test_a_working_directory_is_absolute() -> None:
    """Nothing else says what it would be relative to."""
    assert messages('working_dir = "srv"') == ["`srv` is not an absolute path"]
