"""Who may request what."""

import base64
import hashlib
import time

from .origin import Reply
from .pair import HOST, expect, until
from .scenarios import ENOUGH, snippet

#: An address in the network of the document as it is here, and one that is not.
INSIDE, OUTSIDE = "127.0.0.9", "127.0.0.77"


@snippet("Only from a network")
def networks(pair):
    pair.replies = lambda asked, number: Reply(f"answer {number}", **ENOUGH)
    private = {"besides": ["Cache-Control"]}
    pair.same("/admin/a", source=INSIDE, **private)
    pair.shares("/admin/a", source=INSIDE, **private)
    # What is stored is not for others either.
    for method in ["GET", "HEAD", "POST"]:
        pair.same("/admin/a", 403, method=method, source=OUTSIDE, asked=[])
    for target in ["/admin/b", "/a/../admin/b", "/%61dmin/b", "//admin/b"]:
        pair.same(target, 403, source=OUTSIDE, asked=[])
    pair.same("/a", source=OUTSIDE)


@snippet("Hidden files")
def hidden(pair):
    for target in ["/.git/config", "/.env", "/a/.htaccess", "/a/.gitignore?b", "/%2Egit/config"]:
        pair.same(target, 403, asked=[])
    for target in ["/git", "/a.git", "/.well-known/a", "/a?b=/.git"]:
        pair.same(target, asked=[f"GET {target}"])


@snippet("Passwords")
def passwords(pair):
    def credentials(text):
        return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}

    pair.replies = lambda asked, _: Reply(f"for {asked.headers.get('Authorization')}", **ENOUGH)
    for headers in [{}, credentials("ann:wrong"), credentials("bob:secret"), {"Authorization": "Basic ?"}]:
        pair.same("/members/a", 401, headers=headers, asked=[])
    for side in pair.sides:
        asks = side.asks("/members/a").headers["WWW-Authenticate"]
        expect(f"{side.name} names the realm", asks.startswith('Basic realm="Members"'), asks)
    known = {"headers": credentials("ann:secret"), "besides": ["Cache-Control"]}
    pair.same("/members/a", text="for None", asked=["GET /members/a"], **known)
    pair.shares("/members/a", **known)
    pair.same("/members/a", 401, asked=[])
    pair.same("/a", text="for None")


@snippet("Hotlink protection")
def hotlinks(pair):
    pair.replies = lambda asked, _: Reply("picture", Content_Type="image/jpeg", **ENOUGH)
    pair.same("/a.jpg")
    pair.shares("/a.jpg")
    for page in [f"http://{HOST}/a", f"https://{HOST}/", "https://www.partner.example/a?b"]:
        pair.shares("/a.jpg", headers={"Referer": page})
    for page in ["https://thief.example/", f"https://thief.example/{HOST}", f"https://{HOST}.thief.example/"]:
        pair.same("/a.jpg", 403, headers={"Referer": page}, asked=[])
    pair.same("/a.png", headers={"Referer": "https://thief.example/"})


@snippet("Rate limit")
def rates(pair):
    for side in pair.sides:
        begin, admitted = time.monotonic(), 0
        while (answer := side.asks("/login")).status == 200 and admitted < 1000:
            admitted += 1
        # Five at once, and one each 12 s.
        most = 5 + 1 + int((time.monotonic() - begin) / 12)
        expect(f"{side.name}: 5 at once", 5 <= admitted <= most, admitted)
        expect(f"{side.name}: then none", answer.status == 429, answer)
        for target in ["/login/a", "/a"]:
            expect(f"{side.name}: {target} has no limit", side.asks(target).status == 200)
    expect("weir says when to return", answer.headers["Retry-After"], answer)


@snippet("Signed URLs")
def signed(pair):
    pair.replies = lambda asked, number: Reply(f"{asked.path} {number}", **ENOUGH)
    film = "/films/42"

    def by_nginx(lifetime, path=film):
        expires = int(time.time()) + lifetime
        text = f"{expires}{path} a-secret-of-16-characters"
        made = base64.urlsafe_b64encode(hashlib.md5(text.encode()).digest()).decode().rstrip("=")
        return f"?md5={made}&expires={expires}"

    def by_weir(lifetime, path=film):
        url = f"http://{HOST}{path}"
        made = pair.weir.command("sign", "--config", pair.weir.config, "--for", f"{lifetime}s", url)
        return made.strip().partition(path)[2]

    sides = [(pair.nginx, by_nginx), (pair.weir, by_weir)]
    # Where a character of the MAC is.
    of_mac = {by_nginx: len("?md5="), by_weir: -1}

    def altered(sign):
        query, at = list(sign(3600)), of_mac[sign]
        query[at] = "0" if query[at] != "0" else "1"
        return "".join(query)

    def both(what, status, query, asked):
        answers = []
        for side, sign in sides:
            answer, meanwhile = side.reaches(film + query(sign))
            expect(f"{side.name}, {what}: {status}", answer.status == status, answer)
            paths = [each.path for each in meanwhile]
            expect(f"{side.name}, {what}: the origin is asked for {asked}", paths == asked, paths)
            answers.append((side.name, answer))
        # Whoever has no signature may not have what is stored.
        pair.compare(what, answers, besides=["Cache-Control"])

    both("signed", 200, lambda sign: sign(3600), [film])
    for side, sign in sides:
        # All signed URLs share what is stored.
        until(f"{side.name} has stored it", lambda: not side.reaches(film + sign(1800))[1])
    both("not signed", 403, lambda sign: "", [])
    both("of another path", 403, lambda sign: sign(3600, "/films/43"), [])
    both("altered", 403, altered, [])
    for side, sign in sides:
        query = sign(1)
        until(f"{side.name}: it expires", lambda: side.asks(film + query).status == 403)


@snippet("Refused user agents")
def agents(pair):
    for agent in ["Scraper/1.0", "Some badbot", "SCRAPER"]:
        pair.same("/a", 403, headers={"User-Agent": agent}, asked=[])
    for headers in [{}, {"User-Agent": "Browser"}]:
        pair.same("/a", headers=headers, asked=["GET /a"])


@snippet("Read-only paths")
def read_only(pair):
    for method in ["POST", "PUT", "DELETE"]:
        pair.same("/docs/a", 403, method=method, body="b", asked=[])
        pair.same("/a", method=method, body="b", asked=[f"{method} /a"])
    for method in ["GET", "HEAD"]:
        pair.same(f"/docs/{method}", method=method)


@snippet("Largest request body")
def size(pair):
    pair.same("/a", method="POST", body="b" * 1000, asked=["POST /a"])
    pair.same("/a", 413, method="POST", body=2 << 20, asked=[])
