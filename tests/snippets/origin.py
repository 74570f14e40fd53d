"""The origin behind both: it keeps what it is asked, and answers as a scenario says."""

import http.server
import os
import socket
import socketserver
import ssl
import threading

#: What is not shown by the origin's own name in what it was asked.
OWN = "its own"


class Reply:
    def __init__(self, text="", status=200, **headers):
        self.text, self.status = text, status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Asked:
    """A request as it came to a door of the origin."""

    def __init__(self, door, request, body):
        self.door, self.body = door.name, body
        self.line = f"{request.command} {request.path}"
        self.path = request.path
        self.headers = request.headers
        own = f"127.0.0.1:{door.port}"
        self.host = OWN if request.headers.get("Host") == own else request.headers.get("Host")
        self.tls = None
        if isinstance(request.connection, ssl.SSLSocket):
            subject = dict(pair for (pair,) in request.connection.getpeercert()["subject"])
            self.tls = f"{subject['commonName']} asks for {request.connection.asked_for}"

    def __repr__(self):
        return f"{self.door}: {self.line} of {self.host}, {self.body!r}, {self.tls}\n{self.headers}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        door = self.server.door
        asked = Asked(door, self, body)
        number = door.keep(asked)
        reply = door.replies(asked, number)
        sent = reply.text.encode()
        self.send_response(reply.status)
        self.send_header("X-From", "origin")
        if "Content-Type" not in reply.headers:
            self.send_header("Content-Type", "text/plain")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def version_string(self):
        return "origin"

    def log_message(self, *_):
        pass


class Tcp(socketserver.ThreadingTCPServer):
    daemon_threads, request_queue_size = True, 128

    def handle_error(self, *_):
        """A connection that the other side gave up."""


class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 128

    def handle_error(self, *_):
        """A connection that the other side gave up."""


class Door:
    """Where one of both reaches the origin."""

    def __init__(self, name, kept, replies, folder, files):
        self.name, self.kept, self.replies = name, kept, replies
        if name == "socket":
            self.port, self.at = None, os.path.join(folder, "origin.sock")
            self.server = Unix(self.at, Handler)
            # Workers of nginx may be of another user.
            os.chmod(self.at, 0o777)
        else:
            self.server = Tcp(("127.0.0.1", 0), Handler)
            self.port = self.server.server_address[1]
            self.at = f"127.0.0.1:{self.port}"
        if name == "tls":
            self.server.socket = tls(files).wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.server.door = self
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def keep(self, asked):
        """How many requests for this path there were with it."""
        with self.kept.lock:
            self.kept.append(asked)
            return sum(each.path == asked.path for each in self.kept)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Kept(list):
    """All that one of both has asked."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def tls(files):
    """Whoever has no certificate of the authority is not let in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{files}/server.pem", f"{files}/server.key")
    context.load_verify_locations(f"{files}/authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    def asked_for(connection, name, _):
        connection.asked_for = name

    context.sni_callback = asked_for
    return context


class Dead:
    """An address at which nothing answers, as long as it is held."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.at = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def close(self):
        self.socket.close()
