"""Ports for servers that cannot choose their own: `ports.py COUNT` prints so many.

They are below those that the system gives to connections. A port that the system chose could belong to a connection
by the time that its server starts, or starts again; these cannot.
"""

import random
import socket
import sys

FIRST, COUNT = 10_000, 20_000
given = set()


def ports(count, address="127.0.0.1"):
    """So many ports at which nothing listens, each given once."""
    found = []
    while len(found) < count:
        port = FIRST + random.randrange(COUNT)
        with socket.socket() as one, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            try:
                one.bind((address, port))
                datagrams.bind((address, port))
            except OSError:
                continue
        if port not in given:
            given.add(port)
            found.append(port)
    return found


if __name__ == "__main__":
    print(*ports(int(sys.argv[1])))
