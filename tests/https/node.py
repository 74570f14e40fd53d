"""A node that orders its certificates, and those who ask it."""

import http.server
import json
import os
import shutil
import socket
import ssl
import threading

from ca import Ca
from machine import HOST, PATIENCE, expect, listens, until
from ports import ports

NAMES = ["shop.test", "www.shop.test"]


class Origin:
    """Answers everything, storable, and counts."""

    def __init__(self):
        self.asked = []
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                origin.asked.append(self.path)
                body = f"the origin's {self.path}".encode()
                self.send_response(200)
                self.send_header("Cache-Control", "max-age=600")
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Node:
    """A node that is started as the guide says, but for ports and CA."""

    def __init__(self, machine, names=NAMES, acme="", site="", listen=None, **ca):
        self.machine, self.names, self.origin = machine, names, Origin()
        self.clear, self.secure, self.admin = ports(3)
        if listen:
            self.clear, self.secure = listen
        self.ca = Ca(machine, self.clear, self.secure, **ca)
        self.state = machine.folder / "state"
        self.config = machine.write(
            "weir.toml",
            f"""
[node]
listen = "{HOST}:{self.clear}"
admin = "{HOST}:{self.admin}"
state = "{self.state}"
workers = 2
[tls]
listen = "{HOST}:{self.secure}"
[tls.acme]
directory = "{self.ca.directory}"
ca = "{self.ca.https_root}"
retry = "1s"
{acme}
[[site]]
origins = ["http://{HOST}:1"]
{site}
""",
        )

    def start(self, **kind):
        domains = [word for name in self.names for word in ("--domain", name)]
        command = [self.machine.weir, "serve", "--config", self.config, "--origin",
                   self.origin.url, *domains, "--email", "ops@shop.test"]  # fmt: skip
        self.process = self.machine.process("weir", command, lambda: listens(self.admin), **kind)
        return self

    def weir(self, *words):
        return self.machine.run(self.machine.weir, *words, "--control", f"http://{HOST}:{self.admin}")

    def certificates(self):
        listed = json.loads(self.weir("certificates", "--json"))["certificates"]
        return {each["name"]: each for each in listed}

    def until_issued(self, *names):
        def issued():
            listed = self.certificates()
            return all(listed[name]["expires"] for name in names or self.names) and listed

        return until("certificates are issued", issued)

    def connect(self, name, alpn=("http/1.1",)):
        """A TLS connection by one that trusts the CA alone."""
        context = ssl.create_default_context(cafile=self.ca.root)
        context.set_alpn_protocols(list(alpn))
        line = socket.create_connection((HOST, self.secure), timeout=PATIENCE)
        return context.wrap_socket(line, server_hostname=name)

    def serial(self, name):
        with self.connect(name) as line:
            return line.getpeercert()["serialNumber"]

    def curl(self, url, *words):
        places = [
            word
            for name in [*self.names, "other.test"]
            for port in (self.clear, self.secure)
            for word in ("--resolve", f"{name}:{port}:{HOST}")
        ]
        command = ["curl", "-sS", "--max-time", PATIENCE, "--cacert", self.ca.root, *places, *words]
        return self.machine.run(*command, url)

    def asked_clear(self, name, path="/", *words):
        return self.curl(f"http://{name}:{self.clear}{path}", "-i", *words)

    def asked_secure(self, name, path="/", *words):
        return self.curl(f"https://{name}:{self.secure}{path}", "-i", *words)


def exchange(line, name, path="/"):
    """A request on an open connection; the status."""
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    read = b""
    while b"\r\n\r\n" not in read:
        part = line.recv(65536)
        expect("the connection is open", part, read)
        read += part
    head, _, body = read.partition(b"\r\n\r\n")
    length = next(
        int(field.split(b":")[1])
        for field in head.split(b"\r\n")
        if field.lower().startswith(b"content-length")
    )
    while len(body) < length:
        part = line.recv(65536)
        expect("the body is whole", part, read)
        body += part
    return int(head.split()[1])


def alert(node, name):
    try:
        with node.connect(name):
            return None
    except ssl.SSLError as error:
        return error.reason


def browser(node):
    """Chromium with the CA's root among those that it trusts."""
    chromium, certutil = shutil.which("chromium"), shutil.which("certutil")
    if not chromium or not certutil:
        print("   chromium or certutil is not here: no browser")
        return
    database = node.machine.folder / ".pki/nssdb"
    database.mkdir(parents=True)
    store = f"sql:{database}"
    node.machine.run(certutil, "-N", "-d", store, "--empty-password")
    node.machine.run(certutil, "-A", "-d", store, "-n", "ca", "-t", "C,,", "-i", node.ca.root)
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
               f"--user-data-dir={node.machine.folder}/profile",
               f"--host-resolver-rules=MAP *.test {HOST}", "--dump-dom",
               f"http://shop.test:{node.clear}/in-a-browser"]  # fmt: skip
    home = {**os.environ, "HOME": str(node.machine.folder)}
    shown = node.machine.run(*command, env=home)
    expect("a browser trusts it", "the origin's /in-a-browser" in shown, shown)


def renewed_under_load(node):
    """Has a certificate renewed while clients ask on connections of theirs: none ends."""
    before = node.serial("shop.test")
    ended, counts, failures = threading.Event(), [], []

    def client():
        done = 0
        try:
            with node.connect("shop.test") as line:
                while not ended.is_set() or done < 10:
                    status = exchange(line, "shop.test", f"/{done % 7}")
                    expect("it is answered", status == 200, status)
                    done += 1
        except Exception as error:  # Whatever it is, it is a failure.
            failures.append(repr(error))
        counts.append(done)

    clients = [threading.Thread(target=client) for _ in range(8)]
    for each in clients:
        each.start()
    told = node.weir("certificates", "renew", "shop.test")
    expect("it is ordered", "shop.test is ordered" in told, told)
    until("there is a new certificate", lambda: node.serial("shop.test") != before)
    ended.set()
    for each in clients:
        each.join()
    expect("no connection is dropped", not failures, failures)
    expect("all went on", len(counts) == 8 and min(counts) >= 10, counts)
