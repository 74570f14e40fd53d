"""Writes an OCI image with one static binary to standard output, as an archive that `docker load` and skopeo read.
The settings are those of the stage "base" of deploy/Dockerfile.

image.py BINARY VERSION COMMIT ARCHITECTURE
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import time

# The owner of the directories, and the user of the program.
USER = 65532
# Mount points: a new volume takes over the owner of the directory.
DIRECTORIES = ["var/lib/weir", "var/cache/weir", "run/weir/tokens", "run/weir/operator"]
SECOND = 10**9

EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])
CREATED = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))


def entry(name, mode, user=0):
    """A member of an archive, with nothing of this machine in it."""
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.mtime = mode, user, user, EPOCH
    return info


def archive(members):
    """An archive of pairs of a name's entry and its bytes; None for a directory."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for info, content in members:
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return written.getvalue()


def layer(binary):
    """The files of the image."""
    parents = {"usr", "usr/local", "usr/local/bin"}
    for directory in DIRECTORIES:
        parts = directory.split("/")
        parents.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    members = [(entry(name, 0o755), None) for name in sorted(parents)]
    members += [(entry(name, 0o755, USER), None) for name in DIRECTORIES]
    members.append((entry("usr/local/bin/weir", 0o755), binary))
    return archive(members)


def config(version, commit, architecture, diff_id):
    """What an engine runs, and how."""
    return {
        "created": CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "ExposedPorts": {"8080/tcp": {}, "8443/tcp": {}, "9090/tcp": {}},
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": ["/usr/local/bin/weir"],
            "Cmd": ["--help"],
            "StopSignal": "SIGTERM",
            "Healthcheck": {
                "Test": ["CMD", "/usr/local/bin/weir", "healthcheck"],
                "Interval": 5 * SECOND,
                "Timeout": 3 * SECOND,
                "StartPeriod": 10 * SECOND,
                "Retries": 3,
            },
            "Labels": {
                "org.opencontainers.image.title": "weir",
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.revision": commit,
                "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": CREATED, "created_by": "deploy/package"}],
    }


def main():
    """Writes the archive."""
    path, version, commit, architecture = sys.argv[1:]
    with open(path, "rb") as file:
        plain = layer(file.read())
    blobs = {}

    def blob(content, kind):
        """Adds a blob; returns what refers to it."""
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    def document(content):
        return json.dumps(content, sort_keys=True).encode()

    oci = "application/vnd.oci.image"
    layers = [blob(gzip.compress(plain, 6, mtime=0), f"{oci}.layer.v1.tar+gzip")]
    diff_id = "sha256:" + hashlib.sha256(plain).hexdigest()
    about = blob(document(config(version, commit, architecture, diff_id)), f"{oci}.config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": about,
        "layers": layers,
    }
    reference = blob(document(manifest), f"{oci}.manifest.v1+json")
    reference["annotations"] = {"org.opencontainers.image.ref.name": version}

    def place(descriptor):
        return "blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")

    files = dict(sorted(blobs.items()))
    files["index.json"] = document({"schemaVersion": 2, "manifests": [reference]})
    # For engines that read no OCI layout.
    files["manifest.json"] = document(
        [{"Config": place(about), "RepoTags": [f"weir:{version}"], "Layers": [place(one) for one in layers]}]
    )
    files["oci-layout"] = document({"imageLayoutVersion": "1.0.0"})
    directories = [(entry(name, 0o755), None) for name in ("blobs", "blobs/sha256")]
    members = directories + [(entry(name, 0o644), content) for name, content in files.items()]
    sys.stdout.buffer.write(archive(members))


main()
