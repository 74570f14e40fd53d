"""Redirects."""

from .pair import HOST, expect
from .scenarios import snippet


@snippet("HTTP to HTTPS")
def https(pair):
    for target in ["/", "/a/b?c=d&e"]:
        pair.same(target, 301, leads=f"https://{HOST}{target}", asked=[])
    answer = pair.weir.asks_by_tls("/a")
    expect("over TLS it is the page", answer.status == 200 and answer.is_origins, answer)


@snippet("www to the apex")
def apex(pair):
    pair.same("/a?b=c", 301, host=f"www.{HOST}", leads=f"https://{HOST}/a?b=c", asked=[])
    pair.same("/a?b=c", asked=["GET /a?b=c"])


@snippet("No slash at the end")
def slash(pair):
    pair.same("/a/", 301, leads=f"http://{HOST}/a", asked=[])
    pair.same("/a/b/?c=d", 301, leads=f"http://{HOST}/a/b?c=d", asked=[])
    for target in ["/", "/a", "/a?b=/"]:
        pair.same(target, asked=[f"GET {target}"])


@snippet("Moved pages")
def moved(pair):
    pair.same("/blog/2024/hello", 302, leads=f"http://{HOST}/articles/hello", asked=[])
    pair.same("/blog/2024/a/b?c=d", 302, leads=f"http://{HOST}/articles/a/b?c=d", asked=[])
    for target in ["/blog/", "/blog/2024", "/articles/hello"]:
        pair.same(target, asked=[f"GET {target}"])
