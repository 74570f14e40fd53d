"""What is sent in place of errors."""

from .origin import Reply
from .scenarios import ENOUGH, snippet


@snippet("Error pages")
def pages(pair):
    page = {"Content_Type": "text/html"}
    answers = {
        "/missing": Reply("none", 404),
        "/failing": Reply("failed", 500),
        "/busy": Reply("busy", 503),
        "/gone": Reply("gone", 410),
        "/errors/404.html": Reply("<h1>Not here</h1>", **page),
        "/errors/50x.html": Reply("<h1>Later</h1>", **page),
    }
    pair.replies = lambda asked, _: answers.get(asked.path) or Reply("page", **ENOUGH)
    for target, status, error in [("/missing", 404, "404"), ("/failing", 500, "50x"), ("/busy", 503, "50x")]:
        path = f"/errors/{error}.html"
        pair.same(target, status, text=answers[path].text, asked=[f"GET {target}", f"GET {path}"])
    pair.same("/gone", 410, text="gone")
    pair.same("/a", text="page")


@snippet("A maintenance page")
def maintenance(pair):
    for method in ["GET", "HEAD", "POST"]:
        text = "" if method == "HEAD" else "<h1>Back soon</h1>"
        shows = {"Retry-After": "3600"}
        pair.same("/a?b", 503, method=method, text=text, shows=shows, asked=[])
