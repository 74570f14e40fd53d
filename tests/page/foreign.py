"""Control without tokens: its own page works, a page of anyone else gets nothing and does nothing."""

import http.server
import json
import signal
import threading
import urllib.request

from browser import Watched
from topology import PATIENCE, Origin, Program, expect, until

#: Everything that a page can send unasked, and what it may send only when asked first.
ATTACK = """async (control) => {
  const attempts = [
    ["/v1/purges", {method: "POST", mode: "no-cors", headers: {"content-type": "text/plain"}, body: '{"all": true}'}],
    ["/v1/purges", {method: "POST", headers: {"content-type": "application/json"}, body: '{"all": true}'}],
    ["/v1/purges", {method: "POST", mode: "no-cors", body: new Blob(['{"all": true}'])}],
    ["/service/default/purge_all", {method: "POST", mode: "no-cors"}],
    ["/v1/stats", {}],
    ["/v1/stats", {mode: "no-cors"}],
  ];
  const came = [];
  for (const [path, how] of attempts) {
    came.push(await fetch(control + path, how).then((r) => r.type + r.status, () => "refused"));
  }
  const frame = document.createElement("iframe");
  const loaded = new Promise((done) => { frame.onload = done; });
  frame.src = control + "/";
  document.body.append(frame);
  await loaded;
  return came;
}"""


def foreign_pages_are_refused(browser, weir, origin_sim):
    origin = Origin(origin_sim)
    command = [
        weir,
        "serve",
        "--origin",
        f"http://{origin.at}",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]
    node = Program(command, "listen", "admin")
    site = foreign_site()
    try:
        own_page_needs_no_token(browser, node)
        attacked(browser, node, site)
    finally:
        site.shutdown()
        node.end(signal.SIGKILL)
        origin.end()


def own_page_needs_no_token(browser, node):
    watched = Watched(browser, node.at["admin"])
    page = watched.open("#purges")
    page.locator("#purge-tags").fill("articles")
    page.locator("#purge .primary").click()
    until("it purges", lambda: "Completed: 1 node" in page.locator("#purge-answer").inner_text())
    expect("no token is asked for", page.locator("#token").is_hidden())
    watched.is_clean("without tokens the page works on this machine")


def attacked(browser, node, site):
    control = f"http://{node.at['admin']}"
    before = json.load(urllib.request.urlopen(f"{control}/v1/purges", timeout=PATIENCE))["head"]
    context = browser.new_context()
    page = context.new_page()
    for host in ("localhost", "127.0.0.1"):
        page.goto(f"http://{host}:{site.server_address[1]}/")
        came = page.evaluate(ATTACK, control)
        expect(
            f"a page of {host} reads nothing",
            all(one in ("refused", "opaque0") for one in came),
            came,
        )
        framed = page.frames[1].evaluate("document.documentElement.outerHTML")
        expect("and frames nothing", "Topology" not in framed, framed[:200])
    after = json.load(urllib.request.urlopen(f"{control}/v1/purges", timeout=PATIENCE))["head"]
    expect("and purges nothing", after == before, (before, after))
    context.close()
    print("  ok  a page of another origin reads nothing, frames nothing, purges nothing")


def foreign_site():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"<!doctype html><title>x</title><body>x"
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
