"""Processes of one run, their ports and files, and requests to them."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time

from ports import ports

PATIENCE = 30


def port(address="127.0.0.1"):
    """A port that nothing has now."""
    return ports(1, address)[0]


def until(what, look):
    """What `look` returns once that is true."""
    end = time.monotonic() + PATIENCE
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE} s for {what}")
        time.sleep(0.05)


def listens(at, on="127.0.0.1"):
    try:
        socket.create_connection((on, at), 1).close()
        return True
    except OSError:
        return False


class Answer:
    """What came of a request."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read().decode("utf-8", "replace")

    def __repr__(self):
        return f"{self.status} {self.body[:200]!r}"

    def handled(self):
        return self.headers.get("Cache-Status", "")


def ask(at, path, method="GET", headers=None, body=None, source="127.0.0.1"):
    connection = http.client.HTTPConnection("127.0.0.1", at, PATIENCE, (source, 0))
    try:
        connection.request(method, path, body, {"Host": "shop.example", **(headers or {})})
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Machine:
    """Whatever it started ends with it."""

    def __init__(self, program, scratch):
        self.program, self.scratch = program, scratch
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, failed, *_):
        for one in self.running:
            one.kill()
            one.wait()
        if failed:
            for name in sorted(os.listdir(self.scratch)):
                if name.endswith(".log"):
                    with open(self.path(name), errors="replace") as log:
                        sys.stderr.write(f"--- {name}\n{log.read()[-4000:]}\n")

    def path(self, name):
        return os.path.join(self.scratch, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def start(self, name, *command, **variables):
        log = open(self.path(f"{name}.log"), "a")
        environment = {**os.environ, **variables}
        started = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.running.append(started)
        return started

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def nginx(self, name, servers):
        """An nginx with these `server` blocks; workers are of this user."""
        home = self.path(name)
        os.makedirs(home, exist_ok=True)
        kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        temporary = "".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""
        text = (
            f"daemon off; {user} pid {home}/pid; error_log {home}.log; worker_processes 1;\n"
            f"events {{}}\nhttp {{ access_log off; {temporary}\n{servers}\n}}\n"
        )
        config = self.write(f"{name}.conf", text)
        program = shutil.which("nginx")
        subprocess.run([program, "-q", "-t", "-c", config, "-e", f"{home}.log"], check=True)
        started = self.start(name, program, "-c", config, "-e", f"{home}.log")
        until("nginx", lambda: os.path.exists(f"{home}/pid") and os.path.getsize(f"{home}/pid"))
        return started

    def haproxy(self, name, text):
        head = "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
        return self.start(name, "haproxy", "-db", "-f", self.write(f"{name}.cfg", head + text))

    def weir(self, name, config, **variables):
        """A node; its ports for clients and for control."""
        listen, admin = port(), port()
        head = (
            f'[node]\nname = "{name}"\nworkers = 2\nlisten = "127.0.0.1:{listen}"\n'
            f'admin = "127.0.0.1:{admin}"\n'
        )
        path = self.write(f"{name}.toml", head + config)
        self.start(name, self.program, "serve", "--config", path, **variables)
        until(name, lambda: listens(admin) and ask(admin, "/readyz").status == 200)
        return listen, admin


def metric(admin, line):
    """The value of the metric whose line begins so."""
    for told in ask(admin, "/metrics", headers={"Host": "127.0.0.1"}).body.splitlines():
        if told.startswith(line):
            return float(told.rsplit(" ", 1)[1])
    return None
