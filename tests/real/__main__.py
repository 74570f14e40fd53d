"""Follows each recipe in docs/recipes with the real software.

python -m real PROGRAM FOLDER [--requests NUMBER] [NAME...], from tests/
"""

import argparse
import importlib
import signal
import sys
import time

from .machine import Failed, Machine

RECIPES = [
    "static_site", "wordpress", "mediawiki", "django", "package_mirror", "docker_registry",
    "grpc",
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weir")
    parser.add_argument("folder")
    parser.add_argument("--requests", type=int, default=1000, help="of the crowd that visits a site")
    parser.add_argument("names", nargs="*")
    asked = parser.parse_intermixed_args()
    for name in asked.names or RECIPES:
        begin = time.monotonic()
        print(name, flush=True)
        script = importlib.import_module(f".{name}", __package__)
        try:
            with Machine(asked.weir, asked.folder, name, asked.requests) as machine:
                script.follow(machine)
        except Failed as failure:
            raise SystemExit(f"failed: {name}: {failure}")
        print(f"  --  {time.monotonic() - begin:.0f} s", flush=True)


# Ended from outside, it ends what it started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
main()
