"""The code blocks of a recipe in docs/recipes: what the scripts here run is what readers copy."""

import pathlib
import re

from .machine import expect

RECIPES = pathlib.Path(__file__).parents[2] / "docs" / "recipes"


class Recipe:
    def __init__(self, name):
        self.name = name
        text = (RECIPES / f"{name}.md").read_text()
        self.blocks = re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    def block(self, title):
        """The one block whose first line has this title."""
        found = [block for block in self.blocks if title in block.split("\n", 1)[0]]
        expect(f"{self.name}.md has one block {title}", len(found) == 1, found)
        return found[0]


def adapted(text, changes):
    """`text` with the addresses and folders of this machine; each of them has to be there."""
    for ours, here in changes.items():
        expect(f"a recipe names {ours}", ours in text, text)
        text = text.replace(ours, str(here))
    return text
