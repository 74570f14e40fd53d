"""A topology of real processes on ports of the system's choosing: an origin, control, nodes."""

import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

PATIENCE = 30
NODE_SECRET = "nnnnnnnnnnnnnnnn"
SECRET = "aaaaaaaaaaaaaaaa"
READER = "rrrrrrrrrrrrrrrr"


def expect(what, holds, seen=""):
    if not holds:
        raise SystemExit(f"failed: {what}: {seen}")


def until(what, holds, patience=PATIENCE):
    """Waits for a state, within bounds; returns what held."""
    end = time.monotonic() + patience
    while not (seen := holds()):
        expect(f"{what}, in time", time.monotonic() < end)
        time.sleep(0.05)
    return seen


class Program:
    """A process, and the addresses that it says it listens on."""

    def __init__(self, command, *words):
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.at = {}
        for line in self.process.stderr:
            found = re.search(r"(\w+).*?http://(127\.0\.0\.1:\d+)", line)
            if found:
                self.at.setdefault(found[1], found[2])
            if all(word in self.at for word in words):
                break
        else:
            raise SystemExit(f"did not start: {command}")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(how)
        self.process.wait(PATIENCE)

    def sleep(self):
        self.process.send_signal(signal.SIGSTOP)

    def wake(self):
        self.process.send_signal(signal.SIGCONT)


class Origin:
    """weir-origin-sim with its demo site, and routes that a test adds."""

    def __init__(self, program):
        command = [program, "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in self.process.stdout:
            if found := re.search(r"http://(127\.0\.0\.1:\d+)", line):
                self.at = found[1]
                break
        else:
            raise SystemExit("the origin did not start")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def route(self, path, reply):
        request = urllib.request.Request(
            f"http://{self.at}/__sim/route?path={path}", json.dumps(reply).encode(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=PATIENCE).read()

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


class Topology:
    """Control with tokens, and the nodes that follow it; all are ended with the block."""

    def __init__(self, weir, origin_sim):
        self.weir = weir
        self.folder = tempfile.TemporaryDirectory()
        self.origin = Origin(origin_sim)
        self.nodes = {}
        self.specs = {}
        token = '[[token]]\nname = "{}"\nsecret = "{}"\nscopes = {}\n'
        self.config = self.write(
            "control.toml",
            f'[control]\ndata = "{self.folder.name}/log"\n'
            + token.format("nodes", NODE_SECRET, '["node"]')
            + token.format("operator", SECRET, '["purge", "read", "admin"]')
            + token.format("reader", READER, '["read"]')
            + f'[[site]]\nid = "shop"\norigins = ["http://{self.origin.at}"]\n',
        )
        self.control = None
        self.at = "127.0.0.1:0"
        self.start_control()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in self.nodes.values():
            node.end(signal.SIGKILL)
        self.control.end(signal.SIGKILL)
        self.origin.end()
        self.folder.cleanup()

    def write(self, name, text):
        path = f"{self.folder.name}/{name}"
        with open(path, "w") as file:
            file.write(text)
        return path

    def start_control(self):
        command = [self.weir, "control", "--listen", self.at, "--config", self.config]
        self.control = Program(command, "control")
        self.at = self.control.at["control"]

    def add(self, name, tier="edge", region="eu", parents=(), disk=False):
        parents = [
            f'{{ url = "http://{self.nodes[of].at["listen"]}", region = "{of.split("-")[1]}" }}'
            for of in parents
        ]
        self.specs[name] = self.write(
            f"{name}.toml",
            f'[node]\nname = "{name}"\ntier = "{tier}"\nregion = "{region}"\nworkers = 1\n'
            f'listen = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\nstate = "{self.folder.name}/{name}"\n'
            f'[memory]\nsize = "64MiB"\n[control]\nurl = "http://{self.at}"\ntoken = "{NODE_SECRET}"\n'
            + (f"[parents]\nurls = [{', '.join(parents)}]\n" if parents else "")
            + (f'[disk]\npath = "{self.folder.name}/{name}-disk"\nsize = "64MiB"\n' if disk else "")
            + ('admit = "all"\n' if disk else "")
            + f'[[site]]\nid = "shop"\norigins = ["http://{self.origin.at}"]\n',
        )
        self.run(name)

    def run(self, name):
        """Starts a node that does not run; returns once control sees it."""
        command = [self.weir, "serve", "--config", self.specs[name]]
        self.nodes[name] = Program(command, "listen", "admin")
        until(f"{name} is connected", lambda: self.state(name) == "connected")

    def state(self, name):
        nodes = {node["name"]: node["state"] for node in self.call("/v1/nodes")["nodes"]}
        return nodes.get(name)

    def call(self, path, body=None):
        request = urllib.request.Request(
            f"http://{self.at}{path}", headers={"Authorization": f"Bearer {SECRET}"}
        )
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def explain(self, path):
        """What the command says of a URL of the site."""
        command = [self.weir, "explain", f"http://shop.example{path}", "--control", f"http://{self.at}"]
        variables = {"PATH": os.environ["PATH"], "WEIR_TOKEN": SECRET}
        ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE)
        return ran.stdout + ran.stderr

    def get(self, name, path, fields=None):
        """The Cache-Status of a GET at a node, as a client of the site sends it."""
        return get(self.nodes[name].at["listen"], path, fields)


def get(at, path, fields=None):
    request = urllib.request.Request(
        f"http://{at}{path}", headers={"Host": "shop.example", **(fields or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            response.read()
            fields = response.headers
    except urllib.error.HTTPError as error:
        fields = error.headers
    # The node that is asked stands last, after its parent.
    return fields.get_all("cache-status")[-1]


class Load:
    """Requests at nodes without end, each node in its own thread, until the block is left."""

    def __init__(self, topology, paths, names, rate):
        self.topology, self.paths, self.rate = topology, paths, rate
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self.ask, args=(name, n), daemon=True)
            for n, name in enumerate(names)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def ask(self, name, n):
        sent = 0
        connection = None
        while not self.over.wait(1 / self.rate(n)):
            path = self.paths(n, sent)
            sent += 1
            try:
                connection = connection or http.client.HTTPConnection(
                    self.topology.nodes[name].at["listen"], timeout=5
                )
                connection.request("GET", path, headers={"Host": "shop.example"})
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                # The node is away, as a test has it.
                connection = None
