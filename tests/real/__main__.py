"""Follows each recipe in docs/recipes with the real software.

python -m real PROGRAM FOLDER [NAME...], from tests/
"""

import importlib
import signal
import sys
import time

from .machine import Failed, Machine

RECIPES = [
    "static_site", "wordpress", "mediawiki", "django", "package_mirror", "docker_registry",
    "grpc",
]


def main(weir, folder, *names):
    for name in names or RECIPES:
        begin = time.monotonic()
        print(name, flush=True)
        script = importlib.import_module(f".{name}", __package__)
        try:
            with Machine(weir, folder, name) as machine:
                script.follow(machine)
        except Failed as failure:
            raise SystemExit(f"failed: {name}: {failure}")
        print(f"  --  {time.monotonic() - begin:.0f} s", flush=True)


# Ended from outside, it ends what it started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
main(*sys.argv[1:])
