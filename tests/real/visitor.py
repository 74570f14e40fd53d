"""Who asks weir: a client with cookies of its own that follows no redirect by itself."""

import http.client
import json
import urllib.parse

from .machine import HOST, PATIENCE, expect


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode(errors="replace")
        self.cache = " ".join(response.headers.get_all("cache-status", ["none"]))
        self.hit = "; hit" in self.cache
        # Sent at once while it is fetched again, or in place of an answer that the origin owes.
        self.revalidating = self.status == 200 and "; hit; ttl=-" in self.cache
        self.in_place = self.status == 200 and "fwd=stale" in self.cache
        self.stored = self.cache.endswith("; stored")

    def json(self):
        return json.loads(self.text)

    def __str__(self):
        return f"{self.status}, {self.cache}\n{self.headers}{self.text[:1500]}"


class Visitor:
    """`via`: headers that a load balancer in front of weir adds."""

    def __init__(self, port, via=(), **cookies):
        self.port, self.via, self.cookies = port, dict(via), cookies

    def request(self, method, path, body=None, headers=()):
        headers = {**self.via, **dict(headers)}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        for line in answer.headers.get_all("set-cookie", []):
            pair, *attributes = line.split(";")
            name, _, value = pair.strip().partition("=")
            gone = any("max-age=0" == each.strip().lower() for each in attributes) or "1970" in line
            if gone or value in ("", "deleted", "+"):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        location = answer.headers.get("location")
        if location is not None:
            to = urllib.parse.urlsplit(location)
            stays = to.netloc in ("", f"{HOST}:{self.port}")
            expect(f"{method} {path}: the redirect stays with weir", stays, location)
        return answer

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, fields, **headers):
        headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.request("POST", path, urllib.parse.urlencode(fields), headers)

    def follow(self, answer):
        """The page behind redirects."""
        for _ in range(5):
            if answer.status not in (301, 302, 303):
                break
            to = urllib.parse.urlsplit(answer.headers["location"])
            answer = self.get(urllib.parse.urlunsplit(("", "", to.path or "/", to.query, "")))
        return answer


class Readers:
    """Visitors who are not logged in: one without cookies, and one whom analytics follows."""

    def __init__(self, port, via=()):
        self.port, self.via = port, via

    def anonymous(self):
        return Visitor(self.port, self.via)

    def followed(self, by="GA1.1.42"):
        return Visitor(self.port, self.via, _ga=by, _pk_id="7")

    def get(self, path, **headers):
        return self.anonymous().get(path, **headers)

    def share(self, path):
        """The first request stores the response, and everyone gets it."""
        first = self.followed().get(path)
        expect(f"{path} is stored", first.status == 200 and first.stored, first)
        for reader in (self.anonymous(), self.followed(), self.followed(by="GA1.1.43")):
            again = reader.get(path)
            expect(f"{path} is a hit with {reader.cookies}", again.hit, again)
            expect(f"{path} is the same for all", again.text == first.text, again)
        return first

    def hundred(self, path, known, mark):
        """A hundred readers whom analytics tells apart share one page, and whoever is logged in, with this
        mark in their page, shares none with them."""
        hits = 0
        for number in range(100):
            answer = self.followed(by=f"GA1.1.{number}").get(path)
            public = answer.status == 200 and mark not in answer.text
            expect(f"{path} is the public page", public, answer)
            hits += answer.hit
            if number % 10 == 0:
                own = known.get(path)
                passed = not own.hit and "detail=bypass-cookie" in own.cache
                expect(f"{path} skips the store for who is logged in", passed, own)
                expect(f"{path} is theirs", mark in own.text, own)
        expect(f"98 of 100 requests for {path} are hits", hits >= 98, hits)
        print(f"  ok  {path}: {hits} of 100 requests, each with a _ga of its own, are hits")
