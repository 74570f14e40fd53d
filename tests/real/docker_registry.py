"""docs/recipes/docker-registry.md: Debian's docker-registry and skopeo."""

import base64
import gzip
import hashlib
import io
import json
import subprocess
import tarfile

from ports import ports

from .machine import HOST, Machine, expect, listens, program
from .recipe import Recipe, adapted
from .visitor import Readers

OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
# "secret", by bcrypt.
PASSWORDS = "ann:$2y$05$M4aWHRhBxlqfdW.Vt85G7.xkq/dpVcZBqLJ740p6HdsWiryBFKjKG\n"


def follow(machine):
    recipe = Recipe("docker-registry")
    with Machine(machine.weir, machine.folder, "open") as one:
        everyone_pulls(Registry(one, recipe), recipe)
    with Machine(machine.weir, machine.folder, "passwords") as one:
        some_pull(Registry(one, recipe, "config.yml: with passwords"))


def everyone_pulls(registry, recipe):
    first = registry.image("first")
    registry.push(first)
    pulled = registry.pull()
    expect("the image is the one that was pushed", pulled == first, pulled)
    registry.pull()
    readers = Readers(registry.port)
    for digest in first.blobs:
        layer = readers.followed().get(f"/v2/app/blobs/{digest}")
        expect("a layer is a hit", layer.hit and int(layer.headers["content-length"]), layer)
    for _ in range(2):
        other = readers.get("/v2/app/manifests/latest", Accept=DOCKER)
        expect("a format that the registry does not have", other.status == 404, other)
        own = readers.get("/v2/app/manifests/latest", Accept=OCI)
        expect("and the one it has", own.headers["content-type"] == OCI, own)
    print("  ok  an image is pushed and pulled; its layers are stored")

    second = registry.image("second")
    registry.push(second)
    expect("a push through weir is pulled at once", registry.pull() == second)
    third = registry.image("third")
    registry.push(third, past_weir=True)
    registry.weir.commands(recipe.block("manifests"))
    expect("a push past weir is pulled after its purge", registry.pull() == third)
    print("  ok  a new image is pulled at once")

    readers.get("/v2/app/manifests/latest", Accept=OCI)
    registry.weir.all_expires()
    registry.process.stop()
    for _ in range(2):
        expect("the image is pulled without the registry", registry.pull() == third)
    manifest = readers.get("/v2/app/manifests/latest", Accept=OCI)
    expect("its manifest is stale", manifest.in_place, manifest)
    answer = readers.get("/v2/other/manifests/latest", Accept=OCI)
    expect("what is not stored fails", answer.status == 502, answer)
    registry.process.start()
    fourth = registry.image("fourth")
    registry.push(fourth)
    expect("the registry is asked again", registry.pull() == fourth)
    print("  ok  the registry may be down")
    layer = f"/v2/app/blobs/{fourth.blobs[1]}"
    expect("its layer is stored", readers.get(layer).hit)
    registry.weir.commands(recipe.block("all of an image"))
    again = readers.get(layer)
    expect("its layer is purged", again.status == 200 and not again.hit, again)
    print("  ok  an image is purged")


def some_pull(registry):
    image = registry.image("private")
    registry.push(image, "--dest-creds=ann:secret")
    readers = Readers(registry.port)
    password = base64.b64encode(b"ann:secret").decode()
    for _ in range(2):
        expect("who has the password pulls", registry.pull("--src-creds=ann:secret") == image)
        refused = registry.pull(fails=True)
        expect("nobody else does", "unauthorized" in refused, refused)
        for digest in image.blobs:
            path = f"/v2/app/blobs/{digest}"
            own = readers.get(path, Authorization=f"Basic {password}")
            expect("a layer is not stored", own.status == 200 and not own.hit, own)
            expect("and says why", "detail=authorization" in own.cache, own)
            answer = readers.get(path)
            expect("a layer is not shared", answer.status == 401, answer)
    print("  ok  images with a password are not shared")


class Registry:
    """A registry behind weir, and its clients."""

    def __init__(self, machine, recipe, *more):
        self.machine, self.images = machine, 0
        self.origin, self.port, admin = ports(3)
        data = machine.folder / "registry"
        config = adapted(recipe.block("registry/config.yml"), {
            "127.0.0.1:5000": f"{HOST}:{self.origin}", "/var/lib/docker-registry": data,
        })
        for name in more:
            config += adapted(recipe.block(name), {
                "/etc/docker/registry/htpasswd": machine.write("htpasswd", PASSWORDS)
            })
        command = [program("docker-registry"), "serve", machine.write("config.yml", config)]
        self.process = machine.process("registry", command, lambda: listens(self.origin))
        self.weir = machine.weir_serves(adapted(recipe.block("weir.toml"), {
            "127.0.0.1:5000": f"{HOST}:{self.origin}", "registry.example.com": HOST,
        }), self.port, admin)

    def image(self, content):
        self.images += 1
        return Image(self.machine.folder / f"image-{self.images}", content)

    def push(self, image, *options, past_weir=False):
        port = self.origin if past_weir else self.port
        self.copy(f"oci:{image.folder}:latest", f"docker://{HOST}:{port}/app:latest",
                  "--dest-tls-verify=false", *options)

    def pull(self, *options, fails=False):
        """The image as a client that has nothing yet gets it, or why it does not."""
        self.images += 1
        folder = self.machine.folder / f"image-{self.images}"
        printed = self.copy(f"docker://{HOST}:{self.port}/app:latest", f"oci:{folder}:latest",
                            "--src-tls-verify=false", *options, fails=fails)
        return printed if fails else Image(folder)

    def copy(self, *arguments, fails=False):
        command = [program("skopeo"), "--insecure-policy", "--override-os=linux", "copy"]
        if not fails:
            return self.machine.run(*command, *arguments)
        ran = subprocess.run(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=60,
        )
        expect(f"{arguments} fails", ran.returncode != 0, ran.stdout)
        return ran.stdout


class Image:
    """An image as a folder: one that is written there, or was."""

    def __init__(self, folder, content=None):
        self.folder = folder
        if content is not None:
            self.write(content)
        index = json.loads((folder / "index.json").read_text())
        self.digest = index["manifests"][0]["digest"]
        manifest = json.loads(self.blob(self.digest).read_text())
        self.blobs = [each["digest"] for each in (manifest["config"], *manifest["layers"])]

    def __eq__(self, other):
        return self.digest == other.digest

    def blob(self, digest):
        return self.folder / "blobs" / digest.replace(":", "/")

    def write(self, content):
        (self.folder / "blobs/sha256").mkdir(parents=True)
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            data = (content * 100_000).encode()
            file = tarfile.TarInfo("content")
            file.size = len(data)
            archive.addfile(file, io.BytesIO(data))
        tar = layer.getvalue()
        diff = "sha256:" + hashlib.sha256(tar).hexdigest()
        config = {"architecture": "amd64", "os": "linux", "config": {},
                  "rootfs": {"type": "layers", "diff_ids": [diff]}}
        kind = "application/vnd.oci.image"
        manifest = {
            "schemaVersion": 2, "mediaType": OCI,
            "config": self.add(f"{kind}.config.v1+json", json.dumps(config).encode()),
            "layers": [self.add(f"{kind}.layer.v1.tar+gzip", gzip.compress(tar))],
        }
        named = {"org.opencontainers.image.ref.name": "latest"}
        entry = {**self.add(OCI, json.dumps(manifest).encode()), "annotations": named}
        index = {"schemaVersion": 2, "manifests": [entry]}
        (self.folder / "index.json").write_text(json.dumps(index))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def add(self, kind, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blob(digest).write_bytes(data)
        return {"mediaType": kind, "digest": digest, "size": len(data)}
