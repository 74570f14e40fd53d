"""What the page shows, held against what control answers."""

import re

from steps import NODES, shows, signed_in, stored
from topology import expect, until

#: A tag as an origin could send it; none of it may become an element.
MARKUP = "<img/src=x/onerror=window.pwned=1>"


def overview_is_live(browser, topology):
    watched = signed_in(browser, topology)
    page = watched.open()
    shows(page, "the stream of events is there", "#live", "^live$")
    shows(page, "requests are counted", "#figures", r"Requests\s*[1-9]")
    shows(page, "hits are, too", "#figures", r"Hit ratio\s*[1-9]")
    shows(page, "so is what the origin is spared", "#figures", r"Origin offload\s*[1-9][\d.]*\s*%")
    shows(page, "and what clients receive", "#figures", r"Bandwidth\s*[1-9]")
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
    until("the chart starts where the data begins", lambda: 45 < first_x(page) < 48)
    shows(page, "misses are named so", ".readout", "misses")
    seqs = page.locator(".node-seq").all_inner_texts()
    expect("no node that is up to date shows its seq", not any(seqs), seqs)
    frame.focus()
    page.keyboard.press("End")
    last = frame.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowLeft")
    expect("the arrow keys move through time", frame.get_attribute("aria-valuetext") != last, last)
    page.locator("#traffic-of").select_option("node=edge-b")
    until(
        "one node's traffic",
        lambda: re.search(r"hits [\d.]", frame.get_attribute("aria-valuetext") or ""),
    )
    watched.is_clean("topology, figures and traffic are live")


def what_is_on_disk_is_told(browser, topology):
    path = "/articles/on-disk"
    topology.get("edge-a", path)
    watched = signed_in(browser, topology)
    page = watched.open()
    shows(page, "memory and disk", ".node:has-text('parent-eu')", "memory .* of 64 MiB.*disk .* of 64 MiB")
    below = page.locator(".node:has-text('edge-a') .node-below")
    expect("a node without a disk store shows none", not below.is_visible())
    aside = page.locator(".node-aside").all_inner_texts()
    expect("no directory is set aside", not any(aside), aside)
    page.goto(f"http://{topology.at}/#explain?url=http://shop.example{path}")
    card = ".explanation:has-text('parent-eu')"
    shows(page, "where it is", card, r"stored\s*200, [\d.]+ \w+ in memory, served")
    # It is written within moments; explained again then.
    def on_disk():
        page.locator("#explain .primary").click()
        return re.search(r"copy\s*200, [\d.]+ \w+ on disk", page.locator(card).inner_text())

    until("its copy on disk", on_disk)

    def set_aside(route):
        answer = route.fetch()
        stats = answer.json()
        for node in stats["by_node"]:
            if node["disk"]:
                node["disk"] |= {"directories": 2, "set_aside": 1}
        route.fulfill(response=answer, json=stats)

    page.route("**/v1/stats", set_aside)
    page.goto(f"http://{topology.at}/#overview")
    shows(page, "a warning", ".node:has-text('parent-eu')", "1 of 2 directories set aside")
    tone = page.locator(".node:has-text('parent-eu') .node-aside").get_attribute("data-tone")
    expect("as one", tone == "warn", tone)
    page.unroute("**/v1/stats")
    watched.is_clean("what is in memory and what on disk")


def first_x(page):
    """Where the area of hits begins, in pixels from the chart's left edge."""
    area = page.locator(".chart .hits").first.get_attribute("d") or ""
    return float(re.match(r"M([\d.]+)", area)[1]) if area.startswith("M") else -1


def explain_over_all_nodes(browser, topology):
    path = "/articles/explained"
    topology.get("edge-a", path)
    stored(topology, path)
    watched = signed_in(browser, topology)
    watched.refusals = {400}
    page = watched.open("#explain")
    page.locator("#explain-url").fill(f"http://shop.example{path}")
    page.locator("#explain-url").press("Enter")
    shows(page, "all in a sentence", "#explain-said", "Every node would answer it from the store")
    for name in NODES:
        card = f".explanation:has-text('{name}')"
        shows(page, f"{name} says why", card, "fresh.*Stored and fresh for")
        shows(page, "its key, lifetime and tags", card, f"http://shop.example{path}.*article-explained")
    page.locator("#explain-more summary").click()
    page.locator("#explain-fields").fill("no field")
    page.locator("#explain-url").press("Enter")
    shows(page, "a wrong field is told beside it", "#wrong-header", "no field")
    page.locator("#explain-fields").fill("")
    page.locator("#explain-url").fill("http://shop.example/account")
    topology.get("edge-a", "/account")
    page.locator("#explain-node").select_option("edge-a")
    page.locator("#explain .primary").click()
    shows(
        page, "what is not stored has its reason", ".explanation", "not stored.*(private|no-store)"
    )
    tone = page.locator(".explanation .state").get_attribute("data-tone")
    expect("which is no fault", tone == "off", tone)
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
    topology.origin.route(
        "/marked",
        {"body": "x", "max_age": 600, "headers": [["Surrogate-Key", f"{MARKUP} <b>bold</b>"]]},
    )
    topology.get("edge-a", "/marked")
    topology.call(
        "/v1/purges", {"paths": [f"/{MARKUP}"], "tags": ["<b>other</b>"], "reference": MARKUP}
    )
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
    made = page.evaluate(
        "[document.querySelectorAll('main img, main p b').length, window.pwned ?? null]"
    )
    expect(
        "nothing became an element", made[1] is None and page.locator("main img").count() == 0, made
    )
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


def words_are_right(browser, topology):
    watched = signed_in(browser, topology)
    page = watched.open()
    said = page.evaluate("""async () => {
          const w = await import("/page/words.js");
          return [w.percent(0.99996), w.percent(1), w.percent(null), w.figure(0.02), w.figure(12345),
            w.millis(0.04), w.millis(12.4), w.millis(2400), w.bytes(1023), w.bytes(5 * 2 ** 20),
            w.seconds(7199), w.list(["a", "b", "c"]), w.list(["a", "b", "c"], 2)];
        }""")
    expected = [
        "99.9 %",
        "100 %",
        "–",
        "<0.1",
        "12,345",
        "0.04 ms",
        "12 ms",
        "2.4 s",
        "1.0 KiB",
        "5.0 MiB",
        "119 min",
        "a, b and c",
        "a, b and 1 more",
    ]
    expect("figures in words", said == expected, said)
    watched.is_clean("figures in words")
