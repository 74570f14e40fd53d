"""Steps that scenarios of the page have in common."""

import re

from browser import Watched
from topology import SECRET, expect, until

EDGES = ["edge-a", "edge-b"]
NODES = [*EDGES, "parent-eu"]


def signed_in(browser, topology, secret=SECRET, **kind):
    """A page in a tab that has a token."""
    watched = Watched(browser, topology.at, **kind)
    watched.context.add_init_script(f"sessionStorage.setItem('weir-token', '{secret}')")
    return watched


def shows(page, what, selector, pattern):
    """Waits until what is shown there matches."""
    locator = page.locator(selector)
    seen = []

    def matches():
        seen[:] = [text for text in locator.all_inner_texts()]
        return any(re.search(pattern, text, re.DOTALL) for text in seen)

    try:
        until(what, matches)
    except SystemExit:
        raise SystemExit(f"failed: {what}: expected {pattern}, shown: {seen}")
    return locator


def stored(topology, path):
    """A path that every edge answers from its store."""
    for edge in EDGES:
        until(f"{path} is stored at {edge}", lambda: "; hit" in topology.get(edge, path))


def is_gone(topology, path):
    for edge in EDGES:
        status = topology.get(edge, path)
        expect(f"{path} is gone at {edge}", "; hit" not in status and "fwd=" in status, status)
