"""Pebble behind a front that can be down, slow or at its limits, and that suggests when to renew."""

import base64
import http.client
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request

from machine import HOST, listens
from ports import ports


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def untrusting():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Ca:
    """A CA that looks at `http` and `tls` whether a name leads there."""

    def __init__(self, machine, http, tls, refused=(), eab=None):
        self.machine = machine
        front, pebble, management, dns, answers = ports(5)
        self.pebble, self.management, self.answers = pebble, management, answers
        folder = machine.folder
        self.https_root = folder / "front.pem"
        key = folder / "front.key"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", key, "-out", self.https_root, "-days", "2",
        )  # fmt: skip
        config = {
            "listenAddress": f"{HOST}:{pebble}",
            "managementListenAddress": f"{HOST}:{management}",
            "certificate": str(self.https_root),
            "privateKey": str(key),
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": eab is not None,
            "externalAccountMACKeys": eab or {},
            "domainBlocklist": list(refused),
        }
        path = machine.write("pebble.json", json.dumps({"pebble": config}))
        machine.process(
            "names",
            ["pebble-challtestsrv", "-dns01", f"{HOST}:{dns}", "-http01", "", "-https01", "",
             "-tlsalpn01", "", "-management", f"{HOST}:{answers}", "-defaultIPv4", HOST,
             "-defaultIPv6", ""],
            lambda: listens(answers),
        )  # fmt: skip
        quick = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"}
        machine.process(
            "pebble",
            ["pebble", "-config", path, "-dnsserver", f"{HOST}:{dns}"],
            lambda: listens(management),
            env=quick,
        )
        self.root = machine.write("root.pem", self.managed("/roots/0"))
        self.front = Front(front, pebble, self.https_root, key)
        self.directory = f"https://localhost:{front}/dir"

    def managed(self, path):
        url = f"https://{HOST}:{self.management}{path}"
        with urllib.request.urlopen(url, context=untrusting(), timeout=20) as answer:
            return answer.read().decode()

    def told(self, call, **body):
        """Has the names answered otherwise."""
        body = json.dumps(body).encode()
        urllib.request.urlopen(f"http://{HOST}:{self.answers}/{call}", body, timeout=20)

    def leads_to(self, name, address):
        """Lookups of this name give this address alone from now on."""
        self.told("clear-a", host=name)
        self.told("add-a", host=name, addresses=[address])

    def status(self, serial):
        """What the CA says of a certificate: Valid or Revoked."""
        return json.loads(self.managed(f"/cert-status-by-serial/{serial.lower()}"))["Status"]

    def leads_nowhere(self, name):
        """Lookups of this name fail from now on."""
        self.told("set-servfail", host=name)

    def leads_here(self, name):
        self.told("clear-servfail", host=name)


class Front:
    """Passes requests on to pebble, or does not."""

    def __init__(self, port, pebble, certificate, key):
        self.pebble, self.port = pebble, port
        # Orders are answered with 429 and this Retry-After.
        self.limited = None
        # All answers are 503.
        self.down = False
        # Certificates are not revoked.
        self.refuses_revocation = False
        # Seconds before each answer.
        self.slow = 0
        # A window for all certificates: begin and end, seconds since the Unix epoch.
        self.window = None
        # Is called with the path and the body of each request before it is passed on.
        self.sees = lambda path, payload: None
        # Paths that were asked for.
        self.asked = []
        self.tokens = {}
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_request(self):
                front.handle(self)

            do_GET = do_HEAD = do_POST = handle_request

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server((HOST, port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        path = request.path
        self.asked.append(path)
        time.sleep(self.slow)
        if self.down or self.refuses_revocation and path == "/revoke-cert":
            return self.answer(request, 503, {}, b"maintenance")
        payload = {}
        if body:
            encoded = json.loads(body)["payload"]
            payload = json.loads(base64.urlsafe_b64decode(encoded + "==") or b"{}")
        self.sees(path, payload)
        if self.limited is not None and path == "/order-plz":
            problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}
            fields = {"Retry-After": str(self.limited)}
            return self.answer(request, 429, fields, json.dumps(problem).encode())
        if self.window and path.startswith("/renewal/"):
            stamps = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in self.window]
            window = {"suggestedWindow": dict(zip(("start", "end"), stamps))}
            return self.answer(request, 200, {"Retry-After": "60"}, json.dumps(window).encode())
        line = http.client.HTTPSConnection(HOST, self.pebble, context=untrusting(), timeout=60)
        # Pebble names its resources after the host that it is asked for.
        fields = {"Host": f"localhost:{self.port}"}
        if "Content-Type" in request.headers:
            fields["Content-Type"] = request.headers["Content-Type"]
        line.request(request.command, path, body or None, fields)
        answer = line.getresponse()
        text = answer.read()
        if path == "/dir" and self.window:
            known = json.loads(text)
            known["renewalInfo"] = f"https://localhost:{self.port}/renewal"
            text = json.dumps(known).encode()
        if "replaces" in payload and answer.status == 201:
            text = json.dumps({**json.loads(text), "replaces": payload["replaces"]}).encode()
        if path.startswith("/authZ/") and text:
            known = json.loads(text)
            for challenge in known.get("challenges", []):
                named = (known["identifier"]["value"], challenge["type"], challenge["token"])
                self.tokens[challenge["url"]] = named
        kept = {"Location", "Replay-Nonce", "Content-Type", "Link", "Retry-After"}
        fields = {name: value for name, value in answer.getheaders() if name.title() in kept}
        self.answer(request, answer.status, fields, text)

    def answer(self, request, status, fields, body):
        request.send_response(status)
        for name, value in fields.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)
