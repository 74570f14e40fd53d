"""Cookies, queries and what else tells requests apart."""

from .origin import Reply
from .pair import expect
from .scenarios import ENOUGH, snippet


def by_cookie(asked, _):
    return Reply(f"for {asked.headers.get('Cookie')}", **ENOUGH)


@snippet("Bypass on a cookie")
def bypass(pair):
    pair.replies = by_cookie
    pair.same("/a", text="for None")
    pair.shares("/a")
    # Other cookies do not matter.
    expect("it is shared", pair.shares("/a", headers={"Cookie": "lang=de"}).text == "for None")
    pair.passes("/a", headers={"Cookie": "session=1"}, text="for session=1")
    pair.passes("/a", headers={"Cookie": "lang=de; session=2"}, text="for lang=de; session=2")
    expect("nothing of it is stored", pair.shares("/a").text == "for None")


@snippet("No cookies for the origin")
def ignored(pair):
    pair.replies = by_cookie
    pair.same("/a", headers={"Cookie": "session=1; lang=de"}, text="for None")
    expect("it is shared", pair.shares("/a", headers={"Cookie": "session=2"}).text == "for None")
    pair.same("/a", method="POST", headers={"Cookie": "session=1"}, body="b", text="for None")


@snippet("Cookies of analytics")
def analytics(pair):
    pair.replies = by_cookie
    pair.same("/a", headers={"Cookie": "_ga=1; _ga_X=2; _gid=3; _fbp=4; _pk_id.1=5"}, text="for None")
    pair.same("/b", headers={"Cookie": "_ga=1; lang=de; _gid=3"}, text="for lang=de")


@snippet("A cookie in the key")
def in_the_key(pair):
    pair.replies = by_cookie
    for currency in ["currency=EUR", "currency=USD"]:
        pair.same("/a", headers={"Cookie": currency}, text=f"for {currency}")
    for currency in ["currency=EUR", "currency=USD"]:
        shared = pair.shares("/a", headers={"Cookie": f"{currency}; lang=de"})
        expect(f"it is that of {currency}", shared.text == f"for {currency}", shared)
    pair.same("/a", text="for None")


@snippet("A page for each device")
def devices(pair):
    pair.replies = lambda asked, _: Reply(f"for {asked.headers.get('X-Device')}", **ENOUGH)
    agents = {"Some Mobile 1": "mobile", "Some Browser 2": "desktop"}
    for agent, device in agents.items():
        pair.same("/a", headers={"User-Agent": agent, "X-Device": "other"}, text=f"for {device}", told=["X-Device"])
    for agent, device in {**agents, "Another mobile": "mobile", "Another browser": "desktop"}.items():
        shared = pair.shares("/a", headers={"User-Agent": agent})
        expect(f"{agent} is {device}", shared.text == f"for {device}", shared)


@snippet("Tracking parameters")
def tracking(pair):
    pair.replies = lambda asked, _: Reply(asked.path, **ENOUGH)
    pair.same("/a?utm_source=mail&b=2&a=1&gclid=3", text="/a?b=2&a=1")
    for target in ["/a?b=2&a=1", "/a?a=1&fbclid=9&b=2"]:
        expect(f"{target} is the same page", pair.shares(target).text == "/a?b=2&a=1")
    pair.same("/a?utm_source=mail", text="/a")


@snippet("The query ignored")
def no_query(pair):
    pair.replies = lambda asked, _: Reply(asked.path, **ENOUGH)
    pair.same("/a?b=c", asked=["GET /a"])
    for target in ["/a", "/a?d=e", "/a?"]:
        pair.shares(target)
    for side in pair.sides:
        expect(f"{side.name}: one page", {each.path for each in side.asked} == {"/a"}, side.asked)
