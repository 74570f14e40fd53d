"""docs/recipes/mediawiki.md: Debian's MediaWiki, php-fpm, SQLite and nginx."""

import json
import os
import shutil

from ports import ports

from . import crowd
from .machine import HOST, WEB_USER, Machine, after_revalidation, expect, found, program, until
from .recipe import Recipe, adapted
from .returning import Topology, keeps_its_hits, token
from .visitor import Readers, Visitor

PASSWORD = "correct horse battery"
OPERATOR = "fedcba9876543210"
WIKI = "/usr/share/mediawiki"
PAGE = "/wiki/Main_Page"
ALIAS = "/index.php?title=Main_Page"
HISTORY = "/index.php?title=Main_Page&action=history"

# What a crowd is told apart by, and a page whose answer takes longer than its TTL.
CROWD = """
$wgHooks['BeforePageDisplay'][] = function ($out) {
    if ($out->getUser()->isRegistered()) {
        $out->getRequest()->response()->header('X-Personal: ' . $out->getUser()->getName());
    }
};
if (strpos($_SERVER['REQUEST_URI'] ?? '', '/wiki/Slow') === 0) {
    $wgCdnMaxAge = 1;
    usleep(1200000);
}
"""


def follow(machine):
    for scheme in ("http", "https"):
        print(f"  {scheme}")
        with Machine(machine.weir, machine.folder, scheme, machine.requests) as one:
            follow_by(one, scheme)


def follow_by(machine, scheme):
    recipe = Recipe("mediawiki")
    origin, port, admin = ports(3)
    server = f"{scheme}://{HOST}:{port}"
    settings = installed(machine, server, adapted(recipe.block("LocalSettings.php"), {
        "127.0.0.1:80'": f"{HOST}:{port}'", "http://wiki.example.com": f"http://{HOST}:{port}",
    }))
    php, fpm = machine.php(f"env[MW_CONFIG_FILE] = {settings}")
    nginx = machine.nginx(origin, adapted(recipe.block("sites-available/mediawiki"), {
        "8081": origin, "/run/php/php8.2-fpm.sock": php,
    }))
    # With https, as behind a load balancer that ends TLS and says so.
    via = {"X-Forwarded-Proto": scheme} if scheme == "https" else {}
    config = adapted(recipe.block("weir.toml"), {
        "8081": origin, "wiki.example.com": HOST,
        "[node]": f'[node]\ntrusted_proxies = ["{HOST}"]' if via else "[node]",
    })
    weir = machine.weir_serves(config, port, admin)
    readers = Readers(port, via)

    page = readers.share(PAGE)
    readers.share(HISTORY)
    hour = readers.get(ALIAS)
    expect("another address is stored for an hour", "s-maxage=3600" in str(hour), hour)
    styles = found(r'href="(/load\.php[^"]+only=styles[^"]+)"', page.text).replace("&amp;", "&")
    readers.share(styles)
    redirect = readers.get("/")
    expect("the root leads to the main page", redirect.status in (301, 302), redirect)
    for path in ("/maintenance/install.php", "/includes/WebStart.php"):
        answer = readers.get(path)
        expect(f"{path} is denied", answer.status == 403, answer)
    print("  ok  pages and styles are stored for all")

    editor = Editor(port, via)
    editor.log_in()
    for _ in range(2):
        own = editor.get(PAGE)
        expect("the editor is named", "pt-userpage" in own.text and "Admin" in own.text, own)
        expect("the editor's page is not stored", not own.hit and not own.stored, own)
    public = readers.followed().get(PAGE)
    expect("others get the public page", public.hit and "pt-userpage" not in public.text, public)
    print("  ok  who is logged in has pages of their own")

    weir.commands(recipe.block("all pages"))
    for path in (PAGE, HISTORY):
        readers.hundred(path, editor, "pt-userpage")
    if scheme == "http":
        visited(machine, weir, port, editor, settings, styles)

    # A call of the API names no Location that weir would remove by itself: MediaWiki has to purge.
    editor.edit("Main_Page", "Edited text")
    for path in (PAGE, HISTORY):
        until(f"{path} is purged", lambda: not readers.followed().get(path).hit)
        answer = readers.get(path)
        expect(f"{path} is a hit again", answer.hit, answer)
    edited = readers.get(PAGE)
    expect("the edit is shown to all", "Edited text" in edited.text, edited)
    editor.edit("New_page", "New text")
    readers.share("/wiki/New_page")
    editor.call("delete", title="New_page")
    until("a deleted page is gone", lambda: readers.get("/wiki/New_page").status == 404)
    print("  ok  an edit, a new page and its removal, purged by MediaWiki")

    # An anonymous edit begins a session: from then on its author has pages of their own.
    author = Editor(port, via, _ga="GA1.1.42")
    author.form("Sandbox", "An anonymous line")
    own = author.get(PAGE)
    expect("the author's page is not stored", not own.hit and not own.stored, own)
    history = readers.get("/index.php?title=Sandbox&action=history")
    expect("weir tells MediaWiki the reader's address", HOST in history.text, history)
    print("  ok  who edits anonymously has pages of their own")

    weir.all_expires()
    old = readers.followed().get(PAGE)
    expect("an expired page is sent at once", old.revalidating, old)
    fpm.stop()
    after_revalidation(settings, 60)
    fpm.start()
    weir.commands(recipe.block("all pages"))
    for process in (fpm, nginx):
        for path in (PAGE, HISTORY):
            readers.get(path)
        weir.all_expires()
        process.stop()
        for path in (PAGE, HISTORY):
            answer = readers.followed().get(path)
            expect(f"{path}, stale", answer.in_place, answer)
        answer = readers.get("/wiki/Elsewhere")
        expect("what is not stored fails", answer.status == 502, answer)
        process.start()
        until(f"{process.name} answers again", lambda: not readers.get(PAGE).in_place)
    weir.commands(recipe.block("all pages"))
    readers.share(PAGE)
    print("  ok  PHP and nginx may be down")

    weir.process.stop()
    topology = Topology(machine, config + token("operator", OPERATOR, "purge", "read", "admin"),
                        admin, OPERATOR)
    (other,) = ports(1)
    node, _ = topology.node("edge", port), topology.node("other", other)
    # MediaWiki sends its purges to the node that stays.
    settings.write_text(adapted(settings.read_text(), {f"['{HOST}:{port}']": f"['{HOST}:{other}']"}))
    fpm.stop()
    fpm.start()
    keeps_its_hits(topology, node, readers, server, [PAGE, HISTORY, styles])
    node.stop()
    editor = Editor(other, via)
    editor.log_in()
    before = topology.purges()
    editor.edit("Main_Page", "Edited while the node was down")

    def purged():
        new = json.dumps([each for each in topology.history() if each["id"] not in before])
        return PAGE in new and "action=history" in new

    until("MediaWiki has purged", purged)
    node.start()
    for path in (PAGE, HISTORY):
        answer = readers.get(path)
        expect(f"{path} was purged", not answer.hit, answer)
        again = readers.get(path)
        expect(f"{path} is a hit again", again.hit, again)
    edited = readers.get(PAGE)
    expect("the edit is shown", "Edited while the node was down" in edited.text, edited)
    answer = readers.get(styles)
    expect("what was not purged is a hit still", answer.hit, answer)
    print("  ok  with a disk store, hits after a restart, and none of what was edited meanwhile")


def visited(machine, weir, port, editor, settings, styles):
    editor.edit("Slow", "Takes its time")
    users = []
    for name in crowd.names():
        machine.run(
            program("php8.2"), f"{WIKI}/maintenance/createAndPromote.php", f"--conf={settings}", name, PASSWORD
        )
        user = Editor(port)
        user.log_in(name)
        users.append(crowd.Person(user.cookies, name))
    weir.commands("weir purge --all")
    crowd.visited(weir, crowd.Site(port, [PAGE, HISTORY], [styles], "/wiki/Slow"), users, machine.requests)


class Editor(Visitor):
    """Who edits the wiki, by its API or by its form."""

    def call(self, action, **fields):
        token = self.token("csrf")
        answer = self.post("/api.php", {
            "action": action, "format": "json", "token": token, **fields,
        })
        expect(f"{action} succeeds", answer.status == 200 and "error" not in answer.json(), answer)
        return answer.json()

    def token(self, kind):
        answer = self.get(f"/api.php?action=query&meta=tokens&type={kind}&format=json")
        return answer.json()["query"]["tokens"][f"{kind}token"]

    def log_in(self, name="Admin"):
        answer = self.post("/api.php", {
            "action": "clientlogin", "format": "json", "logintoken": self.token("login"),
            "username": name, "password": PASSWORD, "loginreturnurl": f"http://{HOST}/",
        })
        expect("login", answer.json()["clientlogin"]["status"] == "PASS", answer)

    def edit(self, title, text):
        answer = self.call("edit", title=title, text=text)
        expect("the edit is saved", answer["edit"]["result"] == "Success", answer)

    def form(self, title, text):
        path = f"/index.php?title={title}&action=edit"
        page = self.get(path).text

        def field(name):
            return found(rf'<input[^>]*value="([^"]*)"[^>]*name="{name}"', page)

        names = ("wpEditToken", "wpStarttime", "wpEdittime", "editRevId", "oldid", "wpUnicodeCheck",
                 "parentRevId")
        fields = {name: field(name).replace("&#43;", "+") for name in names}
        answer = self.post(path.replace("edit", "submit"), {
            **fields, "wpTextbox1": text, "wpSave": "Save", "wpUltimateParam": "1",
            "wpSummary": "", "wpSection": "",
        })
        expect("the form is saved", answer.status == 302, answer)


def installed(machine, server, recipe):
    """MediaWiki's own installer; its settings, with the recipe's at the end."""
    data = machine.folder / "data"
    data.mkdir()
    machine.run(
        program("php8.2"), f"{WIKI}/maintenance/install.php", "--dbtype=sqlite",
        "--dbname=my_wiki", f"--dbpath={data}", f"--server={server}",
        "--scriptpath=", f"--confpath={machine.folder}", f"--pass={PASSWORD}", "Wiki", "Admin",
    )
    settings = machine.folder / "LocalSettings.php"
    settings.write_text(settings.read_text() + "\n" + recipe + CROWD)
    settings.chmod(0o644)
    if os.getuid() == 0:
        for path in (data, *data.rglob("*")):
            shutil.chown(path, WEB_USER, WEB_USER)
    return settings
