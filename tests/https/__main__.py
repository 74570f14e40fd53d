"""A node that orders its certificates. Each step is a function; its name says what holds."""

import os
import pathlib
import socket
import ssl
import subprocess
import sys
import time

tests = pathlib.Path(__file__).parent.parent
sys.path[:0] = [str(tests), str(tests / "real")]
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import nodes  # noqa: E402
from machine import HOST, PATIENCE, Machine, expect, until  # noqa: E402
from node import NAMES, Node, alert, browser, renewed_under_load  # noqa: E402

CHALLENGE = "/.well-known/acme-challenge/"


def one_command_serves_two_names_by_https(machine):
    node = Node(machine, site="[site.hsts]\nmax_age = \"30d\"")
    front = node.ca.front
    front.down = True
    node.start()
    until("an order has failed", lambda: node.certificates()["shop.test"]["error"])
    # Nobody is sent to where nobody can go.
    plain = node.asked_clear("shop.test", "/a")
    expect("it serves in the clear", "200 OK" in plain and "the origin's /a" in plain, plain)
    expect("it promises nothing", "strict-transport" not in plain.lower(), plain)
    told = alert(node, "shop.test")
    expect("a name without certificate gets an alert", told and "ALERT" in told, told)
    front.down = False
    node.until_issued()
    for name in NAMES:
        page = node.asked_secure(name, "/a?b=%20c", "--http2")
        expect("HTTP/2, trusted", page.startswith("HTTP/2 200"), page)
        expect("it promises https", "strict-transport-security: max-age=2592000\n" in
               page.replace("\r", ""), page)
        with node.connect(name, ("h2", "http/1.1")) as line:
            subject = line.getpeercert()["subjectAltName"]
            expect("a certificate for each", subject == (("DNS", name),), subject)
            expect("h2 is offered", line.selected_alpn_protocol() == "h2")
        moved = node.asked_clear(name, "/a?b=%20c")
        location = f"location: https://{name}:{node.secure}/a?b=%20c\n"
        expect("http is redirected", moved.startswith("HTTP/1.1 308 "), moved)
        expect("to the same URL", location in moved.replace("\r", ""), moved)
        expect("and promises nothing", "strict-transport" not in moved.lower(), moved)
    other = node.asked_clear("other.test")
    expect("another name gets 421", other.startswith("HTTP/1.1 421 "), other)
    told = alert(node, "other.test")
    expect("and an alert", told and "ALERT" in told, told)
    expect("nothing is ordered for it", set(node.certificates()) == set(NAMES))
    # An origin's own challenges reach it, each time.
    for _ in range(2):
        own = node.asked_clear("shop.test", CHALLENGE + "of-the-origin")
        expect("it is the origin's", f"the origin's {CHALLENGE}of-the-origin" in own, own)
    asked = [path for path in node.origin.asked if path.startswith(CHALLENGE)]
    expect("challenges are not stored", len(asked) == 2, asked)
    for path in node.state.joinpath("acme").rglob("*"):
        mode = oct(path.stat().st_mode & 0o777)
        expect("for the user alone", mode == ("0o700" if path.is_dir() else "0o600"), path)
    metrics = node.curl(f"http://{HOST}:{node.admin}/metrics")
    for name in NAMES:
        expires = node.certificates()[name]["expires"]
        line = f'weir_certificate_expires_seconds{{name="{name}",source="acme"}} {expires}\n'
        expect("the expiry is a metric", line in metrics, metrics)
    listed = node.weir("certificates")
    expect("it is listed", "shop.test" in listed and "EXPIRES" in listed, listed)
    early = node.machine.run(
        "openssl", "s_client", "-connect", f"{HOST}:{node.secure}", "-servername", "shop.test",
        "-tls1_3", "-CAfile", node.ca.root, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    expect("no early data", "Max Early Data: 0" in early or "Max Early Data" not in early, early)
    browser(node)


def one_command_listens_where_browsers_look(machine):
    try:
        for port in (80, 443):
            with socket.create_server((HOST, port)):
                pass
    except OSError as error:
        print(f"   ports 80 and 443 cannot be had here: {error}")
        return
    node = Node(machine, listen=(80, 443))
    node.config = machine.write(
        "weir.toml",
        f"""
[node]
admin = "{HOST}:{node.admin}"
[tls.acme]
directory = "{node.ca.directory}"
ca = "{node.ca.https_root}"
retry = "1s"
""",
    )
    node.start(env={**os.environ, "STATE_DIRECTORY": str(node.state)})
    node.until_issued()
    page = node.curl("http://shop.test/a", "-i", "-L")
    expect("it is redirected and served", "location: https://shop.test/a" in page, page)
    expect("by HTTP/2", "HTTP/2 200" in page and "the origin's /a" in page, page)
    expect("its state is kept", list(node.state.rglob("shop.test.pem")))
    announced = node.process.log.read_text()
    for port in ("http://[::]:80", "https://[::]:443"):
        expect("it says where", port in announced or port.replace("[::]", "0.0.0.0") in announced)


def each_way_of_proving_a_name_is_enough(machine):
    for way in ("http-01", "tls-alpn-01"):
        with Machine(machine.weir, machine.folder, way) as own:
            node = Node(own, acme=f'challenges = ["{way}"]')
            # A CA may refuse a request for its nonce, as pebble does now and then: it comes again, and if that
            # happens too often, a new order does.
            seen, tokens = {}, node.ca.front.tokens

            def sees(path, _, seen=seen, tokens=tokens, node=node, way=way):
                named = next((named for url, named in tokens.items() if url.endswith(path)), None)
                if not path.startswith("/chalZ/") or named is None:
                    return
                name, kind, token = named
                other = next(other for other in NAMES if other != name)
                answers = [node.asked_clear(host, CHALLENGE + token) for host in (name, other)]
                seen[token] = (name, kind, answers)

            node.ca.front.sees = sees
            node.start()
            node.until_issued()
            proved = {name for name, _, _ in seen.values()}
            expect("each name is proved", proved == set(NAMES), seen)
            for token, (_, kind, (own_answer, other_answer)) in seen.items():
                expect("in this way", kind == way, kind)
                proof = f"\n\n{token}." in own_answer.replace("\r", "")
                expect("a token of http-01 is answered", proof == (way == "http-01"), own_answer)
                # The other one may have its certificate already.
                expect("for no other host", f"{token}." not in other_answer, other_answer)
            after = node.asked_clear("shop.test", CHALLENGE + next(iter(seen)))
            expect("nor once the order has ended", "the origin's" in after, after)
            with node.connect("shop.test", ("h2", "acme-tls/1")) as line:
                expect("others get what they want", line.selected_alpn_protocol() == "h2")
            context = ssl.create_default_context(cafile=node.ca.root)
            context.set_alpn_protocols(["acme-tls/1"])
            try:
                line = socket.create_connection((HOST, node.secure), timeout=PATIENCE)
                context.wrap_socket(line, server_hostname="shop.test")
                expect("nothing is proved without an order", False)
            except ssl.SSLError as error:
                expect("an alert", "ALERT" in error.reason, error)


def a_restart_needs_no_ca(machine):
    node = Node(machine).start()
    node.until_issued()
    serial = node.serial("shop.test")
    node.process.stop()
    expect("it ends in order", "panicked" not in node.process.log.read_text(), node.process.log)
    node.ca.front.down = True
    node.process.start()
    expect("the certificate is the old one", node.serial("shop.test") == serial)
    page = node.asked_secure("www.shop.test")
    expect("it serves", "200" in page.splitlines()[0], page)


def a_forced_renewal_drops_no_connection(machine):
    node = Node(machine).start()
    node.until_issued()
    renewed_under_load(node)
    refused = subprocess.run(
        [machine.weir, "certificates", "renew", "other.test", "--control",
         f"http://{HOST}:{node.admin}"], capture_output=True, text=True,
    )  # fmt: skip
    told = refused.stderr
    expect("no other is", refused.returncode and "no certificate is ordered" in told, told)


def a_ca_in_trouble_costs_nothing(machine):
    node = Node(machine).start()
    node.until_issued()
    serial, front = node.serial("shop.test"), node.ca.front

    def fails(saying):
        node.weir("certificates", "renew", "shop.test")

        def failed():
            error = node.certificates()["shop.test"]["error"]
            return error if error and saying in error else None

        until(f"an order fails: {saying}", failed)
        expect("the old certificate stays", node.serial("shop.test") == serial)
        listed = node.weir("certificates")
        expect("it is listed", saying in listed, listed)

    front.limited = 3
    asked = front.asked.count("/order-plz")
    fails("too many")
    limited_at = time.monotonic()
    front.limited = None
    until("Retry-After is over", lambda: front.asked.count("/order-plz") > asked + 1)
    waited = time.monotonic() - limited_at
    expect("it is kept to", waited > 2, waited)
    until("then it is renewed", lambda: node.serial("shop.test") != serial)
    serial = node.serial("shop.test")
    # From here on an order may take 3 s.
    text = node.config.read_text()
    node.config.write_text(text.replace("[tls.acme]", '[tls.acme]\ntimeout = "3s"'))
    node.weir("reload")
    front.slow = 6
    fails("in time")
    node.config.write_text(text)
    node.weir("reload")
    front.slow, front.down = 0, True
    fails("503")
    front.down = False
    until("it recovers", lambda: node.serial("shop.test") != serial)
    metrics = node.curl(f"http://{HOST}:{node.admin}/metrics")
    line = 'weir_certificate_order_failures{name="shop.test"} 0\n'
    expect("and says so", line in metrics, metrics)


def a_name_that_is_refused_holds_up_no_other(machine):
    names = ["a.test", "no.b.test", "c.test"]
    node = Node(machine, names, refused=["no.b.test"]).start()
    node.until_issued("a.test", "c.test")
    listed = until("the refusal is told", lambda: node.certificates()["no.b.test"]["error"])
    expect("with its reason", "no.b.test" in listed or "rejectedIdentifier" in listed, listed)
    page = node.asked_clear("no.b.test")
    expect("it is served in the clear", page.startswith("HTTP/1.1 200"), page)
    told = alert(node, "no.b.test")
    expect("and not by https", told and "ALERT" in told, told)


def a_name_that_leads_elsewhere_is_told(machine):
    node = Node(machine, ["a.test", "lost.test"])
    node.ca.leads_nowhere("lost.test")
    node.start()
    node.until_issued("a.test")
    until("the failure is told", lambda: node.certificates()["lost.test"]["error"])
    error = node.certificates()["lost.test"]["error"]
    expect("with the challenge", "-01 failed: " in error, error)
    node.ca.leads_here("lost.test")
    node.weir("certificates", "renew", "lost.test")
    node.until_issued()


def the_ca_says_when_to_renew(machine):
    node = Node(machine)
    front = node.ca.front
    now = int(time.time())
    front.window = (now + 86_400, now + 2 * 86_400)
    node.start()
    node.until_issued()
    until(
        "the window is known",
        lambda: now < node.certificates()["shop.test"]["renews"] <= now + 2 * 86_400,
    )
    serial, replaced = node.serial("shop.test"), []
    front.sees = lambda path, payload: replaced.append(payload.get("replaces"))
    node.process.stop()
    front.window = (now - 20, now - 10)
    node.process.start()
    until("it is renewed in the window", lambda: node.serial("shop.test") != serial)
    expect("the CA is told what is replaced", any(replaced), replaced)


def an_account_that_the_ca_knows_by_other_means(machine):
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    machine.write("hmac", key + "\n")
    acme = f'eab_key_id = "kid-1"\neab_hmac_key_file = "{machine.folder}/hmac"'
    node = Node(machine, acme=acme, eab={"kid-1": key}).start()
    node.until_issued()


def a_wildcard_is_proved_by_a_hook_that_sets_dns(machine):
    node = Node(machine, ["*.shop.test", "shop.test"])
    calls = machine.folder / "calls"
    hook = machine.write("hook", f"""#!/bin/sh
echo "$1 $2 $WEIR_ACME_HOST" >> {calls}
[ "$1/$2/$3" = "$WEIR_ACME_ACTION/$WEIR_ACME_NAME/$WEIR_ACME_VALUE" ] || exit 1
call=set-txt; [ "$1" = present ] || call=clear-txt
exec curl -sSf --noproxy '*' -d "{{\\"host\\": \\"$2\\", \\"value\\": \\"$3\\"}}" http://{HOST}:{node.ca.answers}/$call
""")
    hook.chmod(0o755)
    text = node.config.read_text()
    node.config.write_text(text.replace("[tls.acme]", f'[tls.acme]\ndns_hook = ["{hook}"]'))
    node.start()
    node.until_issued()
    with node.connect("www.shop.test") as line:
        subject = line.getpeercert()["subjectAltName"]
        expect("it is a wildcard's", subject == (("DNS", "*.shop.test"),), subject)
    with node.connect("shop.test") as line:
        subject = line.getpeercert()["subjectAltName"]
        expect("a name has its own", subject == (("DNS", "shop.test"),), subject)
    told = alert(node, "a.www.shop.test")
    expect("a wildcard stands for one label", told and "ALERT" in told, told)
    lines = calls.read_text().splitlines()
    name = "_acme-challenge.shop.test."
    for host in ("*.shop.test", "shop.test"):
        for action in ("present", "cleanup"):
            expect("each record is set and removed", f"{action} {name} {host}" in lines, lines)
    hook.write_text("#!/bin/sh\necho no such zone >&2\nexit 2\n")
    node.weir("certificates", "renew", "shop.test")
    failed = lambda: node.certificates()["shop.test"]["error"]  # noqa: E731
    error = until("the hook's failure is told", failed)
    expect("with its words", "no such zone" in error and "dns_hook present" in error, error)
    hook.write_text("#!/bin/sh\nsleep 300\n")
    node.config.write_text(node.config.read_text().replace("dns_hook", 'dns_timeout = "1s"\ndns_hook'))
    node.weir("reload")
    node.weir("certificates", "renew", "shop.test")
    until("it has an end", lambda: "tls.acme.dns_timeout" in failed())


def secrets_of_connections_are_logged_where_that_is_asked_for(machine):
    log = machine.folder / "keys"
    node = Node(machine).start(env={**os.environ, "SSLKEYLOGFILE": str(log)})
    node.until_issued()
    node.asked_secure("shop.test")
    expect("not by the environment", not log.exists())
    text = node.config.read_text()
    node.config.write_text(text.replace("[tls]\n", f'[tls]\nkey_log = "{log}"\n', 1))
    node.weir("reload")
    node.asked_secure("shop.test")
    lines = log.read_text()
    expect("the traffic's secrets are there", "CLIENT_TRAFFIC_SECRET_0 " in lines, lines)
    expect("for the user alone", log.stat().st_mode & 0o777 == 0o600)
    warned = node.process.log.read_text()
    expect("and the log warns", "tls.key_log" in warned and str(log) in warned, warned)


STEPS = [
    one_command_listens_where_browsers_look,
    one_command_serves_two_names_by_https,
    each_way_of_proving_a_name_is_enough,
    a_restart_needs_no_ca,
    a_forced_renewal_drops_no_connection,
    a_ca_in_trouble_costs_nothing,
    a_name_that_is_refused_holds_up_no_other,
    a_name_that_leads_elsewhere_is_told,
    the_ca_says_when_to_renew,
    an_account_that_the_ca_knows_by_other_means,
    a_wildcard_is_proved_by_a_hook_that_sets_dns,
    secrets_of_connections_are_logged_where_that_is_asked_for,
    *nodes.STEPS,
]


def main():
    weir, scratch = sys.argv[1], sys.argv[2]
    wanted = sys.argv[3:]
    for step in STEPS:
        name = step.__name__
        if wanted and name not in wanted:
            continue
        begin = time.monotonic()
        with Machine(weir, scratch, name) as machine:
            step(machine)
        print(f"ok {name.replace('_', ' ')} ({time.monotonic() - begin:.1f} s)", flush=True)


main()
