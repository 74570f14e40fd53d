"""axe-core, which looks for what keeps people from using a page."""

import importlib.resources

#: As its package has it.
SCRIPT = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


def violations(page):
    """What it finds in the page as it is: of each rule its name, and where."""
    # Not from within the page: its policy lets no other script in.
    page.evaluate(SCRIPT)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        (rule["id"], rule["help"], [node["target"] for node in rule["nodes"]])
        for rule in found["violations"]
    ]
