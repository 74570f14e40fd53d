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

    def block(self, name):
        """The one block that this name, at the end of a path perhaps, stands above as a comment."""
        found = [block for block in self.blocks if f"/{name_of(block)}".endswith(f"/{name}")]
        expect(f"{self.name}.md has one block {name}", len(found) == 1, found)
        return found[0]


def name_of(block):
    """From the first line, up to a comma: `# weir.toml, ...`, `<?php // wp-content/weir.php`."""
    line = block.split("\n", 1)[0]
    return re.sub(r"^(<\?php )?(#|//) ", "", line).split(",")[0].strip()


def adapted(text, changes):
    """`text` with the addresses and folders of this machine; each of them has to be there."""
    for ours, here in changes.items():
        expect(f"a recipe names {ours}", ours in text, text)
        text = text.replace(ours, str(here))
    return text
