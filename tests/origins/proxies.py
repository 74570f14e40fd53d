"""HAProxy and nginx before and behind weir, with the PROXY protocol."""

from .machine import ask, listens, metric, port, until


def echo(machine):
    """An nginx that answers with the client that it is told."""
    at = port()
    machine.nginx(
        "echo", f'server {{ listen 127.0.0.1:{at}; location / {{ return 200 "$http_x_forwarded_for"; }} }}'
    )
    return at


def test_haproxy_says_whose_connection_it_is(machine):
    origin = echo(machine)
    listen, _ = machine.weir(
        "behind",
        f'proxy_protocol = ["127.0.0.1"]\n[[site]]\nhosts = ["shop.example"]\norigins = ["http://127.0.0.1:{origin}"]\n',
    )
    fronts = {"send-proxy": port(), "send-proxy-v2": port()}
    text = "".join(
        f"listen {kind}\n mode tcp\n bind 127.0.0.1:{at}\n"
        f" server weir 127.0.0.1:{listen} {kind} check inter 200ms check-send-proxy\n"
        for kind, at in fronts.items()
    )
    machine.haproxy("front", text)
    for kind, at in fronts.items():
        until(kind, lambda on=at: listens(on))
        for client in ["127.0.0.9", "127.0.0.10"]:
            answer = until("an answer", lambda: try_ask(at, f"/{kind}/{client}", client))
            assert (answer.status, answer.body) == (200, client), (kind, answer)
    # From elsewhere nobody may say so.
    stranger = ask(listen, "/plain", source="127.0.0.77")
    assert (stranger.status, stranger.body) == (200, "127.0.0.77"), stranger


def try_ask(at, path, source):
    try:
        return ask(at, path, source=source)
    except OSError:
        return None


def test_nginx_and_haproxy_are_told(machine):
    nginx, haproxy = port(), port()
    machine.nginx(
        "told",
        f"""server {{
            listen 127.0.0.1:{nginx} proxy_protocol;
            location / {{ return 200 "$proxy_protocol_addr"; }}
        }}""",
    )
    machine.haproxy(
        "told-haproxy",
        f"frontend told\n mode http\n bind 127.0.0.1:{haproxy} accept-proxy\n"
        ' http-request return status 200 content-type text/plain lf-string "%[src]"\n',
    )
    until("haproxy", lambda: listens(haproxy))
    for version in ["v1", "v2"]:
        for name, at in [("nginx", nginx), ("haproxy", haproxy)]:
            listen, admin = machine.weir(
                f"tells-{name}-{version}",
                f'[[site]]\nid = "shop"\nhosts = ["shop.example"]\n[[site.origin]]\nname = "told"\n'
                f'urls = ["http://127.0.0.1:{at}"]\nproxy_protocol = "{version}"\n'
                f'health = {{ path = "/up", interval = "100ms" }}\n',
            )
            for client in ["127.0.0.9", "127.0.0.10", "127.0.0.9"]:
                answer = ask(listen, f"/{client}", source=client)
                assert (answer.status, answer.body) == (200, client), (name, version, answer)
            line = f'weir_upstream_member_healthy{{pool="shop/told",member="http://127.0.0.1:{at}"}}'
            until("good probes", lambda: metric(admin, line) == 1)
