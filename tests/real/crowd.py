"""Users who are logged in and anonymous visitors, all at once: nobody gets what is another's.

Each user has a nonce as a name, which their personal answers carry. A leak is the nonce of one user in a body, a header
or a 304 that another visitor gets.
"""

import asyncio
import concurrent.futures
import random
import secrets
import shlex
import threading

from .browser import visits
from .machine import HOST, expect

#: Connections of the crowd; each carries requests of many visitors.
CONNECTIONS = 20
#: How long one answer may take, on a busy machine as well.
PATIENCE = 120
USERS = 4
ANONYMOUS = 40
#: Parts of the requests: by users, of what is slower than its TTL, conditional ones, those without a body.
LOGGED_IN, SLOW, CONDITIONAL, HEAD = 0.1, 0.02, 0.1, 0.05
#: What the hits of anonymous visitors come to, at least.
HITS = 0.95


def names():
    """Names for users, each a nonce. Sites want a capital letter, or allow one."""
    return [f"Nonce{secrets.token_hex(8)}" for _ in range(USERS)]


class Person:
    """A visitor with cookies; `name` is the nonce of a user, `None` stands for anonymous."""

    def __init__(self, cookies, name=None):
        self.cookies, self.name = dict(cookies), name
        #: The ETag that they have of each path.
        self.tags = {}

    def __str__(self):
        return self.name or "an anonymous visitor"


def anonymous(number):
    return Person({"_ga": f"GA1.1.{number}", "_gid": f"GA1.1.{number}", "cookie_consent": "yes"})


class Site:
    """What is visited. `pages` are personal for users, `assets` the same for all; `slow` is a page whose answer takes
    longer than its TTL."""

    def __init__(self, port, pages, assets, slow):
        self.port, self.pages, self.assets, self.slow = port, pages, assets, slow
        #: A browser saves feeds rather than showing them.
        self.shown = [page for page in pages if not page.endswith("/feed/")]


class Judge:
    """Looks at every answer."""

    def __init__(self, users):
        self.nonces = {user.name.lower() for user in users}
        self.lock = threading.Lock()
        self.requests = self.slow = self.anonymous = self.hits = self.personal = self.unchanged = 0
        #: Anonymous requests, and hits among them, up to the end of the first visit.
        self.first = 0, 0
        self.leaks, self.wrong = [], []

    def __call__(self, who, what, status, headers, body, shown="", personal=False, slow=False):
        """`shown` is the validator that the request named, `personal` whether a user has to be named, and `slow`
        whether the answer is past its TTL when it arrives, so that it cannot be a hit."""
        text = f"{headers}\n{body}".lower()
        own = who.name and who.name.lower()
        seen = {nonce for nonce in self.nonces if nonce in text}
        if status == 304:
            # It says that what the visitor has shown is theirs.
            seen |= {nonce for nonce in self.nonces if nonce in shown.lower()}
        with self.lock:
            self.requests += 1
            self.unchanged += status == 304
            if seen - {own}:
                self.leaks.append(f"{what} for {who}: {status}, {seen - {own}}\n{headers}")
            if status not in (200, 304):
                self.wrong.append(f"{what} for {who}: {status}\n{headers}")
            self.slow += slow
            if own is None and not slow:
                self.anonymous += 1
                self.hits += "; hit" in headers
            elif own and personal:
                self.personal += 1
                if status == 200 and own not in seen:
                    self.wrong.append(f"{what} is not that of {who}\n{headers}")

    def first_visit_ends(self):
        """What comes now finds the site visited once."""
        self.first = self.anonymous, self.hits

    def told(self, what):
        asked, hits = self.first
        ratio = (self.hits - hits) / max(self.anonymous - asked, 1)
        expect(f"{what}: no leak", not self.leaks, "\n".join(self.leaks[:3]) + f"\n{len(self.leaks)} leaks")
        expect(f"{what}: all is answered", not self.wrong, "\n".join(self.wrong[:3]) + f"\n{len(self.wrong)} answers")
        expect(f"{what}: hits of anonymous visitors", ratio >= HITS, f"{ratio:.1%} of {self.anonymous - asked}")
        print(
            f"  ok  {what}: {self.requests} requests, no leak; {self.hits / self.anonymous:.1%} of {self.anonymous} by "
            f"anonymous visitors are hits, {ratio:.1%} after the first visit; {self.personal} personal answers, "
            f"{self.slow} slower than their TTL, {self.unchanged} times 304",
            flush=True,
        )


def visited(weir, site, users, requests):
    """`requests` requests by a crowd, and a browser that visits meanwhile."""
    by_crowd, by_browser = Judge(users), Judge(users)
    asyncio.run(first_visit(site, by_crowd))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        crowd = pool.submit(asyncio.run, come(weir, site, users, requests, by_crowd))
        try:
            visits(site, [anonymous(100 + number) for number in range(25)], users[:2], by_browser)
        finally:
            crowd.result()
    by_crowd.told("a crowd")
    by_browser.told("a browser")


async def first_visit(site, judge):
    """One visitor, before the crowd comes."""
    connection = Connection(site.port)
    for path in site.pages + site.assets:
        await ask(connection, site, judge, anonymous(0), "GET", path)
    connection.close()
    judge.first_visit_ends()


async def come(weir, site, users, requests, judge):
    people = [anonymous(number) for number in range(ANONYMOUS)]
    paths = shlex.join(site.pages)
    numbers, before = iter(range(requests)), judge.requests

    async def visitor():
        connection = Connection(site.port)
        try:
            for number in numbers:
                if number and number % (requests // 4) == 0:
                    # Pages become stale while they are asked for.
                    await asyncio.to_thread(weir.commands, f"weir purge --soft {paths}")
                await visit(connection, site, users, people, judge)
        finally:
            connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(visitor())
    expect("each request has an answer", judge.requests - before == requests, judge.requests)


async def visit(connection, site, users, people, judge):
    """A request as chance will have it."""
    who = random.choice(users if random.random() < LOGGED_IN else people)
    path = site.slow if random.random() < SLOW else random.choice(site.pages + site.assets)
    method = "HEAD" if random.random() < HEAD else "GET"
    shown = ""
    if random.random() < CONDITIONAL:
        # Their own, or one that another user has.
        shown = random.choice([who, *users]).tags.get(path, "")
    await ask(connection, site, judge, who, method, path, shown)


async def ask(connection, site, judge, who, method, path, shown=""):
    answer = await asyncio.wait_for(connection.asks(method, path, who.cookies, shown), PATIENCE)
    personal, slow = path not in site.assets, path == site.slow
    judge(who, f"{method} {path}", *answer, shown=shown, personal=personal, slow=slow)
    status, headers, _ = answer
    if status == 200:
        who.tags[path] = field(headers, "etag")


def field(headers, name):
    for line in headers.splitlines():
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return ""


class Connection:
    """One connection after another, which carry one request after another."""

    def __init__(self, port):
        self.port, self.writer = port, None

    def close(self):
        if self.writer:
            self.writer.close()
            self.writer = None

    async def asks(self, method, path, cookies, shown):
        """Status, headers and body of the answer."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(HOST, self.port)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}:{self.port}"]
        lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items()))
        if shown:
            lines.append(f"If-None-Match: {shown}")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = await self.head()
        while head.startswith("HTTP/1.1 1"):
            head = await self.head()
        line, headers = head.split("\r\n", 1)
        status = int(line.split()[1])
        body = b""
        if method != "HEAD" and status not in (204, 304):
            body = await self.body(headers)
        if field(headers, "connection").lower() == "close":
            self.close()
        return status, headers, body.decode(errors="replace")

    async def head(self):
        return (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def body(self, headers):
        length = field(headers, "content-length")
        if length:
            return await self.reader.readexactly(int(length))
        expect("a body has an end", field(headers, "transfer-encoding").lower() == "chunked", headers)
        parts = []
        while size := int((await self.reader.readline()).split(b";")[0], 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        while (await self.reader.readline()).strip():
            pass
        return b"".join(parts)
