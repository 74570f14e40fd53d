"""docs/recipes/static-site.md: Debian's nginx, and Chromium over TLS and HTTP/2 with a cookie."""

import json
import os
import time

from ports import ports

from .machine import HOST, after_revalidation, expect, found, program
from .recipe import Recipe, adapted
from .visitor import Readers

# Says in the page itself which cookies the browser came with, and what weir made of each request.
SCRIPT = """
const cookie = document.cookie;
document.cookie = "_ga=GA1.1.42; max-age=86400";
async function tell() {
    const told = { cookie, seen: {} };
    for (const path of ["/", "/style.css", "/app.3f9a1c.js", "/logo.svg"]) {
        const answer = await fetch(path + "?utm_source=mail", { cache: "no-store" });
        await answer.text();
        told.seen[path] = answer.headers.get("cache-status");
    }
    told.protocols = performance.getEntries().map(e => e.nextHopProtocol).filter(p => p);
    document.body.innerHTML = "<pre>" + JSON.stringify(told) + "</pre>";
}
tell();
"""


def page(title):
    return (
        f'<!doctype html><html><head><title>{title}</title><link rel=stylesheet href=style.css>'
        '</head><body><img src=logo.svg><script src=app.3f9a1c.js></script></body></html>'
    )


def follow(machine):
    recipe = Recipe("static-site")
    origin, port, secure, admin = ports(4)
    www = machine.folder / "www"
    machine.write("www/index.html", page("first"))
    machine.write("www/about/index.html", page("about"))
    machine.write("www/style.css", "body { color: black }")
    machine.write("www/logo.svg", '<svg xmlns="http://www.w3.org/2000/svg"></svg>')
    machine.write("www/app.3f9a1c.js", SCRIPT)
    for path in www.rglob("*"):
        os.utime(path, (time.time() - 86400,) * 2)
    nginx = machine.nginx(origin, adapted(
        recipe.block("sites-available/default"), {"8081": origin, "/var/www/html": www}
    ))
    chain, key = machine.certificate()
    weir = machine.weir_serves(adapted(recipe.block("weir.toml"), {
        "8081": origin, "0.0.0.0:443": f"{HOST}:{secure}", "www.example.com\"]": f"{HOST}\"]",
        "/etc/weir/www.example.com.pem": chain, "/etc/weir/www.example.com.key": key,
    }), port, admin)
    readers = Readers(port)

    readers.share("/")
    readers.share("/about/")
    readers.share("/style.css")
    readers.share("/app.3f9a1c.js")
    tracked = readers.get("/about/?utm_source=mail")
    expect("a tracked page is the same page", tracked.hit, tracked)
    redirect = readers.get("/about")
    expect("nginx redirects to a folder", redirect.status == 301, redirect)
    lifetime = int(found(r"ttl=(\d+)", readers.get("/app.3f9a1c.js").cache))
    expect("a versioned name is kept", lifetime > 360 * 86400, lifetime)
    print("  ok  pages and files are stored for all")

    # The first visit has no cookie yet, the second has the one that the first set.
    for cookie in ("", "_ga=GA1.1.42"):
        told = browsed(machine, f"https://{HOST}:{secure}/")
        expect("what the browser came with", told["cookie"] == cookie, told)
    for path, status in told["seen"].items():
        expect(f"{path} is a hit in a browser", "; hit" in status, told)
    expect("over HTTP/2", told["protocols"] and set(told["protocols"]) == {"h2"}, told)
    print("  ok  a browser with a cookie gets hits over HTTP/2")

    machine.write("www/index.html", page("second"))
    expect("the old page is still stored", "first" in readers.get("/").text)
    weir.commands(recipe.block("deploy"))
    new = readers.followed().get("/")
    expect("the deployed page is there at once", "second" in new.text, new)
    for path in ("/about/", "/style.css"):
        readers.share(path)
    print("  ok  a deploy and its purge")

    weir.all_expires()
    old = readers.followed().get("/")
    expect("an expired page is sent at once", old.revalidating, old)
    nginx.stop()
    after_revalidation(machine.folder / "nginx/site", 60)
    nginx.start()
    weir.commands(recipe.block("deploy"))
    stored = ("/", "/about/", "/style.css")
    for path in stored:
        readers.share(path)
    weir.all_expires()
    nginx.stop()
    for path in stored:
        answer = readers.followed().get(path)
        expect(f"{path} without nginx", answer.in_place, answer)
    answer = readers.get("/not-stored")
    expect("what is not stored fails", answer.status == 502, answer)
    nginx.start()
    answer = readers.get("/not-stored")
    expect("nginx is asked again", answer.status == 404, answer)
    print("  ok  nginx may be down")


def browsed(machine, url):
    """What the page says of itself in a browser that keeps its cookies."""
    said = machine.run(
        program("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu",
        "--disable-dev-shm-usage", "--ignore-certificate-errors", "--no-first-run",
        f"--user-data-dir={machine.folder}/profile", "--timeout=20000",
        "--virtual-time-budget=10000", "--dump-dom", url,
    )
    return json.loads(found(r"<pre>(.*?)</pre>", said))
