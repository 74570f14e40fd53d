"""What is asked of each snippet, by its title in the document."""

#: The scenario of each title.
SCENARIOS = {}

ENOUGH = {"Cache-Control": "max-age=3600"}


def snippet(title):
    def kept(scenario):
        assert title not in SCENARIOS, title
        SCENARIOS[title] = scenario
        return scenario

    return kept
