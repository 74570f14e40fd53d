"""Control that orders for many edges. Each step is a function; its name says what holds."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import time

from ca import Ca
from machine import HOST, PATIENCE, expect, listens, until
from ports import ports

NAMES = ["a.test", "b.test"]
NODE_TOKEN, ADMIN_TOKEN = "n" * 24, "a" * 24
PLACES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


def settled(place, port):
    with socket.socket() as probe:
        return probe.connect_ex((place, port)) == 0


class Listed(dict):
    """Certificates by name. Of a name that is not listed yet, after a start, nothing is known."""

    def __missing__(self, name):
        return {"expires": None, "error": None, "unrevoked": None}


class Edge:
    """An edge at an address of its own, on the ports that all edges have."""

    def __init__(self, fleet, number, secret=None, names=None):
        self.fleet, self.place = fleet, PLACES[number]
        machine, name = fleet.machine, f"edge-{number}"
        (self.admin,) = ports(1)
        self.state = machine.folder / name
        config = machine.write(f"{name}.toml", f"""
[node]
name = "{name}"
listen = "{self.place}:{fleet.clear}"
admin = "{HOST}:{self.admin}"
state = "{self.state}"
workers = 1
[control]
url = {json.dumps(fleet.urls)}
token = "{NODE_TOKEN}"
[tls]
listen = "{self.place}:{fleet.secure}"
[tls.acme]
secret_file = "{secret or fleet.secret}"
{fleet.site(names or fleet.names)}
""")
        self.process = machine.process(
            name, [machine.weir, "serve", "--config", config],
            lambda: settled(self.place, fleet.clear) and listens(self.admin),
        )  # fmt: skip

    def openssl(self, name, *words):
        request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        command = ["openssl", "s_client", "-connect", f"{self.place}:{self.fleet.secure}",
                   "-servername", name, "-CAfile", self.fleet.ca.root, "-ign_eof", *words]  # fmt: skip
        ran = subprocess.run(
            [str(word) for word in command], input=request, text=True, timeout=PATIENCE,
            capture_output=True,
        )  # fmt: skip
        return ran.stdout

    def serial(self, name):
        """The serial number of the certificate for a name; `None` without one."""
        context = ssl.create_default_context(cafile=self.fleet.ca.root)
        try:
            line = socket.create_connection((self.place, self.fleet.secure), timeout=PATIENCE)
            with context.wrap_socket(line, server_hostname=name) as line:
                return line.getpeercert()["serialNumber"]
        except ssl.SSLError:
            return None


class Fleet:
    """One control, or several over etcd, and edges."""

    def __init__(self, machine, names=NAMES, acme="", log=None, controls=1, **ca):
        self.machine, self.names = machine, names
        self.clear, self.secure = ports(2)
        self.ca = Ca(machine, self.clear, self.secure, **ca)
        self.secret = machine.write("secret", "s3" * 20 + "\n")
        self.admins = ports(controls)
        self.urls = [f"http://{HOST}:{admin}" for admin in self.admins]
        self.acme = acme
        self.controls = []
        for number, admin in enumerate(self.admins):
            data = f'data = "{machine.folder}/control"' if log is None else log
            config = machine.write(f"control-{number}.toml", f"""
[control]
listen = "{HOST}:{admin}"
{data}
[[token]]
name = "nodes"
secret = "{NODE_TOKEN}"
scopes = ["node"]
[[token]]
name = "me"
secret = "{ADMIN_TOKEN}"
scopes = ["purge", "read", "admin"]
[tls.acme]
directory = "{self.ca.directory}"
ca = "{self.ca.https_root}"
secret_file = "{self.secret}"
retry = "1s"
{acme}
{self.site(names)}
""")
            command = [machine.weir, "control", "--config", config]
            ready = lambda admin=admin: listens(admin)  # noqa: E731
            self.controls.append(machine.process(f"control-{number}", command, ready))
        self.edges = []

    def site(self, names):
        return f"""[[site]]
id = "shop"
hosts = {json.dumps(names)}
origins = ["http://{HOST}:1"]
tls = "auto"
"""

    def with_edges(self, count, **kind):
        for number in range(len(self.edges), count):
            self.edges.append(Edge(self, number, **kind))
        return self

    def weir(self, *words, control=0):
        env = {**os.environ, "WEIR_TOKEN": ADMIN_TOKEN}
        return self.machine.run(
            self.machine.weir, *words, "--control", self.urls[control], env=env
        )

    def certificates(self, control=0):
        listed = json.loads(self.weir("certificates", "--json", control=control))["certificates"]
        return Listed((each["name"], each) for each in listed)

    def until_served(self, *names, edges=None):
        def served():
            every = [edge.serial(name) for edge in edges or self.edges for name in names or self.names]
            return all(every)

        until("every edge serves it", served)

    def until_changed(self, name, before, edges=None):
        def changed():
            serials = {edge.serial(name) for edge in edges or self.edges}
            return len(serials) == 1 and before not in serials and None not in serials

        until("every edge has the new one", changed)
        return (edges or self.edges)[0].serial(name)

    def proofs(self, name):
        """How many orders for a name there were: each has one token for each way."""
        tokens = self.ca.front.tokens.values()
        return len({token for host, kind, token in tokens if (host, kind) == (name, "http-01")})


def sealed_alone(folder):
    """No file below it has a key that can be read."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        text = path.read_bytes()
        expect("no key is there in the clear", b"PRIVATE KEY" not in text, path)
    return files


def the_challenge_reaches_another_edge_than_the_first(machine):
    for way in ("http-01", "tls-alpn-01"):
        with type(machine)(machine.weir, machine.folder, way) as own:
            fleet = Fleet(own, acme=f'challenges = ["{way}"]')
            fleet.ca.leads_to("a.test", PLACES[2])
            fleet.ca.leads_to("b.test", PLACES[1])
            until("it is told what is missing", lambda: "no edge that serves it" in (
                fleet.certificates()["a.test"]["error"] or ""))
            expect("nothing was ordered that nobody could prove", not fleet.proofs("a.test"))
            fleet.with_edges(3).until_served()
            for name in NAMES:
                expect("one order each", fleet.proofs(name) == 1, fleet.ca.front.tokens)
                serials = {edge.serial(name) for edge in fleet.edges}
                expect("one certificate on all edges", len(serials) == 1, serials)
                expires = fleet.certificates()[name]["expires"]
                expect("it is listed by control", expires > time.time(), expires)
            expect("control keeps them", len(sealed_alone(own.folder / "control/acme")) >= 3)
            for edge in fleet.edges:
                sealed_alone(edge.state)
                files = list(edge.state.joinpath("acme/received").iterdir())
                expect("each edge keeps two certificates and tickets", len(files) == 3, files)


def an_edge_serves_after_a_restart_without_control_and_ca(machine):
    fleet = Fleet(machine).with_edges(2)
    fleet.until_served()
    serial = fleet.edges[0].serial("a.test")
    sealed = fleet.edges[0].openssl("a.test", "-tls1_3", "-sess_out", machine.folder / "session")
    expect("it is trusted", "Verify return code: 0" in sealed, sealed)
    fleet.edges[0].process.stop()
    fleet.controls[0].stop()
    fleet.ca.front.down = True
    fleet.edges[0].process.start()
    expect("it serves what it has", fleet.edges[0].serial("a.test") == serial)
    resumed = fleet.edges[0].openssl("a.test", "-tls1_3", "-sess_in", machine.folder / "session")
    expect("and goes on with sessions", "Reused, TLSv1.3" in resumed, resumed)
    fleet.controls[0].start()
    until("control has what it had", lambda: fleet.certificates()["a.test"]["expires"])
    fleet.ca.front.down = False
    fleet.weir("certificates", "renew", "a.test")
    fleet.until_changed("a.test", serial)


def sessions_are_resumed_at_other_edges(machine):
    fleet = Fleet(machine, acme='ticket_rotation = "1h"').with_edges(2)
    fleet.until_served()
    first, second = fleet.edges
    for version in ("-tls1_2", "-tls1_3"):
        session = machine.folder / f"session{version}"
        begun = first.openssl("a.test", version, "-sess_out", session)
        expect("it is a new session", "New, TLSv1." in begun, begun)
        resumed = second.openssl("a.test", version, "-sess_in", session)
        expect("the other edge goes on with it", "Reused, TLSv1." in resumed, resumed)
    # Tickets of the time before are taken, those of the time before that are not.
    config = machine.folder / "control-0.toml"
    config.write_text(config.read_text().replace('"1h"', '"2s"'))
    fleet.weir("reload")
    until("the keys are rotated", lambda: "New, TLSv1." in second.openssl(
        "a.test", "-tls1_2", "-sess_in", machine.folder / "session-tls1_2"))


def a_rotation_replaces_keys_and_revokes(machine):
    fleet = Fleet(machine).with_edges(2)
    fleet.until_served()
    before = {name: fleet.edges[0].serial(name) for name in NAMES}
    session = machine.folder / "session"
    fleet.edges[0].openssl("a.test", "-tls1_2", "-sess_out", session)

    def key():
        shown = fleet.edges[0].openssl("a.test", "-showcerts")
        return fleet.machine.run("openssl", "x509", "-noout", "-pubkey", stdin=pem(fleet, shown))

    old_key = key()
    told = fleet.weir("certificates", "rotate")
    expect("all are named", "a.test, b.test" in told and "revoked" in told, told)
    for name in NAMES:
        fleet.until_changed(name, before[name])
        until("the old one is revoked", lambda: fleet.ca.status(before[name]) == "Revoked")
        now = fleet.edges[0].serial(name)
        expect("the new one is not", fleet.ca.status(now) == "Valid", now)
    expect("the key is another", key() != old_key)
    until("tickets from before are worth nothing", lambda: "New, TLSv1.2" in fleet.edges[1].openssl(
        "a.test", "-tls1_2", "-sess_in", session))
    # A CA that is down when it is to revoke is asked again, also by the next process.
    serial = fleet.edges[0].serial("a.test")
    fleet.ca.front.refuses_revocation = True
    fleet.weir("certificates", "rotate", "a.test")
    fleet.until_changed("a.test", serial)
    until("it is told", lambda: fleet.certificates()["a.test"]["unrevoked"] == 1)
    fleet.controls[0].stop()
    expect("it is still valid", fleet.ca.status(serial) == "Valid")
    fleet.ca.front.refuses_revocation = False
    fleet.controls[0].start()
    until("it is revoked at last", lambda: fleet.ca.status(serial) == "Revoked")
    until("nothing is left", lambda: fleet.certificates()["a.test"]["unrevoked"] == 0)


def a_new_secret_takes_the_place_of_the_old_one(machine):
    fleet = Fleet(machine).with_edges(2)
    fleet.until_served()
    kept = fleet.edges[0].serial("b.test")
    new = machine.write("new-secret", "n3" * 20 + "\n")
    to = f'secret_file = "{new}"'

    def told(name, port, before, after):
        config = machine.folder / f"{name}.toml"
        config.write_text(config.read_text().replace(before, after))
        env = {**os.environ, "WEIR_TOKEN": ADMIN_TOKEN}
        machine.run(machine.weir, "reload", "--control", f"http://{HOST}:{port}", env=env)

    def all_renew():
        serial = fleet.edges[0].serial("a.test")
        fleet.weir("certificates", "renew", "a.test")
        fleet.until_changed("a.test", serial)

    first, second = fleet.edges
    members = [("edge-0", first.admin), ("control-0", fleet.admins[0]), ("edge-1", second.admin)]
    both = f'{to}\nold_secret_file = "{fleet.secret}"'
    # One edge has the new one, before control.
    told(*members[0], f'secret_file = "{fleet.secret}"', both)
    all_renew()
    # Control has it, and one edge cannot open what it sends: that one goes on with what it has.
    told(*members[1], f'secret_file = "{fleet.secret}"', both)
    before = second.serial("a.test")
    fleet.weir("certificates", "renew", "a.test")
    fleet.until_changed("a.test", before, edges=[first])
    expect("the other one serves the old one", second.serial("a.test") == before)
    told(*members[2], f'secret_file = "{fleet.secret}"', both)
    fleet.until_changed("a.test", before)
    all_renew()
    # Nobody needs the old one any more, also for what was not renewed since.
    for member in members:
        told(*member, both, to)
    all_renew()
    serial = first.serial("a.test")
    fleet.controls[0].stop()
    for edge in fleet.edges:
        edge.process.stop()
        edge.process.start()
        served = [edge.serial(name) for name in NAMES]
        expect("it opens all that it kept", served == [serial, kept], served)
    fleet.controls[0].start()
    all_renew()
    expect("nothing was ordered again without need", first.serial("b.test") == kept)


def pem(fleet, shown):
    path = fleet.machine.write("shown.pem", shown)
    return path.open()


def a_node_token_opens_nothing(machine):
    fleet = Fleet(machine).with_edges(1)
    fleet.until_served()
    wrong = machine.write("wrong", "another-secret-of-many-characters\n")
    rogue = Edge(fleet, 1, secret=wrong)
    fleet.weir("certificates", "renew", "a.test")

    def refused():
        log = rogue.process.log.read_text(errors="replace")
        return "cannot be opened with tls.acme.secret_file" in log

    until("it tries, and cannot", refused)
    expect("it serves nothing by https", rogue.serial("a.test") is None)
    rogue.process.stop()
    # What travels over the connection, as anybody hears it who has the token.
    heard = listened(fleet, until_sent=len(NAMES) + 1)
    purposes = sorted(item["purpose"] for item in heard)
    expect("it is sent all", purposes == ["certificate", "certificate", "tickets"], purposes)
    key = machine.folder.joinpath("control/acme")
    for item in heard:
        expect("sealed alone", set(item) == {"purpose", "host", "version", "sealed"}, item)
        expect("no PEM", "BEGIN" not in item["sealed"] and "LS0tLS1CRUdJT" not in item["sealed"])
    sealed_alone(key)
    # One for another site is sent nothing of this one.
    heard = listened(fleet, until_sent=1, hosts=["other.test"])
    expect("only what is for its hosts", [one["purpose"] for one in heard] == ["tickets"], heard)
    # A parent is sent nothing at all.
    heard = listened(fleet, until_sent=None, tier="parent")
    expect("a parent gets nothing", heard == [], heard)


def listened(fleet, until_sent, hosts=("*",), tier="edge"):
    """Joins as a node that has the token, and says that it lacks everything; the items that control sends."""
    line = socket.create_connection((HOST, fleet.admins[0]), timeout=PATIENCE)
    line.sendall(
        f"GET /v1/follow HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer {NODE_TOKEN}\r\n"
        "Connection: upgrade\r\nUpgrade: weir-log/1\r\n\r\n".encode()
    )
    with line, line.makefile("rwb") as stream:
        while stream.readline().strip():
            pass

        def say(**frame):
            stream.write(json.dumps(frame).encode() + b"\n")
            stream.flush()

        name = f"rogue-{time.monotonic_ns()}"
        say(frame="hello", name=name, tier=tier, region="eu", listen="x", instance=name, version="x",
            standing={"applied": 0, "mark": 0},
            sites=[{"id": "shop", "hosts": list(hosts)}])  # fmt: skip
        items, beats = [], 0
        while until_sent is None or len(items) < until_sent:
            frame = json.loads(stream.readline())
            expect("it is let in", frame["frame"] != "refused", frame)
            beats += frame["frame"] == "heartbeat"
            if until_sent is None and beats == 3:
                break
            what = frame.get("what", {})
            if what.get("question") == "lacked_items":
                say(frame="answer", ask=frame["ask"], result={"Ok": what["items"]})
            if what.get("question") == "take_items":
                items += what["items"]
                say(frame="answer", ask=frame["ask"], result={"Ok": True})
        say(frame="leave")
        return items


def a_ca_in_trouble_costs_edges_nothing(machine):
    names = ["a.test", "no.b.test", "c.test"]
    fleet = Fleet(machine, names, refused=["no.b.test"]).with_edges(2)
    fleet.until_served("a.test", "c.test")
    until("the refusal is told", lambda: fleet.certificates()["no.b.test"]["error"])
    serial, front = fleet.edges[0].serial("a.test"), fleet.ca.front

    def fails(saying):
        fleet.weir("certificates", "renew", "a.test")
        until(f"an order fails: {saying}", lambda: saying in (fleet.certificates()["a.test"]["error"] or ""))
        for edge in fleet.edges:
            expect("the old certificate stays", edge.serial("a.test") == serial)

    front.limited = 2
    fails("too many")
    front.limited = None
    serial = fleet.until_changed("a.test", serial)
    config = machine.folder / "control-0.toml"
    text = config.read_text()
    config.write_text(text.replace("[tls.acme]", '[tls.acme]\ntimeout = "3s"'))
    fleet.weir("reload")
    front.slow = 6
    fails("in time")
    config.write_text(text)
    fleet.weir("reload")
    front.slow, front.down = 0, True
    fails("503")
    front.down = False
    fleet.until_changed("a.test", serial)
    metrics = machine.run("curl", "-sS", f"{fleet.urls[0]}/metrics", "-H", f"Authorization: Bearer {ADMIN_TOKEN}")
    line = 'weir_control_certificate_order_failures{name="a.test"} 0\n'
    expect("and says so", line in metrics, metrics)


def of_two_controls_exactly_one_orders(machine):
    if not shutil.which("etcd"):
        print("   etcd is not here: no second control")
        return
    client, peer = ports(2)
    url = f"http://{HOST}:{client}"
    machine.process(
        "etcd",
        ["etcd", "--data-dir", machine.folder / "etcd", "--listen-client-urls", url,
         "--advertise-client-urls", url, "--listen-peer-urls", f"http://{HOST}:{peer}",
         "--initial-advertise-peer-urls", f"http://{HOST}:{peer}",
         "--initial-cluster", f"default=http://{HOST}:{peer}"],
        lambda: listens(client),
    )  # fmt: skip
    log = f'log = "etcd"\n[control.etcd]\nendpoints = ["{url}"]'
    fleet = Fleet(machine, log=log, controls=2).with_edges(2)
    fleet.until_served()
    for name in NAMES:
        expect("one order each", fleet.proofs(name) == 1, fleet.ca.front.tokens)
    both = [fleet.certificates(control) for control in (0, 1)]
    expect("both tell the same", both[0] == both[1], both)
    stored = machine.run("etcdctl", "--endpoints", url, "get", "--prefix", "", env={**os.environ, "ETCDCTL_API": "3"})
    expect("it is kept in etcd", "/tls/" in stored and "a.test.pem" in stored, stored[:2000])
    expect("sealed", "PRIVATE" not in stored)
    serial = fleet.edges[0].serial("a.test")
    writer = next(
        number for number, control in enumerate(fleet.controls)
        if "this process of control is the writer" in control.log.read_text()
    )  # fmt: skip
    other = 1 - writer
    fleet.controls[writer].process.kill()
    fleet.controls[writer].process.wait(PATIENCE)

    def taken_over():
        try:
            return fleet.certificates(other)["a.test"]["expires"]
        except Exception:  # It does not know yet that it is the writer.
            return None

    until("the other one has what there was", taken_over)
    for name in NAMES:
        expect("nothing is ordered anew", fleet.proofs(name) == 1, fleet.ca.front.tokens)
    fleet.weir("certificates", "renew", "a.test", control=other)
    fleet.until_changed("a.test", serial)
    expect("one more order", fleet.proofs("a.test") == 2, fleet.ca.front.tokens)
    expect("by the same account", fleet.ca.front.asked.count("/sign-me-up") >= 1)


STEPS = [
    the_challenge_reaches_another_edge_than_the_first,
    an_edge_serves_after_a_restart_without_control_and_ca,
    sessions_are_resumed_at_other_edges,
    a_rotation_replaces_keys_and_revokes,
    a_new_secret_takes_the_place_of_the_old_one,
    a_node_token_opens_nothing,
    a_ca_in_trouble_costs_edges_nothing,
    of_two_controls_exactly_one_orders,
]
