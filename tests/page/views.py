"""What the page shows, held against what control answers."""

import json
import re

import axe
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
    axis = page.locator(".chart .axis").first
    until(
        "the chart starts where the data begins",
        lambda: 0 <= first_x(page) - float(axis.get_attribute("x1") or -9) < 3,
    )
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


def ranges_totals_and_sites(browser, topology):
    watched = signed_in(browser, topology)
    page = watched.open()
    shows(page, "the totals of ten minutes", "#totals", r"Requests\s*[1-9].*Hit ratio\s*[1-9].*Saved\s*[1-9]")
    shows(page, "origin requests of all tiers", "#totals", r"Origin requests\s*[1-9]")
    shows(page, "a row for the site", "#sites tr:has-text('shop')", r"shop\s*[\d,]+.*%")
    frame = page.locator(".chart-frame")
    for seconds, name in {"3600": "1 hour", "86400": "24 hours", "2592000": "30 days"}.items():
        page.locator("#traffic-range").select_option(seconds)
        label = lambda: frame.get_attribute("aria-label") or ""
        until(f"the range is {name}", lambda: name in label())
        shows(page, f"the totals of {name}", "#totals", r"Requests\s*[1-9]")
        shows(page, f"sites over {name}", "#sites-note", name)
        until(f"{name} are drawn", lambda: page.locator(".chart .hits").count() > 0)
        labels_fit(page, name)
    asked = topology.call("/v1/traffic?from=-86400")["totals"]
    page.locator("#traffic-range").select_option("86400")
    requests = lambda: int(re.search(r"Requests\s*([\d,]+)", page.locator("#totals").inner_text())[1].replace(",", ""))
    until("they are control's", lambda: requests() >= asked["requests"])
    page.locator("#traffic-site").select_option("shop")
    shows(page, "of one site", "#totals", r"Requests\s*[1-9]")
    for kind in ["json", "csv"]:
        with page.expect_download() as download:
            page.locator(f"#export-{kind}").focus()
            page.keyboard.press("Enter")
        expect("the file's name", download.value.suggested_filename == f"traffic.{kind}")
        with open(download.value.path()) as file:
            text = file.read()
        if kind == "json":
            expect("as JSON", json.loads(text)["totals"]["requests"] > 0, text[:300])
        else:
            header, *lines = text.splitlines()
            expect("as CSV", header.startswith("at,requests,hits,") and lines, text[:300])
    watched.is_clean("ranges, totals, sites and exports")


def origins_are_listed(browser, topology):
    watched = signed_in(browser, topology)
    page = watched.open()
    row = f"#origins tr:has-text('{topology.origin.at}')"
    shows(page, "the origin, and how it is", row, r"shop\s*healthy\s*1\s*[1-9][\d,]*\s*0\s*not probed\s*[\d.]+ ms")

    def trouble(route):
        answer = route.fetch()
        told = answer.json()
        for origin in told["origins"]:
            origin |= {"state": "mixed", "errors": 7, "ejections": 1}
            origin["nodes"][0]["state"] = "out"
            origin["probe"] = {"good": 3, "bad": 2, "error": "it answered 500", "seconds_ago": 1}
        route.fulfill(response=answer, json=told)

    page.route("**/v1/origins", trouble)
    shows(page, "who does not ask it, and why", row, r"out at .*ejected 1 time.*7.*3 good, 2 failed: it answered 500")
    page.unroute("**/v1/origins")
    watched.is_clean("origins with their state")


def many_nodes_are_a_table(browser, topology):
    """Cards for a handful; a table by region for hundreds, which a filter searches."""
    watched = signed_in(browser, topology)
    page = watched.page
    cards, rows = page.locator(".node"), page.locator("#nodes tr:not(.group)")

    def many(route):
        answer = route.fetch()
        stats = answer.json()
        one = next(node for node in stats["by_node"] if node["name"] == "edge-a")
        far = lambda n: {"name": f"far-{n:03}", "region": f"region-{n % 5}", "state": "offline" if n == 7 else "connected"}
        stats["by_node"] += [one | far(n) for n in range(200)]
        route.fulfill(response=answer, json=stats)

    page.route("**/v1/stats", many)
    watched.open()
    shows(page, "nodes by region", "#nodes .group:has-text('region-3')", r"region-3\s*40 nodes$")
    shows(page, "those that are away", "#nodes .group:has-text('region-2')", r"40 nodes, 1 not connected")
    until("a row for each", lambda: rows.count() == 200 + len(NODES))
    expect("no cards", cards.count() == 0, cards.count())
    page.get_by_label("filter").fill("OFFLINE region-2")
    until("what the filter leaves", lambda: rows.count() == 1)
    shows(page, "is that node", "#nodes tr:not(.group)", r"far-007\s*edge\s*offline")
    shows(page, "and is counted", "#nodes-note", f"^1 of {200 + len(NODES)}$")
    violations = axe.violations(page)
    expect("axe-core finds nothing", not violations, violations)
    page.unroute("**/v1/stats")
    until("cards for a handful", lambda: cards.count() == len(NODES))
    expect("without the table", not page.locator("#nodes-panel").is_visible())
    watched.is_clean("many nodes as a table by region, with a filter")


def without_traffic_there_are_numbers(browser, topology):
    """The last seconds had no requests: figures are those of the last minutes."""
    watched = signed_in(browser, topology)
    page = watched.page

    def quiet(route):
        answer = route.fetch()
        stats = answer.json()
        for rates in [stats["traffic"], *stats["tiers"], *stats["by_node"]]:
            rates |= {"requests_per_second": 0, "hit_ratio": None, "p50_ms": None, "p99_ms": None}
        route.fulfill(response=answer, json=stats)

    page.route("**/v1/stats", quiet)
    watched.open()
    shows(page, "figures", "#figures", r"Hit ratio\s*[\d.]+\s*%.*p50\s*[\d.]+\s*\w*s.*p99\s*[\d.]+\s*\w*s.*Origin offload\s*[\d.]+\s*%")
    shows(page, "of each node", ".node:has-text('edge-a')", r"[\d.]+ %.*p50 [\d.]+ \w*s\s*p99 [\d.]+ \w*s")
    page.unroute("**/v1/stats")
    watched.is_clean("figures of the last minutes where the last seconds had none")


def nothing_is_inaccessible(browser, topology):
    """axe-core finds no violation in any view, light and dark."""
    topology.get("edge-a", "/account")
    for scheme in ["light", "dark"]:
        watched = signed_in(browser, topology, color_scheme=scheme)
        page = watched.open()
        for view, ready in {
            "overview": "#origins tr",
            "purges": "#history",
            "explain": "#explain-misses a",
            "explain?url=/articles/1": ".explanation",
            "content": "#reasons h3",
        }.items():
            page.goto(f"http://{topology.at}/#{view}")
            page.locator(ready).first.wait_for()
            violations = axe.violations(page)
            expect(f"axe-core finds nothing in {view}, {scheme}", not violations, violations)
        watched.is_clean(f"axe-core, {scheme}")


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


def labels_fit(page, what):
    """No text of the chart is cut off at its edges, and no two of them overlap."""
    wrong = page.evaluate(
        """() => {
          const frame = document.querySelector(".chart").getBoundingClientRect();
          const texts = [...document.querySelectorAll(".chart text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
          const cut = texts.filter(([, box]) => box.left < frame.left || box.right > frame.right);
          const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
          const over = texts.filter(([, a], at) => texts.slice(at + 1).some(([, b]) => meets(a, b)));
          return [cut.map(([text]) => text), over.map(([text]) => text)];
        }"""
    )
    expect(f"labels of {what}: none is cut or overlaps", wrong == [[], []], wrong)


def charts_are_whole(browser, topology):
    """Wide and narrow, light and dark, with figures from very small to very large."""
    figures = [(0.4, 0.01, 0.05), (12.5, 0.4, 80), (98_765.4, 4, 70_000)]
    for width in [390, 1280]:
        for scheme in ["light", "dark"]:
            watched = signed_in(
                browser, topology, viewport={"width": width, "height": 844}, color_scheme=scheme
            )
            page = watched.page
            shown = []

            def told(route):
                answer = route.fetch()
                told = answer.json()
                rate, p50, p99 = shown[-1]
                for point in told["points"]:
                    point |= {
                        "requests_per_second": rate,
                        "hits_per_second": rate * 0.9,
                        "errors_per_second": rate / 50,
                        "p50_ms": p50,
                        "p99_ms": p99,
                    }
                route.fulfill(response=answer, json=told)

            page.route("**/v1/traffic?*", told)
            for each in figures:
                shown.append(each)
                watched.open()
                until("it is drawn", lambda: page.locator(".chart .p99").count() > 0)
                labels_fit(page, f"{each} at {width} px, {scheme}")
            page.unroute("**/v1/traffic?*")
            watched.is_clean(f"charts at {width} px, {scheme}")


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
    shows(page, "and what to do about it", ".explanation", "what to do.*have the origin change")
    tone = page.locator(".explanation .state").get_attribute("data-tone")
    expect("which is no fault", tone == "off", tone)
    page.locator("#explain-node").select_option("")
    page.locator("#explain-url").fill(f"http://shop.example{path}")
    page.locator("#explain .primary").click()
    page.locator(".explanation .tag", has_text="articles").first.click()
    tags = page.locator("#purge-tags")
    until("a tag leads to its purge", lambda: tags.input_value() == "articles")
    watched.is_clean("a URL is explained over all nodes")


def what_was_purged_is_explained(browser, topology):
    """By a tag: nothing at the node but what it removed tells that the URL was concerned."""
    path, url = "/purged/explained", "http://shop.example/purged/explained"
    headers = [["Surrogate-Key", "explained-only"]]
    topology.origin.route(path, {"body": "x", "max_age": 600, "headers": headers})
    stored(topology, path)
    purge = {"tags": ["explained-only"], "reference": "deploy <42>", "wait_ms": 10_000}
    told = topology.call("/v1/purges?count=true", purge)
    expect("it took what was stored", told["matched"] == 3, told)
    watched = signed_in(browser, topology)
    page = watched.open(f"#explain?url={url}")
    why = r"Not stored: purged \d+ s ago \(deploy <42>\)\. The next request fetches it\..*"
    last = r"last purge\s*deploy <42> hard, \d+ s ago"
    for name in NODES:
        card = page.locator(f".explanation:has-text('{name}')")

        # What is on disk is removed within moments; explained again then.
        def says_why():
            page.locator("#explain .primary").click()
            return re.search(why + last, card.inner_text(), re.DOTALL)

        until(f"{name} says why it is not stored, and names the last purge", says_why)
    shows(page, "all in a sentence", "#explain-said", r"^No node would answer it from the store\. It was purged \d+ s ago\.$")
    page.locator(".explanation a", has_text="deploy <42>").first.click()
    item = page.locator(f"#history > li[data-id='{told['id']}']")
    until("its history is open", lambda: item.locator(".lanes").is_visible())
    on = page.evaluate("document.activeElement.closest('li')?.dataset.id")
    expect("and has the focus", on == told["id"], on)
    # One that is not among the latest.
    for n in range(60):
        topology.call("/v1/purges", {"paths": [f"/many/{n}"], "wait_ms": 0})
    page.goto(f"http://{topology.at}/#explain?url={url}")
    page.locator(".explanation a", has_text="deploy <42>").first.click()
    until("an older one, too", lambda: item.locator(".lanes").is_visible())
    # It may show from before, until the latest are there.
    until("beside the latest", lambda: page.locator("#history > li").count() == 51)
    page.goto(f"http://{topology.at}/#purges?id=none-1")
    watched.refusals = {404}
    shows(page, "one that is gone is told so", "#history-note", "no longer kept")
    for edge in ["edge-a", "edge-b"]:
        topology.get(edge, path)
    page.goto(f"http://{topology.at}/#explain?url={url}")
    shows(page, "once it is stored again it is fresh", ".explanation:has-text('edge-a')", "^edge-a.*fresh")
    ran = topology.explain(path)
    expect("the command says the same", "last purge  deploy <42>, hard, " in ran, ran)
    watched.is_clean("the last purge is named, and leads to its history")


def who_goes_on_is_not_brought_back(browser, topology):
    """An answer that comes once another view is shown does not change the address."""
    watched = signed_in(browser, topology)
    page = watched.open("#explain")
    held = []
    page.route("**/v1/explain?*", lambda route: held.append(route))
    page.locator("#explain-url").fill("/articles/1")
    page.locator("#explain .primary").click()
    until("it is asked", lambda: page.wait_for_timeout(10) or held)
    page.get_by_role("link", name="Content", exact=True).click()
    page.locator("#view-content").wait_for()
    held[0].continue_()
    page.locator("#explanations > *").first.wait_for(state="attached")
    page.unroute("**/v1/explain?*")
    address = page.evaluate("location.hash")
    expect("the address is that of the view", address == "#content", address)
    expect("and so is the view", page.locator("#view-content").is_visible())
    watched.is_clean("who goes on while a URL is explained is not brought back")


def recent_misses_are_offered(browser, topology):
    topology.get("edge-a", "/account")
    watched = signed_in(browser, topology)
    page = watched.open("#explain")
    shows(page, "a URL that was not stored", "#explain-misses", r"/account\s*http://shop.example.*no-store")
    link = page.locator("#explain-misses a", has_text="/account").first
    link.focus()
    page.keyboard.press("Enter")
    shows(page, "is a key away", ".explanation:has-text('edge-a')", "not-stored.*no-store")
    until("then none is offered", lambda: not page.locator("#explain-recent").is_visible())
    page.locator("#explain-url").fill("")
    until("until the field is empty again", lambda: page.locator("#explain-recent").is_visible())
    watched.is_clean("recent misses are offered where no URL is asked for")


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
    reason = "#reasons > li:has(code:text-is('no-store'))"
    shows(page, "what is not stored has its reason, once", reason, r"no-store\s*\d+ times? since the nodes started")
    expect("in one place", page.locator(reason).count() == 1)
    shows(page, "why, and what to do", reason, r"says no-store\..*What to do: If everyone may have it")
    shows(page, "and its URLs", f"{reason} .misses", "/account")
    page.locator(row).get_by_role("link", name=re.compile("^Explain")).click()
    shows(page, "explain is a click away", ".explanation:has-text('edge-a')", "fresh")
    page.go_back()
    page.locator(row).get_by_role("button", name=re.compile("^Purge")).click()
    shows(page, "and so is its purge", "#content-said", "^Purged: .*3 nodes")
    until("it is gone from the list", lambda: page.locator(row).count() == 0)
    status = topology.get("edge-a", path)
    expect("and at the node", "; hit" not in status, status)
    watched.is_clean("what is stored, what is not and why")


def content_is_searched_sorted_and_grouped(browser, topology):
    routes = {"/blog/long": 9000, "/blog/short": 10, "/news/mid": 4000}
    for path, length in routes.items():
        headers = [["Surrogate-Key", f"of{path.replace('/', '-')}"]]
        topology.origin.route(path, {"body_bytes": length, "max_age": 600, "headers": headers})
    for path, times in {"/blog/short": 6, "/blog/long": 4, "/news/mid": 5}.items():
        for _ in range(times):
            topology.get("edge-a", path)
    topology.origin.route("/cart/1", {"body": "x", "headers": [["Cache-Control", "no-store"]]})
    for _ in range(2):
        topology.get("edge-a", "/cart/1")
    watched = signed_in(browser, topology)
    page = watched.open("#content")
    urls = lambda: [text for text in page.locator("#popular td.url .address").all_inner_texts()]
    page.locator("#content-search").focus()
    page.keyboard.type("SHOP of-")
    until("what has the words, most hits first", lambda: urls() == ["/blog/short", "/news/mid", "/blog/long"])
    shows(page, "what is not stored is searched, too", "#reasons", "^$")
    page.get_by_label("sort by").select_option("size")
    until("the largest first", lambda: urls() == ["/blog/long", "/news/mid", "/blog/short"])
    page.get_by_label("sort by").select_option("url")
    until("by URL", lambda: urls() == ["/blog/long", "/blog/short", "/news/mid"])
    page.get_by_label("sort by").select_option("size")
    page.get_by_label("group by").select_option("path")
    groups = page.locator("#popular .group")
    until("two groups", lambda: groups.count() == 2)
    shows(page, "with their sums", "#popular .group", r"^/blog/\s*http://shop.example · 2 URLs · 8 hits · 8.8 KiB$")
    until("each above its own", lambda: urls() == ["/blog/long", "/blog/short", "/news/mid"])
    for width in [1280, 390]:
        page.set_viewport_size({"width": width, "height": 844})
        wide = page.evaluate("document.documentElement.scrollWidth")
        expect(f"it fits {width} px", wide <= width, wide)
        violations = axe.violations(page)
        expect(f"axe-core finds nothing at {width} px", not violations, violations)
    page.locator("#content-search").fill("cart")
    shows(page, "a URL that was not stored", "#reasons > li", "no-store.*/cart/1")
    until("nothing else is found", lambda: page.locator("#popular tfoot").is_visible())
    shows(page, "and that is said", "#popular tfoot", "Nothing that is stored matches")
    watched.is_clean("content is searched, sorted, and grouped by path")


def many_misses_of_one_reason_are_few_until_asked_for(browser, topology):
    topology.origin.route("/mine/*", {"body": "x", "headers": [["Cache-Control", "private"]]})
    for n in range(8):
        topology.get("edge-a", f"/mine/{n}")
    watched = signed_in(browser, topology)
    page = watched.open("#content")
    page.locator("#content-search").fill("/mine/")
    group = page.locator("#reasons > li:has(code:text-is('private'))")
    links = group.locator(".misses a")
    more = group.get_by_role("button")
    until("a few", lambda: links.count() == 5)
    shows(page, "and how many there are", "#reasons > li button", "^Show all 8$")
    more.focus()
    page.keyboard.press("Enter")
    until("all of them", lambda: links.count() == 8)
    page.keyboard.press("Enter")
    until("and few again", lambda: links.count() == 5)
    watched.is_clean("URLs of one reason")


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
    views = ["overview", "purges", "explain", "explain?url=/articles/1", "content"]
    for width in [360, 390]:
        narrow = signed_in(
            browser, topology, viewport={"width": width, "height": 740}, has_touch=True
        )
        page = narrow.open()
        page.locator("#origins tr").first.wait_for()
        for view in views:
            page.goto(f"http://{topology.at}/#{view}")
            page.locator(f"#view-{view.split('?')[0]}").wait_for()
            until("it has figures", lambda: page.locator("#view-overview[data-shown]").count() == 1)
            wide = page.evaluate("document.documentElement.scrollWidth")
            expect(f"{view} fits {width} px", wide <= width, wide)
        narrow.is_clean(f"{width} px are wide enough for every view")
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
