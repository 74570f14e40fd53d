"""What is stored, and for how long."""

import threading

from .origin import Reply
from .pair import PATIENCE, expect, until
from .scenarios import ENOUGH, snippet


def asks_origin(side, target, whether):
    """An answer for which the origin is asked, or is not."""

    def asked():
        answer, meanwhile = side.reaches(target)
        return answer if bool(meanwhile) == whether else None

    return until(f"{side.name}: the origin is asked for {target}: {whether}", asked)


@snippet("Micro-caching")
def micro(pair):
    pair.replies = lambda asked, number: Reply(f"answer {number}")
    for side in pair.sides:
        shared = asks_origin(side, "/now", False)
        new = asks_origin(side, "/now", True)
        expect(f"{side.name}: a new answer", new.text != shared.text, shared, new)
    pair.replies = lambda asked, _: Reply("failed", 500)
    pair.passes("/failed", status=500)


@snippet("TTL by path")
def by_path(pair):
    for terms in ["max-age=0", "no-store", "private", "no-cache"]:
        pair.replies = lambda asked, number, terms=terms: Reply(f"answer {number}", Cache_Control=terms)
        target = f"/reports/{terms}"
        pair.same(target, shows={"Cache-Control": terms}, asked=[f"GET {target}"])
        expect(f"{terms}: it is the first answer", pair.shares(target).text == "answer 1")
        pair.passes(f"/{terms}")


@snippet("Negative caching")
def negative(pair):
    for status in [404, 410]:
        pair.replies = lambda asked, _, status=status: Reply("none", status)
        pair.same(f"/{status}", status, asked=[f"GET /{status}"])
        pair.shares(f"/{status}")
    for status in [200, 403, 500]:
        pair.replies = lambda asked, _, status=status: Reply("other", status)
        pair.passes(f"/{status}", status=status)


@snippet("Paths that are not cached")
def not_cached(pair):
    pair.replies = lambda asked, number: Reply(f"answer {number}", **ENOUGH)
    pair.passes("/account/", headers={"Cookie": "id=1"}, shows=ENOUGH)
    pair.same("/a", asked=["GET /a"])
    pair.shares("/a")


@snippet("Responses with Set-Cookie")
def set_cookie(pair):
    pair.replies = lambda asked, number: Reply(f"answer {number}", Set_Cookie="seen=1", **ENOUGH)
    pair.same("/news/", shows={"Set-Cookie": None}, asked=["GET /news/"])
    pair.shares("/news/")
    pair.passes("/a", shows={"Set-Cookie": "seen=1"})


def stored(pair, side, target):
    """Has the old answer stored, which is fresh for a second."""
    pair.replies = lambda asked, _: Reply("old", Cache_Control="max-age=1")
    answer = asks_origin(side, target, False)
    expect(f"{side.name}: the old answer", answer.text == "old", answer)


def expires(side, target):
    """Asks until the origin is asked anew; each answer is the old one."""
    before = side.count(target)

    def asked_again():
        answer = side.asks(target)
        expect(f"{side.name}: the old answer", (answer.status, answer.text) == (200, "old"), answer)
        return side.count(target) > before

    until(f"{side.name} asks again for {target}", asked_again)


@snippet("Stale while revalidating")
def revalidating(pair):
    for side in pair.sides:
        stored(pair, side, "/a")
        new = threading.Event()

        def replies(asked, _, new=new):
            new.wait(PATIENCE)
            return Reply("new", **ENOUGH)

        pair.replies = replies
        try:
            expires(side, "/a")
            answer = side.asks("/a")
            expect(f"{side.name}: nobody waits", answer.text == "old", answer)
        finally:
            new.set()
        until(f"{side.name} has the new answer", lambda: side.asks("/a").text == "new")


@snippet("Stale if the origin fails")
def failing(pair):
    for status in [500, 503]:
        for side in pair.sides:
            stored(pair, side, f"/{status}")
            pair.replies = lambda asked, _, status=status: Reply("failed", status)
            expires(side, f"/{status}")
            answer = side.asks(f"/{status}")
            expect(f"{side.name}: the old answer", (answer.status, answer.text) == (200, "old"), answer)
    pair.replies = lambda asked, _: Reply("failed", 500)
    pair.same("/never-stored", 500)


@snippet("Purge by request")
def purges(pair):
    pair.replies = lambda asked, number: Reply(f"answer {number}", **ENOUGH)
    pair.same("/a", text="answer 1")
    pair.shares("/a")
    refused = pair.weir.asks("/a", "PURGE", source="127.0.0.77")
    expect("not everyone may purge", refused.status == 403, refused)
    expect("it is still stored", pair.shares("/a").text == "answer 1")
    done = pair.weir.asks("/a", "PURGE")
    expect("weir purges", done.status == 200, done)
    pair.same("/a", text="answer 2")


@snippet("gzip")
def compressed(pair):
    types = {"/page": "text/html", "/style.css": "text/css", "/data": "application/json", "/image.png": "image/png"}
    texts = {path: path * 500 for path in types}

    def replies(asked, _):
        path = asked.path.split("?")[0]
        text = "short" if asked.path.endswith("?short") else texts[path]
        return Reply(text, Content_Type=types[path], **ENOUGH)

    pair.replies = replies
    accepts = {"Accept-Encoding": "gzip"}
    for path in ["/page", "/style.css", "/data"]:
        answers = []
        for side in pair.sides:

            def packed():
                answer = side.asks(path, headers=accepts)
                return answer if answer.coding == "gzip" else None

            answers.append((side.name, until(f"{side.name} compresses {path}", packed)))
        pair.compare(path, answers)
        expect(f"{path} is as it was", answers[-1][1].text == texts[path], answers[-1][1])
        pair.shares(path, headers={})
        plain = pair.shares(path, headers={"Accept-Encoding": "identity"})
        expect(f"{path} without a coding", plain.coding is None and plain.text == texts[path], plain)
    for path in ["/image.png", "/page?short", "/style.css?short"]:
        pair.same(path, headers=accepts, shows={"Content-Encoding": None, "Vary": None})
        pair.shares(path, headers=accepts)
