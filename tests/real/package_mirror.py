"""docs/recipes/package-mirror.md: apt and pip, and Debian's nginx."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile

from ports import ports

from .machine import HOST, Machine, expect, program
from .recipe import Recipe, adapted
from .visitor import Readers

ARCHITECTURES = ("amd64", "arm64")
POOL = "/debian/pool/main/h/hello"
STOCK = """
server {
    listen 127.0.0.1:8081;
    root /srv/mirror;
    index index.html;
}
"""


def follow(machine):
    recipe = Recipe("package-mirror")
    with Key(machine) as key:
        follow_with(machine, recipe, key)


def follow_with(machine, recipe, key):
    nginx, weir = recipe.block("sites-available/mirror"), recipe.block("weir.toml")
    with Machine(machine.weir, machine.folder, "without") as one:
        Mirror(one, key, STOCK, weir).goes_wrong()
    for name, site, config in (
        ("server", nginx, weir),
        ("weir", STOCK, recipe.block("weir.toml: a server that cannot be changed")),
    ):
        print(f"  TTLs are set at: {name}")
        with Machine(machine.weir, machine.folder, name) as one:
            mirror = Mirror(one, key, site, config)
            mirror.is_current()
            mirror.works_without_server()
            if site is nginx:
                mirror.keeps_packages(recipe)
                mirror.keeps_secrets()


class Mirror:
    """A repository that a server has, behind weir, and its clients."""

    def __init__(self, machine, key, site, config):
        self.machine, self.key, self.clients = machine, key, 0
        self.www = machine.folder / "mirror"
        origin, self.port, admin = ports(3)
        self.publish(1)
        changes = {"8081": origin, "/srv/mirror": self.www}
        if "htpasswd" in site:
            passwords = machine.write("packages.htpasswd", "ann:{PLAIN}secret\n")
            changes["/etc/nginx/packages.htpasswd"] = passwords
        self.nginx = machine.nginx(origin, adapted(site, changes))
        self.weir = machine.weir_serves(
            adapted(config, {"8081": origin, "mirror.example.com": HOST}), self.port, admin
        )
        self.readers = Readers(self.port)

    def goes_wrong(self):
        """What the recipe avoids: with what nginx sends by itself, and weir's defaults."""
        self.apt("amd64", 1)
        self.pip(1)
        self.publish(2)
        failed = self.client("arm64")("update", fails=True)
        known = "Hash Sum mismatch" in failed or "File has unexpected size" in failed
        expect("an old Release does not match a new Packages", known, failed)
        self.pip(1)
        print("  ok  TTLs from Last-Modified break a repository")

    def is_current(self):
        for architecture in ARCHITECTURES:
            self.apt(architecture, 1)
        self.pip(1)
        # Neither waits for a TTL, nor for a purge.
        self.publish(2)
        for architecture in ARCHITECTURES:
            self.apt(architecture, 2)
        self.pip(2)
        index = self.readers.get("/debian/dists/stable/InRelease")
        expect("an index is validated", "fwd-status=304" in index.cache, index)
        redirect = self.readers.get("/simple/hello")
        expect("nginx redirects to a folder", redirect.status == 301, redirect)
        print("  ok  apt and pip see what is published at once")

    def works_without_server(self):
        self.nginx.stop()
        self.apt("amd64", 2)
        self.pip(2)
        answer = self.readers.get("/debian/pool/other.deb")
        expect("what is not stored fails", answer.status == 502, answer)
        self.nginx.start()
        self.publish(3)
        self.apt("amd64", 3)
        print("  ok  apt and pip work while nginx is down")

    def keeps_packages(self, recipe):
        path = f"{POOL}/hello_3_amd64.deb"
        whole = self.readers.get(path)
        expect("a package is a hit", whole.hit, whole)
        part = self.readers.get(path, Range="bytes=100-")
        expect("so is a part of it", part.hit and part.status == 206, part)
        (self.www / path.lstrip("/")).unlink()
        expect("a withdrawn package is still stored", self.readers.get(path).hit)
        self.weir.commands(recipe.block("withdrawn"))
        gone = self.readers.get(path)
        expect("its purge removes it", gone.status == 404, gone)
        print("  ok  packages are stored until they are purged")

    def keeps_secrets(self):
        self.machine.write("mirror/private/own_1_all.deb", "for Ann")
        password = base64.b64encode(b"ann:secret").decode()
        for _ in range(2):
            own = self.readers.get("/private/own_1_all.deb", Authorization=f"Basic {password}")
            expect("who has the password gets the package", own.text == "for Ann", own)
            expect("it is not stored", not own.hit and not own.stored, own)
            answer = self.readers.get("/private/own_1_all.deb")
            expect("nobody else does", answer.status == 401, answer)
        print("  ok  packages with a password are not shared")

    def apt(self, architecture, version):
        """A machine that has never seen the repository installs from it."""
        client = self.client(architecture)
        client("update")
        client("download", "hello")
        found = [path.name for path in client.folder.glob("*.deb")]
        expect("apt has the package", found == [f"hello_{version}_{architecture}.deb"], found)

    def client(self, architecture):
        self.clients += 1
        return Apt(
            self.machine, f"client-{self.clients}", self.port, self.key, architecture
        )

    def pip(self, version):
        folder = self.machine.folder / f"wheels-{time.monotonic_ns()}"
        self.machine.run(
            sys.executable, "-m", "pip", "--disable-pip-version-check", "--isolated", "download",
            "--no-cache-dir", "--index-url", f"http://{HOST}:{self.port}/simple/", "-d", folder,
            "hello",
        )
        found = [path.name for path in folder.iterdir()]
        expect("pip has the package", found == [f"hello-{version}-py3-none-any.whl"], found)

    def publish(self, version):
        """The repository with this version as the newest, as its tools write it."""
        for architecture in ARCHITECTURES:
            package(self.machine, self.www / POOL.lstrip("/"), version, architecture)
        debian = self.www / "debian"
        for architecture in ARCHITECTURES:
            folder = debian / f"dists/stable/main/binary-{architecture}"
            folder.mkdir(parents=True, exist_ok=True)
            packages = ftparchive(debian, "--arch", architecture, "packages", "pool")
            (folder / "Packages").write_text(packages)
        for name in ("Release", "InRelease"):
            (debian / "dists/stable" / name).unlink(missing_ok=True)
        release = ftparchive(debian, "release", "dists/stable", *(
            part for key, value in {
                "Suite": "stable", "Codename": "stable", "Components": "main",
                "Architectures": " ".join(ARCHITECTURES),
            }.items() for part in ("-o", f"APT::FTPArchive::Release::{key}={value}")
        ))
        (debian / "dists/stable/Release").write_text(release)
        self.key.sign(debian / "dists/stable/Release", debian / "dists/stable/InRelease")
        wheel(self.www / "files", version)
        links = "".join(
            f'<a href="../../files/{path.name}#sha256={digest(path)}">{path.name}</a>\n'
            for path in sorted((self.www / "files").iterdir())
        )
        self.machine.write("mirror/simple/hello/index.html", f"<!doctype html><body>{links}")
        # Published some time ago: TTLs are derived from this. Newer versions are younger.
        then = time.time() - 30 * 86400 + version * 86400
        for path in self.www.rglob("*"):
            os.utime(path, (then, then))


class Key:
    """Signs the repository's index."""

    def __init__(self, machine):
        self.machine, self.home = machine, machine.folder / "gnupg"
        self.home.mkdir(mode=0o700)
        self.command = [program("gpg"), "--homedir", self.home, "--batch", "--quiet", "--yes"]
        machine.run(*self.command, "--passphrase", "", "--quick-gen-key", "mirror@example.com")
        self.public = machine.folder / "mirror.asc"
        machine.run(*self.command, "--armor", "--output", self.public, "--export")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # gpg leaves a process behind that has the keys.
        self.machine.run(program("gpgconf"), "--homedir", self.home, "--kill", "gpg-agent")

    def sign(self, release, signed):
        self.machine.run(*self.command, "--output", signed, "--clearsign", release)


class Apt:
    """apt of a machine of its own, as far as apt is concerned."""

    def __init__(self, machine, name, port, key, architecture):
        self.machine, self.folder = machine, machine.folder / name
        for part in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/dpkg",
                     "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):
            (self.folder / part).mkdir(parents=True)
        (self.folder / "var/lib/dpkg/status").touch()
        (self.folder / "etc/apt/sources.list").write_text(
            f"deb [signed-by={key.public}] http://{HOST}:{port}/debian stable main\n"
        )
        options = {
            "Dir": self.folder, "Dir::State::status": self.folder / "var/lib/dpkg/status",
            "APT::Architecture": architecture, "APT::Architectures": architecture,
            "APT::Sandbox::User": "root", "Acquire::Languages": "none", "Acquire::Retries": "0",
            "Acquire::http::Proxy": "DIRECT", "APT::Update::Error-Mode": "any",
        }
        self.command = [program("apt-get"), "-q"]
        for key, value in options.items():
            self.command += ["-o", f"{key}={value}"]

    def __call__(self, *arguments, fails=False):
        if not fails:
            return self.machine.run(*self.command, *arguments, cwd=self.folder)
        ran = subprocess.run(
            [str(word) for word in (*self.command, *arguments)], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        )
        expect(f"apt-get {arguments} fails", ran.returncode != 0, ran.stdout)
        return ran.stdout


def ftparchive(folder, *arguments):
    command = [program("apt-ftparchive"), *arguments]
    return subprocess.run(
        command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True, timeout=60
    ).stdout


def package(machine, pool, version, architecture):
    tree = machine.folder / "tree"
    control = tree / "DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.write_text(
        f"Package: hello\nVersion: {version}\nArchitecture: {architecture}\n"
        "Maintainer: Ann <ann@example.com>\nDescription: a package\n"
    )
    pool.mkdir(parents=True, exist_ok=True)
    deb = pool / f"hello_{version}_{architecture}.deb"
    machine.run(program("dpkg-deb"), "--build", "--root-owner-group", tree, deb)
    shutil.rmtree(tree)


def wheel(folder, version):
    folder.mkdir(exist_ok=True)
    info = f"hello-{version}.dist-info"
    with zipfile.ZipFile(folder / f"hello-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("hello.py", f"version = {version}\n")
        archive.writestr(f"{info}/METADATA",
                         f"Metadata-Version: 2.1\nName: hello\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\n"
                         "Root-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
