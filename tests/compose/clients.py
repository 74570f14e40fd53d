"""Clients of the topology under test, which run until they are told to stop (SIGTERM).

    clients.py watch URL FILE     reads URL over and over; a line for each answer: when it was asked
                                  (nanoseconds), its status (0 where there was no answer), its body
    clients.py load FILE URL...   asks each URL followed by a number for what nobody asked for before;
                                  FILE holds the counts: answers, errors, the slowest in ms
"""

import http.client
import os
import signal
import sys
import threading
import time
from urllib.parse import urlsplit

# Longer than a node needs to find out that a parent is silent.
PATIENCE = 40

stop = threading.Event()


def get(url):
    """The status and body of a GET on a connection of its own; status 0 where there is none."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=PATIENCE)
    try:
        connection.request("GET", at.path, headers={"Host": "www.example.com"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def watch(url, file):
    with open(file, "w", buffering=1) as lines:
        while not stop.is_set():
            asked = time.time_ns()
            status, body = get(url)
            lines.write(f"{asked} {status} {body.strip()}\n")
            stop.wait(0.02)


class Load:
    def __init__(self, file):
        self.file, self.lock = file, threading.Lock()
        self.answers, self.errors, self.slowest = 0, [], 0.0

    def client(self, url, first):
        number = first
        while not stop.is_set():
            begin = time.monotonic()
            status, body = get(f"{url}{number}")
            took = (time.monotonic() - begin) * 1000
            number += 1
            with self.lock:
                self.answers += 1
                self.slowest = max(self.slowest, took)
                if status != 200:
                    self.errors.append(f"{url}{number - 1}: {status} {body.strip()}")
            stop.wait(0.02)

    def tell(self):
        """Replaces the file: whoever reads it finds it whole."""
        with self.lock, open(f"{self.file}.new", "w") as counts:
            counts.write(f"{self.answers} {len(self.errors)} {self.slowest:.0f}\n")
        os.replace(f"{self.file}.new", self.file)

    def run(self, urls):
        clients = [
            threading.Thread(target=self.client, args=(url, n * 1_000_000))
            for n, url in enumerate(urls * 2, 1)
        ]
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            self.tell()
            stop.wait(0.2)
            if stop.is_set():
                for client in clients:
                    client.join()
        self.tell()
        for error in self.errors[:10]:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    match sys.argv[1:]:
        case ["watch", url, file]:
            watch(url, file)
        case ["load", file, *urls]:
            Load(file).run(urls)
        case _:
            sys.exit(__doc__)
