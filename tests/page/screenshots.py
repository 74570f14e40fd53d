"""Pictures of the page for docs/, with traffic that looks like that of a site."""

import io
import os
import random
import time

from PIL import Image

from browser import Watched
from topology import SECRET, Load, Topology, until

EDGES = ["edge-eu-west", "edge-eu-north", "edge-us-east", "edge-asia-se"]
PARENTS = {"parent-eu": "eu", "parent-us": "us"}
#: Requests a second and node, and how long the origin takes.
RATES = [90, 55, 70, 30]
DELAY = "45ms"
#: Seconds of traffic before the first picture.
TRAFFIC = 600


def screenshots(browser, weir, origin_sim, folder):
    os.makedirs(folder, exist_ok=True)
    with Topology(weir, origin_sim) as topology:
        origin(topology.origin)
        for name, region in PARENTS.items():
            topology.add(name, tier="parent", region=region)
        for name in EDGES:
            topology.add(name, region=name.split("-", 1)[1], parents=list(PARENTS))
        with Load(topology, paths, EDGES, lambda n: RATES[n] * random.uniform(0.7, 1.3)):
            history(topology)
            for name, kind in {
                "page": {"color_scheme": "light", "viewport": {"width": 1280, "height": 930}},
                "page-dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 930}},
                "page-narrow": {"color_scheme": "light", "viewport": {"width": 360, "height": 780}},
            }.items():
                pictures(browser, topology, folder, name, kind)


def origin(origin):
    articles = {
        "body_bytes": 18_000,
        "max_age": 60,
        "delay": DELAY,
        "content_type": "text/html",
        "headers": [["Surrogate-Key", "articles front"]],
    }
    for path, reply in {
        "/": {**articles, "max_age": 10, "body_bytes": 31_000},
        "/articles/*": articles,
        "/img/*": {
            "body_bytes": 74_000,
            "max_age": 86_400,
            "delay": DELAY,
            "content_type": "image/webp",
        },
        "/cart": {
            "body": "cart",
            "headers": [["Cache-Control", "private, no-store"]],
            "delay": DELAY,
        },
        "/api/stock": {"body": "[]", "headers": [["Cache-Control", "no-store"]], "delay": DELAY},
        "/login": {"body": "login", "set_cookie": "visit=1; Path=/", "max_age": 60, "delay": DELAY},
    }.items():
        origin.route(path, reply)


def paths(_, sent):
    kind = random.random()
    if kind < 0.03:
        return random.choice(["/cart", "/api/stock", "/login"])
    if kind < 0.2:
        return "/"
    many = "/img/{}.webp" if kind < 0.5 else "/articles/{}"
    return many.format(int(random.paretovariate(0.8)) % 400)


def history(topology):
    """Purges as a day brings them, while traffic runs."""
    purges = [
        {"paths": ["/articles/3"]},
        {"tags": ["front"], "soft": True},
        {"prefixes": ["/img"], "site": "shop", "reference": "deploy-41"},
        {"paths": ["/", "/articles/1", "/articles/2", "/articles/7"]},
        {"tags": ["articles"], "reference": "deploy-42"},
    ]
    for purge in purges:
        time.sleep(TRAFFIC / len(purges))
        topology.call("/v1/purges", purge)
    time.sleep(12)


def pictures(browser, topology, folder, name, kind):
    watched = Watched(browser, topology.at, **kind)
    watched.context.add_init_script(f"sessionStorage.setItem('weir-token', '{SECRET}')")
    page = watched.open()
    until("traffic is drawn", lambda: page.locator(".chart .hits").count() > 0)
    time.sleep(2.5)
    save(page, f"{folder}/{name}.png")
    if name == "page":
        page.set_viewport_size({"width": 1280, "height": 640})
        page.goto(f"http://{topology.at}/#purges")
        until("the history is there", lambda: page.locator("#history > li").count() >= 5)
        save(page, f"{folder}/page-purges.png")
        page.goto(f"http://{topology.at}/#content")
        until("reasons are there", lambda: page.locator("#reasons > li").count() >= 2)
        save(page.locator("section:has(> #reasons)"), f"{folder}/page-content.png")
    watched.is_clean(f"picture {name}")


def save(shown, path):
    """A small picture of a page or a part of it: of few colours, it needs no more than a palette."""
    image = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    palette = image.quantize(160, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(path, optimize=True)
