"""Purges through the page, held against what control lists and what a client of the site gets."""

import re
import signal

from steps import is_gone, shows, signed_in, stored
from topology import READER, expect, until


def purge_by_form(browser, topology):
    path = "/articles/form"
    stored(topology, path)
    watched = signed_in(browser, topology)
    page = watched.open("#purges")
    page.locator("#purge-paths").fill(path)
    page.locator("#purge .primary").click()
    shows(page, "it is completed", "#purge-answer", r"Completed: 3 nodes in .*matched")
    is_gone(topology, path)
    newest = page.locator("#history > li").first
    until("it stands first in the history", lambda: path in newest.inner_text())
    told = topology.call("/v1/purges/" + newest.get_attribute("data-id"))
    for node in told["nodes"]:
        lane = newest.locator(".lanes li", has=page.get_by_text(node["name"]))
        until(f"{node['name']} has it", lambda: lane.get_attribute("data-state") == "applied")
        expect("and tells when", re.search(r"[\d.]+ (ms|s)", lane.inner_text()), lane.inner_text())
    expect("what is sent is not sent twice", page.locator("#purge-paths").input_value() == "")
    watched.is_clean("a path is purged by the form and gone at every node")


def purge_by_keyboard(browser, topology):
    path = "/articles/keys"
    stored(topology, path)
    watched = signed_in(browser, topology)
    page = watched.open()
    shows(page, "it is there", "#figures", "Nodes")
    on = lambda: page.evaluate(
        "document.activeElement.textContent + '#' + document.activeElement.id"
    )

    def tab_to(what):
        for _ in range(60):
            page.keyboard.press("Tab")
            if re.search(what, on()):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                return expect(f"focus on {what} is seen", outline != "none", outline)
        raise SystemExit(f"failed: Tab does not come to {what}")

    tab_to("^Skip to content")
    tab_to("^Purges#$")
    page.keyboard.press("Enter")
    tab_to("#purge-paths$")
    page.keyboard.type(path)
    tab_to("^Purge#$")
    page.keyboard.press("Enter")
    shows(page, "it is completed", "#purge-answer", "Completed: 3 nodes")
    is_gone(topology, path)
    watched.is_clean("a path is purged by the keyboard alone")


def everything_asks_first(browser, topology):
    head = topology.call("/v1/purges?limit=1")["head"]
    watched = signed_in(browser, topology)
    page = watched.open("#purges")
    page.locator("[name=all]").check()
    page.locator("#purge .primary").click()
    page.locator("#confirm").wait_for()
    page.keyboard.press("Escape")
    page.locator("#confirm").wait_for(state="hidden")
    expect("who says no has purged nothing", topology.call("/v1/purges?limit=1")["head"] == head)
    page.locator("#purge .primary").click()
    page.locator("#confirm .danger").click()
    shows(page, "who says yes has", "#purge-answer", "Completed: 3 nodes")
    last = topology.call(f"/v1/purges?after={head}")["purges"]
    expect("it was everything, once", [purge["all"] for purge in last] == [True], last)
    watched.is_clean("everything is purged only after a second yes")


def refusals_stand_beside_their_field(browser, topology):
    watched = signed_in(browser, topology)
    watched.refusals = {400}
    page = watched.open("#purges")
    page.locator("#purge-paths").fill("/a\n\nno-path")
    page.locator("#purge .primary").click()
    shows(page, "the line is named", "#wrong-paths", "^line 3: .*no-path")
    expect(
        "the field is marked", page.locator("#purge-paths").get_attribute("aria-invalid") == "true"
    )
    expect(
        "what was written is kept", page.locator("#purge-paths").input_value() == "/a\n\nno-path"
    )
    page.locator("#purge-paths").fill("")
    page.locator("#purge .primary").click()
    shows(page, "nothing named", "#wrong-purge", "nothing to purge is named")
    watched.is_clean("refusals stand beside the field that they name")
    reader = signed_in(browser, topology, READER)
    reader.refusals = {403}
    page = reader.open("#purges")
    page.locator("#purge-paths").fill("/a")
    page.locator("#purge .primary").click()
    shows(page, "a token that may only read", "#wrong-purge", 'does not have the scope "purge"')
    reader.is_clean("a token that may not purge is told so, and goes on reading")


def late_and_absent_nodes_are_named(browser, topology):
    watched = signed_in(browser, topology)
    page = watched.open("#purges")
    topology.nodes["edge-b"].sleep()
    page.locator("#purge-paths").fill("/articles/late")
    page.locator("#purge .primary").click()
    shows(page, "who is late is named", "#purge-answer", "in progress.*pending: edge-b")
    newest = page.locator("#history > li").first
    lanes = newest.locator(".lanes li[data-state='pending']")
    until("in the history too", lambda: lanes.count() == 1 and "edge-b" in lanes.inner_text())
    topology.nodes["edge-b"].wake()
    shows(page, "and when it has it", "#purge-answer", "Completed: 3 nodes")
    # One that is told to stop leaves the topology; this one is just gone.
    topology.nodes["edge-b"].end(signal.SIGKILL)
    until("control sees it gone", lambda: topology.state("edge-b") == "offline")
    page.locator("#purge-paths").fill("/articles/absent")
    page.locator("#purge .primary").click()
    shows(page, "who is offline is named", "#purge-answer", "offline: edge-b")
    page.goto(f"http://{topology.at}/#overview")
    until("the topology marks it", lambda: page.locator(".node[data-state='offline']").count() == 1)
    shows(page, "and how far it is behind", ".node[data-state='offline']", r"seq \d+, 1 behind")
    topology.run("edge-b")
    until("and its return", lambda: page.locator(".node[data-state='offline']").count() == 0)
    page.goto(f"http://{topology.at}/#purges")
    until(
        "it has caught up",
        lambda: newest.locator(".purge").get_attribute("data-status") == "completed",
    )
    watched.is_clean("late and absent nodes are named until they have it")
