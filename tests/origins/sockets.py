"""gunicorn and nginx on Unix sockets, and origins below a path."""

import os
import sys

from .machine import ask, port, until

APP = """
def app(environ, start):
    body = environ["wsgi.input"].read()
    said = f'{environ["REQUEST_METHOD"]} {environ["PATH_INFO"]} {environ["HTTP_HOST"]} {len(body)}'
    start("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", "max-age=60")])
    return [said.encode()]
"""


def test_gunicorn_on_a_socket(machine):
    socket = machine.path("gunicorn.sock")
    machine.write("wsgi_app.py", APP)
    command = [sys.executable, "-m", "gunicorn", "--bind", f"unix:{socket}", "wsgi_app:app"]
    machine.start("gunicorn", *command, PYTHONPATH=machine.scratch)
    until("gunicorn", lambda: os.path.exists(socket))
    listen, _ = machine.weir("to-gunicorn", f'[[site]]\nhosts = ["shop.example"]\norigins = ["unix:{socket}"]\n')
    assert ask(listen, "/a").body == "GET /a shop.example 0"
    assert "hit" in ask(listen, "/a").handled()
    assert ask(listen, "/form", "POST", body="x" * 100_000).body == "POST /form shop.example 100000"


def test_nginx_on_a_socket_and_below_a_path(machine):
    socket, at = machine.path("nginx.sock"), port()
    root = machine.path("www")
    os.makedirs(f"{root}/shop/guide", exist_ok=True)
    machine.write("www/shop/guide/index.html", "guide")
    os.chmod(root, 0o755)
    machine.nginx(
        "web",
        f"""server {{ listen unix:{socket}; location / {{ return 200 "socket $host"; }} }}
        server {{
            listen 127.0.0.1:{at}; root {root};
            location = /shop/old {{ absolute_redirect off; return 302 /shop/new?x=1; }}
        }}""",
    )
    listen, _ = machine.weir("to-socket", f'[[site]]\nhosts = ["shop.example"]\norigins = ["unix:{socket}"]\n')
    assert ask(listen, "/a").body == "socket shop.example"
    below = f'[[site]]\nhosts = ["shop.example"]\norigins = ["http://127.0.0.1:{at}/shop"]\n'
    listen, _ = machine.weir("below", below)
    assert ask(listen, "/guide/").body == "guide"
    # nginx redirects to its own address, and to a path of its own.
    assert ask(listen, "/guide").headers["Location"] == "/guide/"
    assert ask(listen, "/old").headers["Location"] == "/new?x=1"
