"""Origins as they are; see origins.sh."""

import sys

from . import addresses, buckets, proxies, sockets, tls
from .machine import Machine

program, scratch = sys.argv[1:]
for subject in [tls, sockets, addresses, proxies, buckets]:
    for name in [name for name in dir(subject) if name.startswith("test_")]:
        with Machine(program, scratch) as machine:
            getattr(subject, name)(machine)
        print(f"ok  {subject.__name__.rsplit('.', 1)[1]}: {name[5:].replace('_', ' ')}", flush=True)
