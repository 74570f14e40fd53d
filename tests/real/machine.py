"""Real software as processes of its own: each in a folder of the scratch, on ports of the system's
choosing, ended with the script that started it."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

PATIENCE = 120
HOST = "127.0.0.1"
# What daemons of root's become, with Debian's packages.
WEB_USER = "www-data"


class Failed(Exception):
    """An expectation that does not hold."""


def expect(what, holds, seen=""):
    if not holds:
        raise Failed(f"{what}: {seen}")


def until(what, holds):
    """Waits for a state, within a bound; returns what held."""
    end = time.monotonic() + PATIENCE
    while not (seen := holds()):
        expect(f"{what}, in time", time.monotonic() < end)
        time.sleep(0.05)
    return seen


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def program(name):
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    expect(f"{name} is installed", found)
    return found


class Process:
    """A process that logs to a file of its own."""

    def __init__(self, machine, name, command, ready, **kind):
        self.machine, self.command, self.kind = machine, [str(word) for word in command], kind
        self.name, self.ready, self.log = name, ready, machine.folder / f"{name}.log"
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.kind
            )

        def started():
            ended = self.process.poll()
            expect(f"{self.name} runs", ended is None, f"exit status {ended}")
            return self.ready()

        until(f"{self.name} is ready", started)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(PATIENCE)


class Machine:
    """All that one script runs."""

    def __init__(self, weir, scratch, name, requests=0):
        self.weir = weir
        #: How many requests a crowd sends, where one comes.
        self.requests = requests
        self.folder = pathlib.Path(scratch) / name
        self.folder.mkdir()
        # Workers have no rights of their own.
        self.folder.chmod(0o755)
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for process in reversed(self.running):
            if process.process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.stop()
                process.process.kill()
        if kind is not None:
            for log in sorted(self.folder.rglob("*.log")):
                tail = log.read_text(errors="replace").splitlines()[-25:]
                print(f"-- {log.relative_to(self.folder)}", *tail, sep="\n")

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *command, **kind):
        """Runs a command to its end; what it printed."""
        command = [str(word) for word in command]
        kind = {"cwd": self.folder, "timeout": 180, **kind}
        ran = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kind
        )
        expect(f"{command} succeeds", ran.returncode == 0, ran.stdout)
        return ran.stdout

    def process(self, name, command, ready, **kind):
        process = Process(self, name, command, ready, **kind)
        self.running.append(process)
        return process

    def nginx(self, port, site):
        """Debian's nginx with a file as in /etc/nginx/sites-enabled."""
        folder = self.folder / "nginx"
        folder.mkdir()
        for shared in ("mime.types", "fastcgi.conf", "fastcgi_params", "proxy_params", "snippets"):
            (folder / shared).symlink_to(f"/etc/nginx/{shared}")
        self.write("nginx/site", site)
        places = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # What is left of /etc/nginx/nginx.conf without its places.
        user = f"user {WEB_USER};" if os.getuid() == 0 else ""
        config = self.write("nginx/nginx.conf", f"""
            {user}
            daemon off;
            pid {folder}/pid;
            events {{ worker_connections 768; }}
            http {{
                sendfile on;
                tcp_nopush on;
                types_hash_max_size 2048;
                include mime.types;
                default_type application/octet-stream;
                access_log off;
                gzip on;
                {places}
                include site;
            }}
        """)
        command = [program("nginx"), "-c", config, "-e", "stderr"]
        return self.process("nginx", command, lambda: listens(port))

    def php(self, *lines):
        """Debian's php-fpm with its pool's defaults; the path of its socket."""
        path = self.folder / "php.sock"
        user = f"user = {WEB_USER}\ngroup = {WEB_USER}" if os.getuid() == 0 else ""
        config = self.write("php-fpm.conf", "\n".join([
            "[global]", "error_log = /dev/stderr", "[www]", user, f"listen = {path}",
            "listen.mode = 0666", "pm = dynamic", "pm.max_children = 5", "pm.start_servers = 2",
            "pm.min_spare_servers = 1", "pm.max_spare_servers = 3", "catch_workers_output = yes",
            *lines, "",
        ]))
        command = [program("php-fpm8.2"), "-F", "-y", config]

        def ready():
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(path)) == 0

        return path, self.process("php-fpm", command, ready)

    def weir_serves(self, config, port, admin, token=""):
        return Weir(self, config, port, admin, token)

    def certificate(self):
        """A certificate for this machine, and its key."""
        chain, key = self.folder / "tls.pem", self.folder / "tls.key"
        self.run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=weir", "-addext", f"subjectAltName=IP:{HOST}",
            "-keyout", key, "-out", chain,
        )
        return chain, key


class Control:
    """Where commands go."""

    def __init__(self, machine, admin, token=""):
        self.machine, self.admin, self.token = machine, admin, token

    def commands(self, lines):
        """Runs commands of a recipe, or one that a test needs."""
        folder = str(pathlib.Path(self.machine.weir).parent)
        named = {"WEIR_CONTROL": f"http://{HOST}:{self.admin}", "WEIR_TOKEN": self.token}
        path = f"{folder}:{os.environ['PATH']}"
        return self.machine.run("sh", "-ec", lines, env={**os.environ, **named, "PATH": path})

    def history(self):
        return json.loads(self.commands("weir purges --json"))["purges"]

    def purges(self):
        return [each["id"] for each in self.history()]

    def all_expires(self):
        """The end of every TTL, without waiting for it: a soft purge."""
        self.commands("weir purge --soft --all")


class Weir(Control):
    """`weir serve` with a recipe's configuration."""

    def __init__(self, machine, config, port, admin, token=""):
        super().__init__(machine, admin, token)
        self.port = port
        path = machine.write("weir.toml", config)
        machine.run(machine.weir, "check", path)
        command = [machine.weir, "serve", "--config", path]
        command += ["--listen", f"{HOST}:{port}", "--admin", f"{HOST}:{admin}"]
        log = machine.folder / "weir.log"
        self.process = machine.process(
            "weir", command, lambda: "joined control" in log.read_text(errors="replace")
        )


def after_revalidation(path, window):
    """Ends the seconds during which a stale page is sent without a question to the origin: what is
    stale after them, a test need not wait for."""
    text, name = path.read_text(), "stale-while-revalidate"
    expect(f"{path} names {name}", text.count(f"{name}={window}") == 1, text)
    path.write_text(text.replace(f"{name}={window}", f"{name}=0"))


def found(pattern, text):
    match = re.search(pattern, text)
    expect(f"{pattern} is found", match, text[:2000])
    return match[1]
