"""nginx and weir beside each other: both get the same requests, and have to give the same answers."""

import contextlib
import gzip
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse

from .origin import Dead, Door, Kept, Reply

PATIENCE = 60
HOST = "shop.example"
DOORS = ["app", "api", "bucket", "tls", "socket"]
#: What each says of itself, and of the connection.
OWN_FIELDS = {
    "accept-ranges", "age", "cache-status", "connection", "content-length", "date", "keep-alive", "server",
    "transfer-encoding", "via",
}  # fmt: skip


class Failed(Exception):
    """An expectation that does not hold."""


def expect(what, holds, *seen):
    if not holds:
        raise Failed("\n".join([what, *map(str, seen)]))


def until(what, holds):
    """Waits for a state, within a bound; returns what held."""
    end = time.monotonic() + PATIENCE
    while not (seen := holds()):
        expect(f"{what}, within {PATIENCE} s", time.monotonic() < end)
        time.sleep(0.02)
    return seen


class Answer:
    def __init__(self, url, response):
        self.status = response.status
        self.headers = response.headers
        self.coding = response.headers.get("Content-Encoding")
        body = response.read()
        self.text = (gzip.decompress(body) if self.coding == "gzip" else body).decode()
        #: Made by the origin, now or before, rather than by whoever stands in front of it.
        self.is_origins = response.headers.get("X-From") == "origin"
        location = response.headers.get("Location")
        #: Where a redirect leads; whether it is written as a path makes no difference.
        self.leads = location and urllib.parse.urljoin(url, location)

    def fields(self, besides):
        names = {name.lower() for name in self.headers}
        kept = names - OWN_FIELDS - {"location"} - {name.lower() for name in besides}
        return {name: self.headers.get_all(name) for name in kept}

    def __str__(self):
        return f"{self.status}\n{self.headers}{self.text[:500]}"


class Side:
    """One of both, and the origin as it sees it."""

    def __init__(self, name, folder, files, replies):
        self.name, self.folder, self.files = name, os.path.join(folder, name), files
        os.makedirs(self.folder, exist_ok=True)
        self.log = os.path.join(self.folder, "log")
        self.asked = Kept()
        self.doors = {door: Door(door, self.asked, replies, self.folder, files) for door in DOORS}
        self.dead = Dead()
        self.process = None

    def adapted(self, text):
        """A configuration of the document with what is here in place of what is there."""
        for there, here in {
            "10.0.0.5:3000": self.doors["app"].at,
            "10.0.0.6:3000": self.dead.at,
            "10.0.0.7:8080": self.doors["api"].at,
            "10.0.0.9:9000": self.doors["bucket"].at,
            "10.0.0.5:8443": self.doors["tls"].at,
            "/run/app.sock": self.doors["socket"].at,
            # Clients are at 127.0.0.1, unless they say otherwise.
            "10.0.0.0/24": "127.0.0.1/32",
            "192.0.2.0/24": "127.0.0.8/29",
            "/var/www/errors": self.files,
            "/var/cache/nginx": f"{self.folder}/cache",
            "/etc/nginx/": f"{self.files}/",
            "/etc/weir/": f"{self.files}/",
            "0.0.0.0:443": "127.0.0.1:0",
        }.items():
            text = text.replace(there, here)
        return text

    def start(self, command, **kind):
        with open(self.log, "ab") as log:
            # Workers are of its group.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **kind
            )

    def close(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for door in [*self.doors.values(), self.dead]:
            door.close()

    def connected(self, source, before, port=None):
        """A connection from this address, on which this is sent first."""
        made = socket.create_connection(("127.0.0.1", port or self.port), PATIENCE, (source, 0))
        made.sendall(before)
        return made

    def asks(self, target, method="GET", headers=(), body=None, host=HOST, source="127.0.0.1", before=b""):
        """The answer to a request. A `body` that is a number is only announced, with this length."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, PATIENCE)
        connection.sock = self.connected(source, before)
        return self.answer(connection, f"http://{host}{target}", method, headers, body)

    def asks_by_tls(self, target):
        connection = http.client.HTTPConnection(HOST, 443, PATIENCE)
        context = ssl.create_default_context(cafile=f"{self.files}/authority.pem")
        connection.sock = context.wrap_socket(
            self.connected("127.0.0.1", b"", self.tls_port), server_hostname=HOST
        )
        return self.answer(connection, f"https://{HOST}{target}", "GET", (), None)

    def answer(self, connection, url, method, headers, body):
        with contextlib.closing(connection):
            to = urllib.parse.urlsplit(url)
            connection.putrequest(method, url[len(f"{to.scheme}://{to.netloc}") :], True, True)
            connection.putheader("Host", to.netloc)
            for name, value in dict(headers).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", body if isinstance(body, int) else len(body))
            connection.endheaders(body.encode() if isinstance(body, str) else None)
            return Answer(url, connection.getresponse())

    def reaches(self, target, **request):
        """The answer, and what the origin was asked meanwhile."""
        before = len(self.asked)
        answer = self.asks(target, **request)
        return answer, self.asked[before:]

    def count(self, path):
        return sum(asked.path == path for asked in list(self.asked))


class Nginx(Side):
    def run(self, text):
        # nginx cannot choose a port; it takes a socket that listens already, as it does when it replaces itself.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(128)
            self.port = listener.getsockname()[1]
            server, count = re.subn(r"listen( +)80\b", rf"listen\g<1>127.0.0.1:{self.port}", text)
            expect("a server of nginx listens", count >= 1, text)
            kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
            user = "user root;" if os.geteuid() == 0 else ""
            path = os.path.join(self.folder, "nginx.conf")
            with open(path, "w") as file:
                file.write(
                    f"daemon off; {user} pid {self.folder}/pid; worker_processes 1;\nevents {{}}\n"
                    f"http {{ access_log off; port_in_redirect off; {temporary}\n{self.adapted(server)}\n}}\n"
                )
            command = [shutil.which("nginx"), "-c", path, "-e", "stderr"]
            descriptor = listener.fileno()
            environment = {**os.environ, "NGINX": f"{descriptor};"}
            self.start(command, pass_fds=[descriptor], env=environment)
        expect(f"nginx starts\n{server}", self.process.poll() is None)


class Weir(Side):
    def __init__(self, program, *rest):
        super().__init__("weir", *rest)
        self.program = program

    def run(self, text):
        self.config = os.path.join(self.folder, "weir.toml")
        with open(self.config, "w") as file:
            file.write(self.adapted(text))
        places = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        self.start([self.program, "serve", "--config", self.config, *places])
        self.port = until("weir listens", lambda: self.listens("http"))
        self.tls_port = self.listens("https")

    def listens(self, scheme):
        """The port in its log, which it writes once it listens."""
        expect("weir runs", self.process.poll() is None)
        with open(self.log, errors="replace") as log:
            text = log.read()
        # The admin address is told below the others.
        found = "admin" in text and re.search(rf"listen +{scheme}://127\.0\.0\.1:(\d+)", text)
        return int(found[1]) if found else None

    def command(self, *arguments):
        ran = subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=PATIENCE)
        expect(f"weir {' '.join(arguments)}", ran.returncode == 0, ran.stdout, ran.stderr)
        return ran.stdout


class Pair:
    """nginx and weir with a snippet each; weir alone if there is none of nginx."""

    def __init__(self, program, folder, files, nginx, weir):
        self.replies = lambda asked, number: Reply(f"{asked.path} from {asked.door}")
        kept = (folder, files, lambda asked, number: self.replies(asked, number))
        self.weir = Weir(program, *kept)
        self.nginx = Nginx("nginx", *kept) if nginx else None
        self.sides = [side for side in (self.nginx, self.weir) if side]
        self.texts = [text for text in (nginx, weir) if text]

    def __enter__(self):
        try:
            for side, text in zip(self.sides, self.texts):
                side.run(text)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, failed, *_):
        for side in self.sides:
            side.close()
            if failed:
                print(f"--- {side.name} says", open(side.log, errors="replace").read()[-3000:], sep="\n")

    def same(
        self, target, status=200, *, leads=None, text=None, shows=None, asked=None, told=(), besides=(), **request
    ):
        """Both give this answer, and ask the origin for the same.

        `shows` are fields of the answer and `asked` request lines that the origin gets; `told` are request fields that
        are compared too, and `besides` fields of the answer or the request that are not.
        """
        seen = []
        for side in self.sides:
            answer, meanwhile = side.reaches(target, **request)
            at = f"{side.name}, {request.get('method', 'GET')} {target} {request.get('headers', '')}"
            expect(f"{at}: {status}", answer.status == status, answer)
            expect(f"{at}: leads to {leads}", answer.leads == leads, answer)
            expect(f"{at}: {text}", text in (None, answer.text), answer)
            for name, value in (shows or {}).items():
                expect(f"{at}: {name}: {value}", answer.headers.get(name) == value, answer)
            lines = [each.line for each in meanwhile]
            expect(f"{at}: the origin is asked for {asked}", asked in (None, lines), lines)
            seen.append((side.name, answer, meanwhile))
        self.compare(target, [each[:2] for each in seen], besides)
        fields = {"Cookie", "Authorization", *told} - set(besides)
        asked = [
            [
                (each.door, each.line, each.host, each.body, each.tls)
                + tuple(each.headers.get(name) for name in sorted(fields))
                for each in meanwhile
            ]
            for _, _, meanwhile in seen
        ]
        expect(f"{target}: both ask the origin for the same", asked[1:] in ([], asked[:1]), *asked)
        return seen[-1][1]

    def compare(self, target, answers, besides=()):
        """Answers of the origin's are the same but for what each side says of itself; of others, what they mean."""
        if len(answers) < 2:
            return
        (_, one), (_, other) = answers
        both = f"nginx: {one}\nweir: {other}"
        expect(f"{target}: the same status", one.status == other.status, both)
        expect(f"{target}: of the same origin", one.is_origins == other.is_origins, both)
        expect(f"{target}: the same target", one.leads == other.leads, both)
        if one.is_origins:
            expect(f"{target}: the same body", one.text == other.text, both)
            fields = [one.fields(besides), other.fields(besides)]
            expect(f"{target}: the same fields", fields[0] == fields[1], both)

    def shares(self, target, **request):
        """Both store the answer: sooner or later it comes without a question to the origin."""
        given = []
        for side in self.sides:
            besides = request.get("besides", ())
            kept = {name: value for name, value in request.items() if name != "besides"}

            def hit():
                answer, meanwhile = side.reaches(target, **kept)
                return None if meanwhile else answer

            given.append((side.name, until(f"{side.name} has stored {target}", hit)))
        self.compare(target, given, besides)
        return given[-1][1]

    def passes(self, target, **request):
        """Both ask the origin each time."""
        for _ in range(2):
            path = [f"{request.get('method', 'GET')} {target}"]
            self.same(target, **{"asked": path, **request})
