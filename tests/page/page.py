"""The page at control's address, in a real browser, over real processes.

page.py WEIR ORIGIN_SIM [--screenshots FOLDER]

What the page says is held against what a client of the site gets at a node, and against control.
"""

import argparse

from browser import Watched, chromium, failures_told
from foreign import foreign_pages_are_refused
from purging import (
    everything_asks_first,
    late_and_absent_nodes_are_named,
    purge_by_form,
    purge_by_keyboard,
    refusals_stand_beside_their_field,
)
from screenshots import screenshots
from steps import EDGES, NODES, shows, signed_in
from topology import SECRET, Load, Topology, expect, until
from views import (
    charts_are_whole,
    content_by_popularity,
    content_is_searched_sorted_and_grouped,
    explain_over_all_nodes,
    markup_stays_text,
    many_misses_of_one_reason_are_few_until_asked_for,
    many_nodes_are_a_table,
    narrow_and_dark,
    nothing_is_inaccessible,
    origins_are_listed,
    overview_is_live,
    ranges_totals_and_sites,
    recent_misses_are_offered,
    without_traffic_there_are_numbers,
    what_is_on_disk_is_told,
    what_was_purged_is_explained,
    who_goes_on_is_not_brought_back,
    words_are_right,
)


def token_is_asked_for(browser, topology):
    watched = Watched(browser, topology.at)
    watched.refusals = {401}
    page = watched.open()
    page.locator("#token").wait_for()
    page.keyboard.type("not-the-secret-of-a-token")
    page.keyboard.press("Enter")
    shows(
        page,
        "a wrong token is refused in control's words",
        "#wrong-token",
        "the token is not known",
    )
    focused = page.evaluate("document.activeElement.id")
    expect("one can type on", focused == "token-secret", focused)
    page.keyboard.type(SECRET)
    page.keyboard.press("Enter")
    page.locator("#token").wait_for(state="hidden")
    shows(page, "with the right one there are figures", "#figures", r"Nodes\s*3\s/\s3")
    page.reload()
    shows(page, "the tab keeps it", "#figures", r"Nodes\s*3\s/\s3")
    kept = page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]")
    expect("and nothing else does", kept == [1, 0, ""], kept)
    page.locator("#forget").click()
    page.locator("#token").wait_for()
    expect("it is forgotten", page.evaluate("sessionStorage.length") == 0)
    watched.is_clean("a token is asked for, tried, kept by the tab, forgotten")


def control_goes_and_comes_back(browser, topology):
    watched = signed_in(browser, topology)
    page = watched.open()
    shows(page, "live", "#live", "^live$")
    # The browser's own words for a connection that is refused or broke off.
    heard = watched.heard
    watched.heard = lambda message: "net::ERR_" in message.text or heard(message)
    page.remove_listener("console", heard)
    page.on("console", watched.heard)
    topology.control.end()
    shows(page, "it says so", "#live", "not live")
    shows(page, "and that figures are old", "#trouble", "No update since .*control does not answer")
    topology.start_control()
    shows(page, "it comes back by itself", "#live", "^live$")
    until("and so do figures", lambda: not page.locator("#trouble").is_visible())
    until("with the nodes", lambda: all(topology.state(name) == "connected" for name in NODES))
    watched.is_clean("control goes and comes back")


SCENARIOS = [
    token_is_asked_for,
    overview_is_live,
    ranges_totals_and_sites,
    charts_are_whole,
    origins_are_listed,
    many_nodes_are_a_table,
    without_traffic_there_are_numbers,
    what_is_on_disk_is_told,
    purge_by_form,
    purge_by_keyboard,
    refusals_stand_beside_their_field,
    explain_over_all_nodes,
    what_was_purged_is_explained,
    who_goes_on_is_not_brought_back,
    recent_misses_are_offered,
    content_by_popularity,
    content_is_searched_sorted_and_grouped,
    many_misses_of_one_reason_are_few_until_asked_for,
    markup_stays_text,
    narrow_and_dark,
    nothing_is_inaccessible,
    everything_asks_first,
    late_and_absent_nodes_are_named,
    control_goes_and_comes_back,
    words_are_right,
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weir")
    parser.add_argument("origin_sim")
    parser.add_argument("--screenshots", metavar="FOLDER")
    given = parser.parse_args()
    with chromium() as browser:
        if given.screenshots:
            return screenshots(browser, given.weir, given.origin_sim, given.screenshots)
        with Topology(given.weir, given.origin_sim) as topology:
            topology.add("parent-eu", tier="parent", disk=True)
            for edge in EDGES:
                topology.add(edge, parents=["parent-eu"])
            paths = lambda n, sent: f"/articles/{sent % 10}"
            with Load(topology, paths, EDGES, lambda n: 20):
                for scenario in SCENARIOS:
                    with failures_told(scenario.__name__):
                        scenario(browser, topology)
        foreign_pages_are_refused(browser, given.weir, given.origin_sim)


if __name__ == "__main__":
    main()
