"""What applications read of requests that came over HTTP/2.

applications.py PROGRAM FOLDER

Each application server is a process of its own, asked through one node and through an edge and a
parent. The client sends each cookie in a field of its own, as browsers do (RFC 9113, 8.2.3); the
application has to read them as what they are: several cookies.
"""

import contextlib
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

import httpx
import rpc
import trustme

PATIENCE = 20
HOST = "127.0.0.1"
TOKEN = "0123456789abcdef0123"
COOKIES = {"session": "abc", "lang": "de"}
SERVERS = {
    "gunicorn": ["-m", "gunicorn", "--workers", "1", "--bind", f"{HOST}:0", "app:app"],
    "waitress": ["-m", "waitress", "--listen", f"{HOST}:0", "app:app"],
}


@contextlib.contextmanager
def running(command, *wanted):
    """A process that says by itself what `wanted` finds in its lines; ended with the block."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines, found = [], {}
    read = threading.Event()

    def follow():
        for line in process.stdout:
            lines.append(line)
            for pattern in wanted:
                if pattern not in found and (match := re.search(pattern, line)):
                    found[pattern] = match[1]
            if len(found) == len(wanted):
                read.set()

    threading.Thread(target=follow, daemon=True).start()
    try:
        expect(f"{command} starts", read.wait(PATIENCE), "".join(lines))
        yield [found[pattern] for pattern in wanted]
    finally:
        process.terminate()
        process.wait(PATIENCE)


class Weir:
    """Starts the program with configurations that it writes to a folder."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = folder
        self.authority = trustme.CA()
        certificate = self.authority.issue_cert(HOST)
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / "node.pem")

    def trust(self):
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def config(self, name, text):
        path = self.folder / f"{name}.toml"
        path.write_text(text)
        return ["--config", str(path)]

    def node(self, name, origin, more=""):
        """`weir serve` before an origin, as the configuration has it; where it listens in the clear,
        and for TLS."""
        pem = self.folder / "node.pem"
        config = f"""
            [node]
            name = "{name}"
            workers = 1
            listen = "{HOST}:0"
            admin = "{HOST}:0"
            {more}
            [tls]
            listen = "{HOST}:0"
            [[tls.certificates]]
            chain = "{pem}"
            key = "{pem}"
            [[site]]
            id = "site"
            origins = [{origin}]
        """
        command = [self.program, "serve", *self.config(name, config)]
        # An edge that has not joined yet does not ask its parents.
        joined = r"(joined control)"
        return running(command, r"^listen +(http://\S+)", r"^listen +(https://\S+)", joined)

    def control(self):
        config = f"""
            [control]
            data = "{self.folder}/data-{time.monotonic_ns()}"
            [[token]]
            name = "nodes"
            secret = "{TOKEN}"
            scopes = ["node"]
        """
        arguments = ["control", "--listen", f"{HOST}:0", *self.config("control", config)]
        return running([self.program, *arguments], r"^control +(http://\S+)")


def expect(what, holds, seen):
    if not holds:
        raise SystemExit(f"failed: {what}: {seen}")


def are_read(what, node, trust, tiers):
    """The application behind `node` reads both cookies, whatever the request is."""
    crumbs = [("cookie", f"{name}={value}") for name, value in COOKIES.items()]
    with httpx.Client(http1=False, http2=True, verify=trust, timeout=PATIENCE) as client:
        for method, path in [("GET", "/stored"), ("GET", "/page"), ("POST", "/login")]:
            body = b"user=me" if method == "POST" else None
            answer = client.request(method, node + path, headers=crumbs, content=body)
            seen = (answer.http_version, answer.status_code, answer.headers, answer.text)
            expect(f"{what}: HTTP/2", answer.http_version == "HTTP/2", seen)
            expect(f"{what}: {method} {path}", answer.status_code == 200, seen)
            expect(f"{what}: cookies of {method} {path}", answer.json() == COOKIES, seen)
            told = answer.headers["via"]
            expect(f"{what}: tiers", [via.split()[1] for via in told.split(",")] == tiers, seen)
    print(f"  ok  {what}")


@contextlib.contextmanager
def edge_and_parent(weir, origin):
    """An edge before a parent; where the edge listens for TLS."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        [control] = enter(weir.control())
        follows = f'tier = "%s"\n[control]\nurl = "{control}"\ntoken = "{TOKEN}"\n%s'
        [parent, _, _] = enter(weir.node("parent", origin, follows % ("parent", "")))
        asks = f'[parents]\nurls = ["{parent}"]\nscope = "global"'
        [_, edge, _] = enter(weir.node("edge", origin, follows % ("edge", asks)))
        yield edge


def main(program, folder):
    weir = Weir(program, pathlib.Path(folder))
    for server, arguments in SERVERS.items():
        with running([sys.executable, *arguments], r"(http://[\d.:]+)") as [url]:
            origin = f'"{url}"'
            with weir.node("node", origin) as [_, node, _]:
                are_read(f"{server} behind a node", node, weir.trust(), ["node"])
            with edge_and_parent(weir, origin) as edge:
                tiers = ["parent", "edge"]
                are_read(f"{server} behind edge and parent", edge, weir.trust(), tiers)
    roots = weir.folder / "roots.pem"
    weir.authority.cert_pem.write_to_path(roots)
    with running([sys.executable, "rpc.py"], r"(http://[\d.:]+)") as [url]:
        origin = f'{{ url = "{url}", protocol = "h2" }}'
        with weir.node("node", origin) as [_, node, _]:
            calls("gRPC behind a node", node, roots)
        with edge_and_parent(weir, origin) as edge:
            calls("gRPC behind edge and parent", edge, roots)


def calls(what, node, roots):
    rpc.work_as_direct(expect, what, node.removeprefix("https://"), roots.read_bytes())
    print(f"  ok  {what}")


main(*sys.argv[1:])
