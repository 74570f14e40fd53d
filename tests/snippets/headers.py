"""Headers of requests and responses."""

import re

from .origin import Reply
from .pair import expect
from .scenarios import ENOUGH, snippet


@snippet("Security headers")
def security(pair):
    shown = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Content-Security-Policy": "default-src 'self'",
    }
    pair.same("/a", shows=shown)
    pair.replies = lambda asked, _: Reply("none", 404)
    pair.same("/missing", 404, shows=shown)
    pair.replies = lambda asked, _: Reply("stored", **ENOUGH)
    pair.same("/stored", shows=shown)
    pair.shares("/stored")


@snippet("Headers that tell too much")
def quiet(pair):
    pair.replies = lambda asked, _: Reply("a", X_Powered_By="PHP", X_Generator="CMS", X_Other="kept", **ENOUGH)
    pair.same("/a", shows={"X-Powered-By": None, "X-Generator": None, "X-Other": "kept"})
    pair.shares("/a")
    answer = pair.weir.asks("/a")
    expect("weir sends no Server", "Server" not in answer.headers, answer)


@snippet("Headers for the origin")
def towards_the_origin(pair):
    sent = {"X-Shop": "us", "X-Debug": "1", "X-Other": "kept"}
    pair.same("/a", headers=sent, told=["X-Shop", "X-Debug", "X-Other"])
    for side in pair.sides:
        told = side.asked[-1].headers
        expect(side.name, (told["X-Shop"], told["X-Debug"], told["X-Other"]) == ("eu", None, "kept"), told)


@snippet("CORS")
def cors(pair):
    pair.replies = lambda asked, _: Reply("data", **ENOUGH)
    app, asks = {"Origin": "https://app.example"}, {"Access-Control-Request-Method": "PUT"}
    told = {
        "Access-Control-Allow-Origin": "https://app.example",
        "Access-Control-Allow-Methods": "PUT, DELETE",
        "Access-Control-Allow-Headers": "Authorization",
        "Access-Control-Max-Age": "3600",
        "Vary": "Origin",
    }
    pair.same("/api/a", 204, method="OPTIONS", headers={**app, **asks}, shows=told, asked=[])
    may, may_not = ({"Access-Control-Allow-Origin": value, "Vary": "Origin"} for value in ["https://app.example", None])
    pair.same("/api/a", headers=app, shows=may)
    pair.shares("/api/a", headers=app)
    # What is stored says of each origin what is so.
    for headers in [{}, {"Origin": "https://thief.example"}, {"Origin": "https://app.example.thief.example"}]:
        shown = pair.shares("/api/a", headers=headers)
        expect(f"{headers} may not read it", "Access-Control-Allow-Origin" not in shown.headers, shown)
        if headers:
            pair.same("/api/a", 204, method="OPTIONS", headers={**headers, **asks}, shows=may_not, asked=[])
    pair.same("/a", headers=app, shows={"Access-Control-Allow-Origin": None, "Vary": None})


@snippet("TTL of assets in browsers")
def browsers(pair):
    pair.replies = lambda asked, _: Reply("a", Content_Type="text/css", Cache_Control="max-age=60")
    for target in ["/a.css", "/a.css?b=c"]:
        answers = [(side.name, side.asks(target)) for side in pair.sides]
        pair.compare(target, answers, besides=["Cache-Control", "Expires"])
        for name, answer in answers:
            # weir adds the seconds that the answer was on its way.
            age = re.fullmatch(r"max-age=(\d+)", answer.headers["Cache-Control"])
            month = 30 * 86400
            expect(f"{name}: 30 days", age and month <= int(age[1]) < month + 3600, answer)
    pair.same("/a", shows={"Cache-Control": "max-age=60"})
