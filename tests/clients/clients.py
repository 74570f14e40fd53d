"""The purge clients of Cloudflare, Fastly and CloudFront, and curl, against a running weir.

clients.py PROGRAM

A small origin counts what it is asked; a purge did what it says when the next request for what it
names goes to the origin again, and the next request for anything else does not.
"""

import http.server
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import boto3
import botocore
import botocore.config
import botocore.exceptions
import cloudflare
import fastly
from fastly.api.purge_api import PurgeApi
from fastly.model.purge_response import PurgeResponse

PATIENCE = 20
SECRET = "0123456789abcdef0123"
OF_BLOG = "fedcba9876543210fedc"
CREDENTIALS = {"aws_access_key_id": "ci", "aws_secret_access_key": SECRET}


class Origin:
    """Answers every path with its number of requests, cacheable, tagged, with a strong validator."""

    def __init__(self):
        self.asked = {}
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = (self.headers["x-forwarded-host"], self.path)
                origin.asked[name] = origin.asked.get(name, 0) + 1
                body = b"hello"
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.send_header("cache-control", "max-age=600, stale-while-revalidate=600")
                self.send_header("surrogate-key", "page " + self.path.split("?")[0])
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Weir:
    """`weir serve` in front of the origin with two sites; ended with the block."""

    def __init__(self, program, origin, more):
        sites = "".join(
            f'[[site]]\nid = "{site}"\nhosts = ["{site}.example", "www.{site}.example"]\n'
            f'origins = ["{origin.url}"]\n'
            for site in ("shop", "blog")
        )
        self.config = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.config.write(sites + more)
        self.config.flush()
        command = [program, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        command += ["--config", self.config.name]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.listen = self.control = None
        for line in self.process.stderr:
            found = re.search(r"(listen|admin).*(http://127\.0\.0\.1:\d+)", line)
            if found and found[1] == "listen":
                self.listen = found[2]
            elif found:
                self.control = found[2]
            if self.listen and self.control:
                break
        else:
            raise SystemExit("weir did not start")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.config.close()

    def get(self, host, path):
        request = urllib.request.Request(self.listen + path, headers={"Host": host})
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            response.read()
            return response.headers["cache-status"]


class Expectations:
    def __init__(self, weir):
        self.weir = weir

    def takes(self, what, purge, taken, kept, soft=False):
        """`purge` takes `taken`, softly or not, and nothing of `kept`."""
        for host, path in taken + kept:
            self.fresh(host, path)
        result = purge()
        for host, path in kept:
            status = self.weir.get(host, path)
            expect(f"{what}: {host}{path} stays", "; hit" in status, status)
        for host, path in taken:
            status = self.weir.get(host, path)
            # What is soft-purged stands in, stale, while it is fetched; what is purged is gone.
            expected = "; hit; ttl=-" if soft else "; fwd=uri-miss"
            expect(f"{what}: {host}{path} goes", expected in status, status)
        print(f"  ok  {what}")
        return result

    def fresh(self, host, path):
        """Stored and fresh; a refresh in the background may be under way."""
        end = time.monotonic() + PATIENCE
        while not re.search(r"; hit; ttl=\d", status := self.weir.get(host, path)):
            expect(f"{host}{path} is stored", time.monotonic() < end, status)


def expect(what, holds, seen):
    if not holds:
        raise SystemExit(f"failed: {what}: {seen}")


def refused(what, call, kind, check):
    try:
        seen = call()
    except kind as error:
        expect(what, check(error), repr(error) + " " + str(getattr(error, "body", "")))
        print(f"  ok  {what}")
        return
    raise SystemExit(f"failed: {what}: was not refused: {seen}")


def cloudflare_sdk(weir, secret):
    do = Expectations(weir)
    client = cloudflare.Cloudflare(
        api_token=secret or "unused", base_url=f"{weir.control}/client/v4", max_retries=0
    )

    def purge(**what):
        result = client.cache.purge(zone_id="shop", **what)
        expect("an id", result.id, result)

    shop, www = "shop.example", "www.shop.example"
    other = [("blog.example", "/a"), (shop, "/other")]
    do.takes(
        "cloudflare: files as strings",
        lambda: purge(files=[f"https://{shop}/a?b=1", f"http://{www}/a"]),
        [(shop, "/a?b=1"), (www, "/a")],
        [(shop, "/a?b=2")] + other,
    )
    do.takes(
        "cloudflare: files with request fields",
        lambda: purge(files=[{"url": f"https://{shop}/a", "headers": {"CF-Device-Type": "x"}}]),
        [(shop, "/a")],
        [(www, "/a")] + other,
    )
    do.takes(
        "cloudflare: prefixes",
        lambda: purge(prefixes=[f"{shop}/img"]),
        [(shop, "/img/a"), (shop, "/img/b/c?d")],
        [(www, "/img/a"), (shop, "/imgs")] + other,
    )
    do.takes(
        "cloudflare: tags",
        lambda: purge(tags=["/tagged", "unheard-of"]),
        [(shop, "/tagged"), (www, "/tagged?x")],
        [("blog.example", "/tagged")] + other,
    )
    do.takes(
        "cloudflare: hosts",
        lambda: purge(hosts=[www]),
        [(www, "/a"), (www, "/b")],
        [(shop, "/a")] + other,
    )
    do.takes(
        "cloudflare: everything",
        lambda: purge(purge_everything=True),
        [(www, "/a"), (shop, "/other")],
        [("blog.example", "/a"), ("www.blog.example", "/a")],
    )
    do.takes(
        "cloudflare: invalidate, which is soft",
        lambda: client.cache.invalidate(zone_id="shop", tags=["/soft"]),
        [(shop, "/soft")],
        other,
        soft=True,
    )
    found = [(zone.id, zone.name, zone.status) for zone in client.zones.list(name=www)]
    expect("cloudflare: a zone by name", found == [("shop", www, "active")], found)
    print("  ok  cloudflare: a zone by name")
    every = {zone.id for zone in client.zones.list(per_page=1)}
    expect("cloudflare: all zones, page by page", {"shop", "blog"} <= every, every)
    print("  ok  cloudflare: all zones, page by page")
    refused(
        "cloudflare: no such zone",
        lambda: client.cache.purge(zone_id="none", purge_everything=True),
        cloudflare.NotFoundError,
        lambda error: error.errors[0].code == 7003 and "none" in error.errors[0].message,
    )
    refused(
        "cloudflare: a URL of another zone",
        lambda: purge(files=["https://blog.example/a"]),
        cloudflare.BadRequestError,
        lambda error: error.errors[0].code == 1012 and "files[0]" in error.errors[0].message,
    )
    if secret:
        other = cloudflare.Cloudflare(api_token=OF_BLOG, base_url=f"{weir.control}/client/v4")
        refused(
            "cloudflare: a token of another site",
            lambda: other.cache.purge(zone_id="shop", purge_everything=True),
            cloudflare.PermissionDeniedError,
            lambda error: error.errors[0].code == 9109,
        )
        account = cloudflare.Cloudflare(
            api_email="a@shop.example", api_key=SECRET, base_url=f"{weir.control}/client/v4"
        )
        do.takes(
            "cloudflare: an API key with an address",
            lambda: account.cache.purge(zone_id="shop", hosts=[www]),
            [(www, "/a")],
            [(shop, "/a"), ("blog.example", "/a")],
        )


def fastly_client(weir, secret):
    do = Expectations(weir)

    def api(key):
        configuration = fastly.Configuration(host=weir.control)
        configuration.api_token = key
        return PurgeApi(fastly.ApiClient(configuration))

    client = api(secret or "unused")
    shop, www = "shop.example", "www.shop.example"
    other = [("blog.example", "/a"), (shop, "/other")]

    def is_ok(answer):
        expect("fastly's answer", answer.status == "ok" and answer.id, answer)

    do.takes(
        "fastly: a key",
        lambda: is_ok(client.purge_tag("shop", "/key")),
        [(shop, "/key"), (www, "/key?x")],
        [("blog.example", "/key")] + other,
    )
    do.takes(
        "fastly: a key, softly",
        lambda: is_ok(client.purge_tag("shop", "/key", fastly_soft_purge=1)),
        [(shop, "/key")],
        other,
        soft=True,
    )
    ids = do.takes(
        "fastly: keys in a field",
        lambda: client.bulk_purge_tag("shop", surrogate_key="/k1 /k2"),
        [(shop, "/k1"), (shop, "/k2")],
        other,
    )
    expect("fastly: an id for each key", set(ids.to_dict()) == {"/k1", "/k2"}, ids)
    ids = do.takes(
        "fastly: keys in a body, softly",
        lambda: client.bulk_purge_tag(
            "shop",
            fastly_soft_purge=1,
            purge_response=PurgeResponse(surrogate_keys=["/k1", "/k3"]),
        ),
        [(shop, "/k1"), (shop, "/k3")],
        [(shop, "/k2")] + other,
        soft=True,
    )
    expect("fastly: an id for each key", set(ids.to_dict()) == {"/k1", "/k3"}, ids)
    do.takes(
        "fastly: a URL",
        lambda: is_ok(client.purge_single_url(f"{shop}/a%20b?c=1")),
        [(shop, "/a%20b?c=1")],
        [(shop, "/a%20b?c=2"), (www, "/a%20b?c=1")] + other,
    )
    do.takes(
        "fastly: a URL, softly",
        lambda: is_ok(client.purge_single_url(f"{shop}/a", fastly_soft_purge=1)),
        [(shop, "/a")],
        [(www, "/a")] + other,
        soft=True,
    )
    answer = do.takes(
        "fastly: all",
        lambda: client.purge_all("shop"),
        [(shop, "/a"), (www, "/b")],
        [("blog.example", "/a")],
    )
    expect("fastly: all", answer.status == "ok", answer)

    def tells(status, message):
        def check(error):
            body = json.loads(error.body)
            return error.status == status and body["msg"] == message and body["detail"]

        return check

    refused(
        "fastly: no such service",
        lambda: client.purge_all("none"),
        fastly.ApiException,
        tells(404, "Record not found"),
    )
    refused(
        "fastly: a host of no site",
        lambda: client.purge_single_url("other.example/a"),
        fastly.ApiException,
        tells(404, "Record not found"),
    )
    refused(
        "fastly: no keys",
        lambda: client.bulk_purge_tag("shop"),
        fastly.ApiException,
        tells(400, "Bad request"),
    )
    if secret:
        refused(
            "fastly: an unknown token",
            lambda: api("0" * 20).purge_all("shop"),
            fastly.ApiException,
            tells(401, "Provided credentials are missing or invalid"),
        )
        refused(
            "fastly: a token of another site",
            lambda: api(OF_BLOG).purge_tag("shop", "a"),
            fastly.ApiException,
            tells(403, "You are not authorized to perform this action"),
        )


def cloudfront_client(weir, secret):
    do = Expectations(weir)

    def client(**credentials):
        return boto3.client(
            "cloudfront",
            endpoint_url=weir.control,
            region_name="eu-west-1",
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
            **credentials,
        )

    cloudfront = client(**CREDENTIALS)
    shop, www = "shop.example", "www.shop.example"
    other = [("blog.example", "/img/a"), (shop, "/other")]

    def invalidate(reference, *paths, distribution="shop", by=cloudfront):
        return by.create_invalidation(
            DistributionId=distribution,
            InvalidationBatch={
                "CallerReference": reference,
                "Paths": {"Quantity": len(paths), "Items": list(paths)},
            },
        )

    def code(expected):
        return lambda error: error.response["Error"]["Code"] == expected

    failed = botocore.exceptions.ClientError
    first = do.takes(
        "cloudfront: paths",
        lambda: invalidate("r1", "/a%20b?c=d&e", "/img/*", "/é"),
        [(shop, "/a%20b?c=d&e"), (www, "/img/a"), (shop, "/img/b/c?d"), (shop, "/%C3%A9?x")],
        [(shop, "/a%20b?c=e")] + other,
    )
    one = first["Invalidation"]
    expect("cloudfront: status", first["ResponseMetadata"]["HTTPStatusCode"] == 201, first)
    expect("cloudfront: location", first["Location"].endswith("/" + one["Id"]), first)
    items = one["InvalidationBatch"]["Paths"]["Items"]
    expect("cloudfront: the batch", items == ["/a%20b?c=d&e", "/img/*", "/é"], first)
    waiter = cloudfront.get_waiter("invalidation_completed")
    waiter.wait(DistributionId="shop", Id=one["Id"], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    print("  ok  cloudfront: the waiter")
    got = cloudfront.get_invalidation(DistributionId="shop", Id=one["Id"])["Invalidation"]
    expect("cloudfront: completed", got["Status"] == "Completed", got)
    expect("cloudfront: the same", {**got, "Status": one["Status"]} == one, (got, one))
    age = abs(got["CreateTime"].timestamp() - time.time())
    expect("cloudfront: created just now", age < 60, got)
    print("  ok  cloudfront: get")

    again = invalidate("r1", "/a%20b?c=d&e", "/img/*", "/é")["Invalidation"]
    expect("cloudfront: the first is told again", again["Id"] == one["Id"], again)
    print("  ok  cloudfront: the same reference and batch")
    refused(
        "cloudfront: a reference of another batch",
        lambda: invalidate("r1", "/b"),
        failed,
        code("InvalidationBatchAlreadyExists"),
    )
    do.takes(
        "cloudfront: a tag",
        lambda: invalidate("r2", "#/tagged"),
        [(shop, "/tagged"), (www, "/tagged?x")],
        [("blog.example", "/tagged")] + other,
    )
    do.takes(
        "cloudfront: everything",
        lambda: invalidate("r3", "/*"),
        [(shop, "/a"), (www, "/b?c")],
        [("blog.example", "/a")],
    )
    invalidate("r4", "/a", distribution="blog")

    listed = cloudfront.list_invalidations(DistributionId="shop")["InvalidationList"]
    expect("cloudfront: three", listed["Quantity"] == 3 and not listed["IsTruncated"], listed)
    ids = [item["Id"] for item in listed["Items"]]
    expect("cloudfront: the latest first", ids[2] == one["Id"], listed)
    pages = cloudfront.get_paginator("list_invalidations").paginate(
        DistributionId="shop", PaginationConfig={"PageSize": 1}
    )
    paged = [item["Id"] for page in pages for item in page["InvalidationList"]["Items"]]
    expect("cloudfront: page by page", paged == ids, paged)
    print("  ok  cloudfront: list")

    for what, call, expected in [
        ("no such distribution", lambda: invalidate("r5", "/a", distribution="none"),
            "NoSuchDistribution"),
        ("no such invalidation",
            lambda: cloudfront.get_invalidation(DistributionId="shop", Id="none"),
            "NoSuchInvalidation"),
        ("an invalidation of another distribution",
            lambda: cloudfront.get_invalidation(DistributionId="blog", Id=one["Id"]),
            "NoSuchInvalidation"),
        ("a path without slash", lambda: invalidate("r5", "a"), "InvalidArgument"),
        ("no reference", lambda: invalidate("", "/a"), "InvalidArgument"),
        ("a wrong quantity",
            lambda: cloudfront.create_invalidation(
                DistributionId="shop",
                InvalidationBatch={
                    "CallerReference": "r5", "Paths": {"Quantity": 2, "Items": ["/a"]}
                },
            ),
            "InconsistentQuantities"),
        ("an unknown marker",
            lambda: cloudfront.list_invalidations(DistributionId="shop", Marker="none"),
            "InvalidArgument"),
    ]:
        refused(f"cloudfront: {what}", call, failed, code(expected))
    if secret:
        wrong = client(**{**CREDENTIALS, "aws_secret_access_key": OF_BLOG})
        unknown = client(**{**CREDENTIALS, "aws_access_key_id": "nobody"})
        of_blog = client(aws_access_key_id="blog", aws_secret_access_key=OF_BLOG)
        for what, by, expected in [
            ("a wrong secret", wrong, "SignatureDoesNotMatch"),
            ("an unknown access key", unknown, "SignatureDoesNotMatch"),
            ("a token of another site", of_blog, "AccessDenied"),
        ]:
            refused(f"cloudfront: {what}", lambda: invalidate("r6", "/a", by=by), failed,
                    code(expected))
        invalidate("r7", "/a", distribution="blog", by=of_blog)
        unsigned = boto3.client(
            "cloudfront",
            endpoint_url=weir.control,
            region_name="eu-west-1",
            config=botocore.config.Config(signature_version=botocore.UNSIGNED),
        )
        refused(
            "cloudfront: not signed",
            lambda: unsigned.list_invalidations(DistributionId="shop"),
            failed,
            code("MissingAuthenticationToken"),
        )


def curl(weir, secret):
    do = Expectations(weir)

    def run(*arguments):
        command = ["curl", "-sS", "-m", str(PATIENCE), "-w", "\n%{http_code}", *arguments]
        body, status = subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout.rsplit("\n", 1)
        return int(status), body

    def is_ok(answer):
        expect("curl's answer", answer[0] == 200, answer)

    shop, www = "shop.example", "www.shop.example"
    other = [("blog.example", "/a"), (shop, "/other")]
    key = ["-H", f"Fastly-Key: {secret}"] if secret else []
    do.takes(
        "curl: PURGE at the node",
        lambda: is_ok(run("-X", "PURGE", "-H", f"Host: {shop}", f"{weir.listen}/a?b")),
        [(shop, "/a?b")],
        [(www, "/a?b")] + other,
    )
    do.takes(
        "curl: PURGE at control",
        lambda: is_ok(run("-X", "PURGE", *key, f"{weir.control}/purge/{shop}/a?b")),
        [(shop, "/a?b")],
        [(www, "/a?b")] + other,
    )
    do.takes(
        "curl: PURGE at control, softly",
        lambda: is_ok(
            run("-X", "PURGE", "-H", "Fastly-Soft-Purge: 1", *key, f"{weir.control}/purge/{shop}/a")
        ),
        [(shop, "/a")],
        other,
        soft=True,
    )
    bearer = ["-H", f"Authorization: Bearer {secret or 'unused'}"]
    batch = (
        "<InvalidationBatch><Paths><Quantity>1</Quantity><Items><Path>/a</Path></Items></Paths>"
        "<CallerReference>by-hand</CallerReference></InvalidationBatch>"
    )
    path = "/2020-05-31/distribution/shop/invalidation"
    status, body = run("--data-binary", batch, *bearer, weir.control + path)
    expect("curl: an invalidation with a bearer", status == 201 and "Completed" in body, body)
    print("  ok  curl: an invalidation with a bearer")
    # A form in a page could send these.
    pages = [
        ("-X", "POST", weir.control + "/service/shop/purge_all"),
        ("--data", '{"purge_everything": true}',
            weir.control + "/client/v4/zones/shop/purge_cache"),
        ("-H", "Content-Type: text/plain", "--data-binary", batch, weir.control + path),
    ]
    for page in pages:
        status, body = run(*page)
        expect("curl: what a page could send", status in (401, 403), (page, status, body))
    print("  ok  curl: what a page could send is refused")


def main():
    program = sys.argv[1]
    tokens = "".join(
        f'[[token]]\nname = "{name}"\nsecret = "{secret}"\nscopes = ["purge"]\n{sites}'
        for name, secret, sites in [
            ("ci", SECRET, ""),
            ("blog", OF_BLOG, 'sites = ["blog"]\n'),
        ]
    )
    for what, more, secret in [("without tokens", "", None), ("with tokens", tokens, SECRET)]:
        print(what)
        with Weir(program, Origin(), more) as weir:
            for client in (cloudflare_sdk, fastly_client, cloudfront_client, curl):
                client(weir, secret)


if __name__ == "__main__":
    main()
