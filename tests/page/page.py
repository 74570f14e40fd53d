"""The page at control's address, in a real browser, over real processes.

page.py WEIR ORIGIN_SIM [--screenshots FOLDER]

What the page says is held against what a client of the site gets at a node, and against control.
"""

import argparse
import re
import signal

from browser import Watched, chromium
from foreign import foreign_pages_are_refused
from screenshots import screenshots
from topology import READER, SECRET, Load, Topology, expect, until

EDGES = ["edge-a", "edge-b"]
NODES = [*EDGES, "parent-eu"]

#: Tags as an origin could send them; none of it may become an element.
MARKUP = "<img/src=x/onerror=window.pwned=1>"


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


def token_is_asked_for(browser, topology):
    watched = Watched(browser, topology.at)
    watched.refusals = {401}
    page = watched.open()
    page.locator("#token").wait_for()
    page.keyboard.type("not-the-secret-of-a-token")
    page.keyboard.press("Enter")
    shows(page, "a wrong token is refused in control's words", "#wrong-token", "the token is not known")
    focused = page.evaluate("document.activeElement.id")
    expect("one can type on", focused == "token-secret", focused)
    page.keyboard.type(SECRET)
    page.keyboard.press("Enter")
    page.locator("#token").wait_for(state="hidden")
    shows(page, "with the right one there are figures", "#figures", r"Nodes\s*3 / 3")
    page.reload()
    shows(page, "the tab keeps it", "#figures", r"Nodes\s*3 / 3")
    kept = page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]")
    expect("and nothing else does", kept == [1, 0, ""], kept)
    page.locator("#forget").click()
    page.locator("#token").wait_for()
    expect("it is forgotten", page.evaluate("sessionStorage.length") == 0)
    watched.is_clean("a token is asked for, tried, kept by the tab, forgotten")


def overview_is_live(browser, topology):
    watched = signed_in(browser, topology)
    page = watched.open()
    shows(page, "the stream of events is there", "#live", "^live$")
    shows(page, "requests are counted", "#figures", r"Requests\s*[1-9]")
    shows(page, "hits are, too", "#figures", r"Hit ratio\s*[1-9]")
    for name in NODES:
        card = page.locator(".node", has=page.get_by_text(name, exact=True))
        expect(f"{name} stands there once", card.count() == 1, card.count())
        shows(page, f"{name} tells its rate", f".node:has-text('{name}')", r"[\d.]+ req/s")
        expect(f"{name} is connected", card.get_attribute("data-state") == "connected")
    shows(page, "edges before parents", ".lane h3", "^Edges")
    shows(page, "the origin is asked by the parent", ".origin", r"[\d.]+ req/s")
    frame = page.locator(".chart-frame")
    until("traffic is drawn", lambda: page.locator(".chart .hits").count() > 0)
    until("more than one point", lambda: int(frame.get_attribute("aria-valuemax") or 0) >= 2)
    frame.focus()
    page.keyboard.press("End")
    last = frame.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowLeft")
    expect("the arrow keys move through time", frame.get_attribute("aria-valuetext") != last, last)
    page.locator("#traffic-of").select_option("node=edge-b")
    until("one node's traffic", lambda: re.search(r"hits [\d.]", frame.get_attribute("aria-valuetext") or ""))
    watched.is_clean("topology, figures and traffic are live")


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
    expect("it stands first in the history", path in newest.inner_text(), newest.inner_text())
    told = topology.call("/v1/purges/" + newest.get_attribute("data-id"))
    for node in told["nodes"]:
        lane = newest.locator(".lanes li", has=page.get_by_text(node["name"]))
        expect(f"{node['name']} has it", lane.get_attribute("data-state") == "applied")
        expect("and tells when", re.search(r"[\d.]+ (ms|s)", lane.inner_text()), lane.inner_text())
    expect("what is sent is not sent twice", page.locator("#purge-paths").input_value() == "")
    watched.is_clean("a path is purged by the form and gone at every node")


def purge_by_keyboard(browser, topology):
    path = "/articles/keys"
    stored(topology, path)
    watched = signed_in(browser, topology)
    page = watched.open()
    shows(page, "it is there", "#figures", "Nodes")
    on = lambda: page.evaluate("document.activeElement.textContent + '#' + document.activeElement.id")

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
    expect("the field is marked", page.locator("#purge-paths").get_attribute("aria-invalid") == "true")
    expect("what was written is kept", page.locator("#purge-paths").input_value() == "/a\n\nno-path")
    page.locator("#purge-paths").fill("")
    page.locator("#purge .primary").click()
    shows(page, "nothing named", "#wrong-purge", "nothing to purge is named")
    watched.is_clean("refusals stand beside the field that they name")
    reader = signed_in(browser, topology, READER)
    reader.refusals = {403}
    page = reader.open("#purges")
    page.locator("#purge-paths").fill("/a")
    page.locator("#purge .primary").click()
    shows(page, "a token that may only read", "#wrong-purge", 'has not the scope "purge"')
    reader.is_clean("a token that may not purge is told so, and goes on reading")


def late_and_absent_nodes_are_named(browser, topology):
    watched = signed_in(browser, topology)
    page = watched.open("#purges")
    topology.nodes["edge-b"].sleep()
    page.locator("#purge-paths").fill("/articles/late")
    page.locator("#purge .primary").click()
    shows(page, "who is late is named", "#purge-answer", "not yet everywhere.*pending: edge-b")
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
    topology.run("edge-b")
    until("and its return", lambda: page.locator(".node[data-state='offline']").count() == 0)
    page.goto(f"http://{topology.at}/#purges")
    until("it has caught up", lambda: newest.locator(".purge").get_attribute("data-status") == "completed")
    watched.is_clean("late and absent nodes are named until they have it")


def explain_over_all_nodes(browser, topology):
    path = "/articles/explained"
    topology.get("edge-a", path)
    stored(topology, path)
    watched = signed_in(browser, topology)
    watched.refusals = {400}
    page = watched.open("#explain")
    page.locator("#explain-url").fill(f"http://shop.example{path}")
    page.locator("#explain-url").press("Enter")
    shows(page, "all in a sentence", "#explain-said", "Every node answers it from the store")
    for name in NODES:
        card = f".explanation:has-text('{name}')"
        shows(page, f"{name} says why", card, "fresh.*Stored and fresh for")
        shows(page, "its key, lifetime and tags", card, f"http://shop.example{path}.*article-1")
    page.locator("#explain-more summary").click()
    page.locator("#explain-fields").fill("no field")
    page.locator("#explain-url").press("Enter")
    shows(page, "a wrong field is told beside it", "#wrong-header", "no field")
    page.locator("#explain-fields").fill("")
    page.locator("#explain-url").fill("http://shop.example/account")
    topology.get("edge-a", "/account")
    page.locator("#explain-node").select_option("edge-a")
    page.locator("#explain .primary").click()
    shows(page, "what is not stored has its reason", ".explanation", "not stored.*(private|no-store)")
    page.locator("#explain-node").select_option("")
    page.locator("#explain-url").fill(f"http://shop.example{path}")
    page.locator("#explain .primary").click()
    page.locator(".explanation .tag", has_text="articles").first.click()
    tags = page.locator("#purge-tags")
    until("a tag leads to its purge", lambda: tags.input_value() == "articles")
    watched.is_clean("a URL is explained over all nodes")


def content_by_popularity(browser, topology):
    path = "/articles/popular"
    for _ in range(30):
        topology.get("edge-a", path)
    topology.get("edge-a", "/account")
    watched = signed_in(browser, topology)
    page = watched.open("#content")
    page.locator("#content-limit").select_option("100")
    row = f"#popular tbody tr:has-text('{path}')"
    shows(page, "what is served often is listed", row, r"\b(29|30)\b")
    shows(page, "what is not stored has its reason", "#reasons", "private|no-store")
    shows(page, "and its URL", "#uncached tbody tr", "/account")
    page.locator(row).get_by_role("link", name=re.compile("^Explain")).click()
    shows(page, "explain is a click away", ".explanation:has-text('edge-a')", "fresh")
    page.go_back()
    page.locator(row).get_by_role("button", name=re.compile("^Purge")).click()
    shows(page, "and so is its purge", "#content-said", "^Purged: .*3 nodes")
    until("it is gone from the list", lambda: page.locator(row).count() == 0)
    status = topology.get("edge-a", path)
    expect("and at the node", "; hit" not in status, status)
    watched.is_clean("what is stored, what is not and why")


def markup_stays_text(browser, topology):
    topology.origin.route("/marked", {"body": "x", "max_age": 600, "headers": [["Surrogate-Key", f"{MARKUP} <b>bold</b>"]]})
    topology.get("edge-a", "/marked")
    topology.call("/v1/purges", {"paths": [f"/{MARKUP}"], "tags": ["<b>other</b>"], "reference": MARKUP})
    watched = signed_in(browser, topology)
    watched.refusals = {400}
    page = watched.open("#content")
    page.locator("#content-limit").select_option("100")
    shows(page, "a tag", "#popular", re.escape(MARKUP))
    page.goto(f"http://{topology.at}/#explain?url=http://shop.example/marked")
    shows(page, "explained", ".explanation", re.escape(MARKUP))
    page.goto(f"http://{topology.at}/#purges")
    shows(page, "the history", "#history", f"{re.escape(MARKUP)}.*<b>other</b>")
    page.locator("#purge-urls").fill(MARKUP)
    page.locator("#purge .primary").click()
    shows(page, "a refusal", "#wrong-urls", re.escape(MARKUP))
    made = page.evaluate("[document.querySelectorAll('main img, main p b').length, window.pwned ?? null]")
    expect("nothing became an element", made[1] is None and page.locator("main img").count() == 0, made)
    watched.is_clean("markup in tags, paths and refusals is text")


def narrow_and_dark(browser, topology):
    views = ["overview", "purges", "explain?url=/articles/1", "content"]
    narrow = signed_in(browser, topology, viewport={"width": 360, "height": 740}, has_touch=True)
    page = narrow.open()
    for view in views:
        page.goto(f"http://{topology.at}/#{view}")
        page.locator(f"#view-{view.split('?')[0]}").wait_for()
        until("it has figures", lambda: page.locator("#view-overview[data-shown]").count() == 1)
        wide = page.evaluate("document.documentElement.scrollWidth")
        expect(f"{view} fits 360 px", wide <= 360, wide)
    narrow.is_clean("360 px are wide enough for every view")
    dark = signed_in(browser, topology, color_scheme="dark", reduced_motion="reduce")
    page = dark.open()
    brightness = lambda: page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)"
    )
    expect("dark where the system is", brightness() < 120, brightness())
    page.locator("#theme").click()
    shows(page, "until it is said otherwise", "#theme", "light")
    expect("then it is light", brightness() > 600, brightness())
    page.reload()
    expect("and stays so", brightness() > 600, brightness())
    dark.is_clean("light and dark")


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
    shows(page, "and that figures are old", "#trouble", "No news since .*control does not answer")
    topology.start_control()
    shows(page, "it comes back by itself", "#live", "^live$")
    until("and so do figures", lambda: not page.locator("#trouble").is_visible())
    until("with the nodes", lambda: all(topology.state(name) == "connected" for name in NODES))
    watched.is_clean("control goes and comes back")


def words_are_right(browser, topology):
    watched = signed_in(browser, topology)
    page = watched.open()
    said = page.evaluate(
        """async () => {
          const w = await import("/page/words.js");
          return [w.percent(0.99996), w.percent(1), w.percent(null), w.figure(0.02), w.figure(12345),
            w.millis(0.04), w.millis(12.4), w.millis(2400), w.bytes(1023), w.bytes(5 * 2 ** 20),
            w.seconds(7199), w.list(["a", "b", "c"]), w.list(["a", "b", "c"], 2)];
        }"""
    )
    expected = ["99.9 %", "100 %", "–", "<0.1", "12,345", "0.04 ms", "12 ms", "2.4 s", "1.0 KiB",
                "5.0 MiB", "119 min", "a, b and c", "a, b and 1 more"]
    expect("figures in words", said == expected, said)
    watched.is_clean("figures in words")


SCENARIOS = [
    token_is_asked_for,
    overview_is_live,
    purge_by_form,
    purge_by_keyboard,
    refusals_stand_beside_their_field,
    explain_over_all_nodes,
    content_by_popularity,
    markup_stays_text,
    narrow_and_dark,
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
            topology.add("parent-eu", tier="parent")
            for edge in EDGES:
                topology.add(edge, parents=["parent-eu"])
            paths = lambda n, sent: f"/articles/{sent % 10}"
            with Load(topology, paths, EDGES, lambda n: 20):
                for scenario in SCENARIOS:
                    scenario(browser, topology)
        foreign_pages_are_refused(browser, given.weir, given.origin_sim)


if __name__ == "__main__":
    main()
