"""The snippets of docs/coming-from.md in nginx and in weir; see snippets.sh."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from . import access, caching, cookies, errors, headers, origins, redirects  # noqa: F401: they name their scenarios
from .document import Document
from .pair import Failed, Pair, expect
from .scenarios import SCENARIOS

#: A password of "secret", which both read.
USERS = "ann:$2y$05$weirsnippetsofnginx..e7iKwzd1sns6T/SbJbWKUEEtrzFfEdqi\n"
CREDENTIALS = "[default]\naws_access_key_id = ID\naws_secret_access_key = secret\n"


def files(folder):
    """The files that snippets name: certificates of one authority, passwords, credentials."""
    folder.mkdir()

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl(
        "req", "-x509", *new, "-days", "2", "-subj", "/CN=private", "-keyout", "authority.key", "-out", "authority.pem"
    )
    for name, alternative in [("server", "app.internal"), ("shop", "shop.example"), ("client", "client.internal")]:
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{alternative}\n")
        openssl("req", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key",
            "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
    (folder / "users").write_text(USERS)
    (folder / "s3").write_text(CREDENTIALS)
    (folder / "maintenance.html").write_text("<h1>Back soon</h1>")
    return str(folder)


def checked(program, folder, kept, configurations):
    """weir takes each of its blocks."""
    for number, text in enumerate(configurations):
        path = os.path.join(folder, f"block-{number}.toml")
        pathlib.Path(path).write_text(text.replace("/etc/weir/", f"{kept}/"))
        ran = subprocess.run([program, "check", path], capture_output=True, text=True, timeout=60)
        expect(f"weir check:\n{text}", ran.returncode == 0, ran.stdout, ran.stderr)
    print(f"  ok  weir takes all {len(configurations)} configurations", flush=True)


def main(program, folder, document, *titles):
    document = Document(pathlib.Path(document).read_text())
    unknown = set(SCENARIOS) ^ set(document.snippets)
    expect("each snippet has a scenario, and each scenario a snippet", not unknown, unknown)
    kept = files(pathlib.Path(folder) / "files")
    checked(program, folder, kept, document.configurations)
    for number, title in enumerate(titles or document.snippets):
        begin = time.monotonic()
        shown = document.snippets[title]
        nginx = document.nginx(title) if "nginx" in shown else None
        with Pair(program, os.path.join(folder, str(number)), kept, nginx, shown["toml"]) as pair:
            SCENARIOS[title](pair)
        beside = "nginx and weir" if nginx else "weir"
        print(f"  ok  {title} ({beside}, {time.monotonic() - begin:.1f} s)", flush=True)


# Ended from outside, it ends what it started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    main(*sys.argv[1:])
except Failed as failure:
    raise SystemExit(f"failed: {failure}")
