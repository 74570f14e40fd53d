"""Where requests go."""

from .origin import OWN, Reply
from .pair import HOST, expect
from .scenarios import ENOUGH, snippet


@snippet("Routing by path")
def routing(pair):
    pair.same("/api/a?b", text="/api/a?b from api")
    pair.same("/api/a", method="POST", body="b", text="/api/a from api")
    pair.same("/a", text="/a from app")
    pair.same("/apis", text="/apis from app")


@snippet("A path without its beginning")
def without_prefix(pair):
    pair.same("/v1/a?b=c", text="/a?b=c from app")
    pair.same("/v1/", text="/ from app")
    pair.same("/a", text="/a from app")


@snippet("Pages of a script")
def script(pair):
    pair.replies = lambda asked, _: Reply(asked.path, **ENOUGH)
    pair.same("/wiki/Main_Page", text="/index.php?title=Main_Page")
    pair.same("/wiki/Main_Page?action=history", text="/index.php?title=Main_Page&action=history")
    pair.shares("/wiki/Main_Page")


@snippet("A path at the origin")
def prefix(pair):
    pair.same("/a?b=c", text="/shop/a?b=c from app")
    pair.same("/", text="/shop/ from app")


@snippet("Several servers")
def several(pair):
    # One of them does not run.
    for number in range(8):
        pair.same(f"/{number}", text=f"/{number} from app", asked=[f"GET /{number}"])


@snippet("A Unix socket")
def sockets(pair):
    pair.same("/a?b=c", text="/a?b=c from socket")
    pair.same("/a", method="POST", body="b", text="/a from socket")


@snippet("A client certificate for the origin")
def certificates(pair):
    pair.same("/a", text="/a from tls")
    for side in pair.sides:
        shown = side.asked[-1].tls
        expect(f"{side.name} shows its certificate", shown == "client asks for app.internal", shown)


@snippet("PROXY protocol")
def proxy_protocol(pair):
    for client in ["203.0.113.9", "203.0.113.10"]:
        before = f"PROXY TCP4 {client} 127.0.0.1 40000 80\r\n".encode()
        pair.same("/a", before=before, told=["X-Forwarded-For"])
        for side in pair.sides:
            told = side.asked[-1].headers["X-Forwarded-For"]
            expect(f"{side.name} tells the client's address", told == client, told)


@snippet("Behind a load balancer")
def load_balancer(pair):
    inside, outside = {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-For": "198.51.100.7"}
    pair.same("/staff/a", headers=inside, besides=["Cache-Control"])
    pair.same("/staff/a", 403, headers=outside, asked=[])
    # A client may say what it likes to the load balancer, which adds its address.
    forged = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    pair.same("/staff/a", 403, headers=forged, asked=[])
    # Others are not believed.
    pair.same("/staff/a", 403, headers=inside, source="127.0.0.77", asked=[])


@snippet("A bucket")
def bucket(pair):
    pair.replies = lambda asked, _: Reply(asked.path, X_Amz_Request_Id="1", **ENOUGH)
    own = {"Authorization": "Bearer own", "Cookie": "a=b"}
    shown = pair.same("/a.txt", headers=own, besides=["Authorization"], shows={"X-Amz-Request-Id": None})
    expect("it is the object", shown.text == "/media/a.txt", shown)
    pair.shares("/a.txt")
    nginx, weir = (side.asked[-1] for side in pair.sides)
    expect("nginx drops credentials", nginx.headers["Authorization"] is None, nginx)
    expect("weir signs", weir.headers["Authorization"].startswith("AWS4-HMAC-SHA256 "), weir)
    expect("the bucket is asked by its own name", nginx.host == weir.host == OWN, nginx, weir)


@snippet("The Host of the origin")
def host(pair):
    pair.same("/a")
    for side in pair.sides:
        asked = side.asked[-1].host
        expect(f"{side.name} asks for the origin's own host, not {HOST}", asked == OWN, asked)
