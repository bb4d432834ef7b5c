"""Every fleet of docs/recipes.md is one that can be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from anchor_supervisor.fleet.parse import loads

PAGE: Final = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
RECIPES: Final = re.findall(r"^## ([^\n]*)$.*?^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe[0])
def test_every_recipe_is_a_fleet(recipe: tuple[str, str], tmp_path: Path) -> None:
    """It has no problem, where the files and variables that it names are there."""
    for name in ("nginx.conf", "key.pem"):
        (tmp_path / name).write_text("content\n")
    fleet = loads(
        f'[fleet]\nname = "recipe"\n{recipe[1]}',
        file=None,
        directory=str(tmp_path),
        environment={"API_TOKEN": "token"},
    )
    assert fleet.containers


def test_the_page_has_recipes() -> None:
    """Each has a heading and a fleet; one without would pass unseen."""
    assert len(RECIPES) == PAGE.count("\n## ") >= 10
