"""docs/recipes/wordpress.md: Debian's WordPress, php-fpm, MariaDB and nginx."""

import json
import os
import shutil
import socket

from ports import ports

from . import crowd
from .machine import HOST, after_revalidation, expect, found, program, until
from .recipe import Recipe, adapted
from .returning import Topology, keeps_its_hits
from .visitor import Readers, Visitor

TOKEN = "0123456789abcdef"
OPERATOR = "fedcba9876543210"
PASSWORD = "correct horse battery"
STYLES = r"https?://[^/]+(/wp-includes/[^\"' ]+\.css\?ver=[^\"' ]+)"

# What a crowd is told apart by, and a page whose answer takes longer than its TTL.
CROWD = """<?php
add_action('template_redirect', function () {
    if (isset($_GET['slow'])) {
        usleep(1200000);
        if (!is_user_logged_in()) header('Cache-Control: max-age=0, s-maxage=1');
    }
    if (is_user_logged_in()) {
        $name = wp_get_current_user()->user_login;
        header("X-Personal: $name");
        header("ETag: \\"$name\\"");
        if (($_SERVER['HTTP_IF_NONE_MATCH'] ?? '') === "\\"$name\\"") {
            status_header(304);
            exit;
        }
    }
}, 1);
"""


def follow(machine):
    recipe = Recipe("wordpress")
    origin, port, admin = ports(3)
    database = mariadb(machine)
    root = installation(machine, database)
    plugin = adapted(recipe.block("mu-plugins/weir.php"), {"127.0.0.1:9090": f"{HOST}:{admin}"})
    machine.write("wordpress/wp-content/mu-plugins/weir.php", plugin)
    machine.write("wordpress/wp-content/mu-plugins/crowd.php", CROWD)
    php, fpm = machine.php()
    nginx = machine.nginx(origin, adapted(recipe.block("sites-available/wordpress"), {
        "8081": origin, "/usr/share/wordpress": root, "/run/php/php8.2-fpm.sock": php,
    }))
    config = adapted(recipe.block("weir.toml"), {
        "8081": origin, "blog.example.com": HOST,
        "/etc/weir/wordpress-token": machine.write("wordpress-token", TOKEN),
        "/etc/weir/operator-token": machine.write("operator-token", OPERATOR),
    })
    weir = machine.weir_serves(config, port, admin, OPERATOR)
    readers = Readers(port)
    installed(readers.anonymous())
    editor = logged_in(port)
    # The first visit to these settings completes the addresses of archives.
    editor.get("/wp-admin/options-permalink.php")
    weir.commands(recipe.block("all pages"))
    post = editor.posts("GET", "posts")[0]
    path, title = post["link"].split(f":{port}")[1], post["title"]["rendered"]

    home = readers.share("/")
    expect("the home page lists the post", title in home.text, home)
    readers.share(path)
    readers.share("/category/uncategorized/")
    readers.share("/feed/")
    readers.share(found(STYLES, home.text))
    tracked = readers.get(f"{path}?utm_source=mail&fbclid=1")
    expect("a tracked page is the same page", tracked.hit, tracked)
    for redirect in ("/wp-admin", path.rstrip("/"), "/wp-admin/"):
        answer = readers.get(redirect)
        expect(f"{redirect} redirects", answer.status in (301, 302), answer)
    for scheme in ("http", "https"):
        page = Visitor(origin, {"X-Forwarded-Proto": scheme}).get("/wp-login.php")
        styles = found(r"(https?)://[^/]+/wp-admin/css/", page.text)
        expect("WordPress reads how its visitor is connected", styles == scheme, page)
    print("  ok  pages and files are stored for all")

    for _ in range(2):
        own = editor.get("/")
        expect("the editor has the admin bar", "wpadminbar" in own.text, own)
        expect("the editor's page is not stored", not own.hit and not own.stored, own)
    for page in ("/", path):
        public = readers.get(page)
        expect("others get the public page", public.hit and "wpadminbar" not in public.text, public)
    weir.commands(recipe.block("all pages"))
    for page in ("/", path):
        readers.hundred(page, editor, "wpadminbar")
    visited(machine, weir, port, editor, path, found(STYLES, home.text))
    logging_in = readers.anonymous()
    for who, page in ((editor, "/wp-admin/"), (editor, "/wp-admin/profile.php"),
                      (logging_in, "/wp-login.php")):
        for _ in range(2):
            answer = who.get(page)
            expect(f"{page} is not stored", not answer.hit and not answer.stored, answer)
    print("  ok  who is logged in has pages of their own")

    before = weir.purges()
    draft = editor.posts("POST", "posts", title="A draft", status="draft")
    editor.posts("POST", f"posts/{draft['id']}", content="Not public yet.")
    editor.posts("POST", f"posts/{draft['id']}/autosaves", content="Still not.")
    expect("drafts purge nothing", weir.purges() == before, weir.purges())
    shown = [path, "/", "/category/uncategorized/", "/feed/"]
    editor.posts("POST", f"posts/{post['id']}", title="Edited")
    changed(readers, shown, "Edited", True)
    editor.posts("POST", f"posts/{draft['id']}", status="publish", title="Published")
    changed(readers, shown[1:], "Published", True)
    editor.posts("DELETE", f"posts/{draft['id']}")
    changed(readers, shown[1:], "Published", False)
    print("  ok  an edit, a new post and its removal, at once")

    author = Visitor(port)
    said = author.follow(author.post("/wp-comments-post.php", {
        "comment": "Well said", "author": "Ann", "email": "ann@example.com", "submit": "Post",
        "comment_post_ID": post["id"], "comment_parent": 0, "wp-comment-cookies-consent": "yes",
    }))
    expect("the author sees the comment", "Well said" in said.text, said)
    own = author.get(path)
    expect("also on the page itself", "Well said" in own.text, (author.cookies, own))
    answer = readers.share(path)
    expect("nobody else does", "Well said" not in answer.text, answer)
    comment = editor.posts("GET", "comments?status=hold")[0]
    editor.posts("POST", f"comments/{comment['id']}", status="approved")
    changed(readers, [path], "Well said", True)
    editor.posts("DELETE", f"comments/{comment['id']}")
    changed(readers, [path], "Well said", False)
    print("  ok  comments are public when they are approved")

    weir.all_expires()
    old = readers.followed().get(path)
    expect("an expired page is sent at once", old.revalidating, old)
    fpm.stop()
    after_revalidation(root / "wp-content/mu-plugins/weir.php", 30)
    fpm.start()
    weir.commands(recipe.block("all pages"))
    down(readers, weir, fpm, shown)
    print("  ok  PHP may be down")
    down(readers, weir, nginx, shown)
    answer = readers.get("/?p=77")
    expect("what is not stored fails", answer.status == 502, answer)
    nginx.start()
    editor.posts("DELETE", f"posts/{post['id']}")
    gone = readers.get(path)
    expect("a post in the trash is gone", gone.status == 404, gone)
    changed(readers, shown[1:3], "Edited", False)
    print("  ok  nginx may be down; a post in the trash is gone")

    weir.process.stop()
    topology = Topology(machine, config, admin, OPERATOR)
    returns_with_its_disk(topology, topology.node("edge", port), readers, editor, origin)
    print("  ok  with a disk store, hits after a restart, and none of what was edited meanwhile")


def visited(machine, weir, port, editor, path, styles):
    users = []
    for name in crowd.names():
        made = {"username": name, "password": PASSWORD, "email": f"{name}@example.com", "roles": ["subscriber"]}
        answer = editor.request(
            "POST", "/wp-json/wp/v2/users", json.dumps(made),
            {"X-WP-Nonce": editor.nonce, "Content-Type": "application/json"},
        )  # fmt: skip
        expect(f"{name} has an account", answer.status == 201, answer)
        users.append(crowd.Person(logged_in(port, name).cookies, name))
    weir.commands("weir purge --all")
    pages = ["/", path, "/category/uncategorized/", "/feed/"]
    crowd.visited(weir, crowd.Site(port, pages, [styles], "/?slow=1"), users, machine.requests)


def returns_with_its_disk(topology, node, readers, editor, origin):
    """What WordPress shows once a node was restarted, and once a post was edited while it was down."""
    post = editor.posts("POST", "posts", title="Written for the disk", status="publish")
    at, path = found(r"(https?://[^/]+)/", post["link"]), f"/{post['link'].split('/', 3)[3]}"
    shown = [path, "/", "/category/uncategorized/", "/feed/"]
    styles = found(STYLES, readers.get(path).text)
    topology.commands("weir purge --all")
    keeps_its_hits(topology, node, readers, at, [*shown, styles])
    node.stop()
    # Past weir, as from WordPress's own machine.
    direct = Editor(origin, **editor.cookies)
    direct.nonce = editor.nonce
    before = topology.purges()
    direct.posts("POST", f"posts/{post['id']}", title="Edited while the node was down")
    expect("the plugin has purged", topology.purges() != before, before)
    node.start()
    changed(readers, shown, "Edited while the node was down", True)
    answer = readers.get(styles)
    expect("what was not purged is a hit still", answer.hit, answer)


def changed(readers, paths, text, shows):
    """The very next request for each page has, or has not, this text; it is stored again."""
    for path in paths:
        answer = readers.followed().get(path)
        expect(f"{path} shows {text}: {shows}", (text in answer.text) == shows, answer)
    for path in paths:
        again = readers.get(path)
        expect(f"{path} is a hit again", again.hit, again)


def down(readers, weir, process, paths):
    """Every TTL has ended and `process` does not run: stored pages are served."""
    for path in paths:
        readers.get(path)
    weir.all_expires()
    process.stop()
    for path in paths:
        for _ in range(2):
            answer = readers.followed().get(path)
            expect(f"{path}, stale", answer.in_place, answer)
    if process.name == "php-fpm":
        process.start()
        until("PHP answers again", lambda: not readers.get("/").in_place)


class Editor(Visitor):
    """Who is logged in to WordPress."""

    nonce = ""

    def posts(self, method, resource, **fields):
        """A call of WordPress's REST API, as its editor makes them."""
        headers = {"X-WP-Nonce": self.nonce, "Content-Type": "application/json"}
        body = json.dumps(fields) if fields else None
        answer = self.request(method, f"/wp-json/wp/v2/{resource}", body, headers)
        expect(f"{method} {resource}", answer.status in (200, 201), answer)
        return answer.json()


def logged_in(port, name="admin"):
    editor = Editor(port, wordpress_test_cookie="1")
    answer = editor.post("/wp-login.php", {
        "log": name, "pwd": PASSWORD, "wp-submit": "Log In", "testcookie": "1",
    })
    expect("login", answer.status == 302, answer)
    named = [name for name in editor.cookies if name.startswith("wordpress_logged_in_")]
    expect("login sets a cookie", named, editor.cookies)
    editor.nonce = editor.get("/wp-admin/admin-ajax.php?action=rest-nonce").text
    return editor


def installed(visitor):
    """The form that a browser shows first, through weir: the site has weir's address."""
    answer = visitor.post("/wp-admin/install.php?step=2", {
        "weblog_title": "Blog", "user_name": "admin", "admin_password": PASSWORD,
        "admin_password2": PASSWORD, "admin_email": "admin@example.com", "blog_public": "1",
        "Submit": "Install WordPress", "language": "",
    })
    expect("WordPress is installed", "wp-login.php" in answer.text, answer)


def installation(machine, database):
    """A copy of Debian's package: its configuration would be in /etc."""
    root = machine.folder / "wordpress"
    shutil.copytree("/usr/share/wordpress", root, symlinks=False,
                    ignore=shutil.ignore_patterns(".htaccess", "wp-config.php"))
    expect("a theme is installed", list((root / "wp-content/themes").glob("*/style.css")), root)
    sample = (root / "wp-config-sample.php").read_text()
    machine.write("wordpress/wp-config.php", adapted(sample, {
        "database_name_here": "wordpress", "username_here": "root", "password_here": "",
        "'localhost'": f"'localhost:{database}'",
        "/* That's all, stop editing!": Recipe("wordpress").block("wp-config.php")
        + "/* That's all, stop editing!",
    }))
    return root


def mariadb(machine):
    """A database server with a folder of its own; the path of its socket."""
    folder, path = machine.folder / "mariadb", machine.folder / "mysqld" / "mysqld.sock"
    folder.mkdir()
    path.parent.mkdir()
    user = []
    if os.getuid() == 0:
        shutil.chown(folder, "mysql", "mysql")
        shutil.chown(path.parent, "mysql", "mysql")
        user = ["--user=mysql"]
    machine.run(
        program("mariadb-install-db"), "--no-defaults", f"--datadir={folder}",
        "--auth-root-authentication-method=normal", "--skip-test-db", *user,
    )
    command = [
        program("mariadbd"), "--no-defaults", f"--datadir={folder}", f"--socket={path}",
        "--skip-networking", f"--pid-file={folder}/pid", *user,
    ]

    def ready():
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(path)) == 0

    machine.process("mariadbd", command, ready)
    client = [program("mariadb"), "--no-defaults", f"--socket={path}", "--user=root"]
    machine.run(*client, "--execute=CREATE DATABASE wordpress")
    return path
