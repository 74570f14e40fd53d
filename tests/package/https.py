"""HTTPS by one command of the installed package, in a container whose network this is run in.

https.py CONTAINER SCRATCH
"""

import pathlib
import subprocess
import sys

tests = pathlib.Path(__file__).parent.parent
sys.path[:0] = [str(tests), str(tests / "real"), str(tests / "https")]

from machine import Machine, expect, program, until  # noqa: E402
from node import NAMES, Node, browser, renewed_under_load  # noqa: E402


class Installed(Node):
    """The package's program, on the ports of browsers. The CA is outside, and so are the clients."""

    def __init__(self, machine, container):
        self.container = container
        super().__init__(machine, listen=(80, 443))
        self.admin = 9090

    def inside(self, *words):
        return self.machine.run("docker", "exec", self.container, *words)

    def start(self):
        root = "/etc/weir/ca.pem"
        self.machine.run("docker", "cp", self.ca.https_root, f"{self.container}:{root}")
        # The one command, and which CA it is to ask: the default is on the Internet.
        ca = {"DIRECTORY": self.ca.directory, "CA": root, "RETRY": "1s"}
        settings = [f"--setenv=WEIR_TLS__ACME__{key}={value}" for key, value in ca.items()]
        domains = [word for name in self.names for word in ("--domain", name)]
        self.inside("systemd-run", "--quiet", "--unit=shop", *settings, "weir", "serve", "--origin",
                    self.origin.url, *domains, "--email", "ops@shop.test")  # fmt: skip

        def ready():
            words = ["docker", "exec", self.container, "weir", "healthcheck"]
            return subprocess.run(words, capture_output=True).returncode == 0

        until("the node is ready", ready)

    def weir(self, *words):
        return self.inside("weir", *words)


def main():
    container, scratch = sys.argv[1:]
    with Machine("weir", scratch, "https") as machine:
        node = Installed(machine, container)
        node.start()
        node.until_issued()
        for name in NAMES:
            page = node.asked_secure(name, "/a", "--http2")
            expect("HTTP/2, trusted", page.startswith("HTTP/2 200"), page)
            moved = node.asked_clear(name, "/a")
            location = f"location: https://{name}/a\n"
            expect("http is redirected", moved.startswith("HTTP/1.1 308 "), moved)
            expect("to the same URL", location in moved.replace("\r", ""), moved)
        for needed in ("chromium", "certutil"):
            program(needed)
        browser(node)
        renewed_under_load(node)
        kept = node.inside("find", "/var/lib/weir/acme", "-name", "shop.test.pem")
        expect("its state is kept", kept.strip())


main()
