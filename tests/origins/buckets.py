"""A private bucket of moto, which checks signatures and rights; and signatures held against those of botocore."""

import hashlib
import http.server
import json
import sys
import threading

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from .machine import ask, listens, port, until

# Calls before rights are checked: those that set up who has them.
SETUP = 6

# moto refuses the signatures of boto3, too, where a name has what must be escaped.
OBJECTS = {"a.txt": b"0123456789", "dir/b.txt": b"b", "two//slashes": b"slashes"}


def bucket(machine):
    """A server with a bucket that one key may read, and that key."""
    at = port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(at)]
    machine.start("moto", *command, INITIAL_NO_AUTH_ACTION_COUNT=str(SETUP + len(OBJECTS)))
    until("moto", lambda: listens(at))
    made = {
        "endpoint_url": f"http://127.0.0.1:{at}",
        "region_name": "eu-central-1",
        "aws_access_key_id": "setup",
        "aws_secret_access_key": "setup",
        "config": Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
    }
    iam, s3 = boto3.client("iam", **made), boto3.client("s3", **made)
    iam.create_user(UserName="weir")
    key = iam.create_access_key(UserName="weir")["AccessKey"]
    rights = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
    }
    iam.put_user_policy(UserName="weir", PolicyName="read", PolicyDocument=json.dumps(rights))
    s3.create_bucket(Bucket="media", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket="media", VersioningConfiguration={"Status": "Enabled"})
    for name, body in OBJECTS.items():
        s3.put_object(Bucket="media", Key=name, Body=body, CacheControl="max-age=60")
    version = s3.head_object(Bucket="media", Key="a.txt")["VersionId"]
    return at, key, version


def pool(at, keys):
    return (
        f'[[site]]\nid = "media"\nhosts = ["shop.example"]\n[[site.origin]]\nname = "media"\n'
        f'urls = ["http://127.0.0.1:{at}/media"]\n'
        f's3 = {{ region = "eu-central-1", query = ["versionId"]{keys} }}\n'
    )


def test_a_private_bucket_is_read_and_nothing_else(machine):
    at, key, version = bucket(machine)
    # What nobody signed is refused: otherwise the rest would prove nothing. (moto fails over it.)
    assert ask(at, "/media/a.txt").status in (403, 500)
    file = machine.write(
        "s3-credentials",
        f"[default]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n",
    )
    listen, _ = machine.weir("bucket", pool(at, f', credentials_file = "{file}"'))
    for path, body in [
        ("/a.txt", "0123456789"),
        ("/%61.txt?x=1", "0123456789"),
        ("/dir%2Fb.txt", "b"),
        ("/two//slashes", "slashes"),
        (f"/a.txt?versionId={version}", "0123456789"),
        ("/a.txt?acl", "0123456789"),
    ]:
        answer = ask(listen, path)
        assert (answer.status, answer.body) == (200, body), (path, answer)
        assert "hit" in ask(listen, path).handled(), path
    part = ask(listen, "/a.txt", headers={"Range": "bytes=2-4"})
    assert (part.status, part.body) == (206, "234"), part
    cold = ask(listen, "/a.txt?cold", headers={"Range": "bytes=2-4"})
    assert (cold.status, cold.body) == (206, "234"), cold
    head = ask(listen, "/a.txt?head", "HEAD", headers={"Cookie": "a=b"})
    assert (head.status, head.headers["Content-Length"]) == (200, "10"), head
    # The visitor's own credentials change nothing.
    own = {"Authorization": "AWS4-HMAC-SHA256 Credential=a", "X-Amz-Date": "1", "X-Amz-Acl": "public-read"}
    assert ask(listen, "/a.txt?own", headers=own).status == 200
    assert ask(listen, "/missing.txt").status == 404
    # The bucket is not listed, and nothing is written.
    for path in ["/", "/?list-type=2", "/?acl"]:
        answer = ask(listen, path)
        assert answer.status in (403, 500) and "ListBucketResult" not in answer.body, (path, answer)
    for method in ["PUT", "DELETE", "POST"]:
        assert ask(listen, "/a.txt", method, body="x").status == 405, method


def test_credentials_come_from_the_environment_and_wrong_ones_are_refused(machine):
    at, key, _ = bucket(machine)
    right = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    listen, _ = machine.weir("by-environment", pool(at, ""), **right)
    assert ask(listen, "/a.txt").body == "0123456789"
    wrong = {**right, "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"][::-1]}
    listen, _ = machine.weir("by-wrong-key", pool(at, ""), **wrong)
    answer = ask(listen, "/a.txt")
    assert answer.status == 403 and "SignatureDoesNotMatch" in answer.body, answer


class Recorder(http.server.BaseHTTPRequestHandler):
    """A bucket that keeps what it is asked, and answers."""

    asked = []

    def do_GET(self):
        self.asked.append((self.command, self.path, dict(self.headers)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def test_signatures_are_those_of_botocore(machine):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = server.server_address[1]
    made = {"AWS_ACCESS_KEY_ID": "ID", "AWS_SECRET_ACCESS_KEY": "a/secret+of=mine"}
    for number, token in enumerate([None, "a-token/of+mine=="]):
        variables = {**made, "AWS_SESSION_TOKEN": token} if token else made
        listen, _ = machine.weir(f"by-botocore-{number}", pool(at, ""), **variables)
        Recorder.asked.clear()
        paths = [
            "/a.txt",
            "/dir/with%20space%20%26%20plus%2B.txt",
            "/dir/with%20space%20&%20plus+.txt",
            "/b%c3%bccher/%E2%9C%93~.txt",
            "/two//slashes/",
            "/a.txt?versionId=a%2Fb+c&acl",
            "/%2561?versionId=2&versionId=1",
            "/quote'(1)*!,;:@=$.txt",
        ]
        for path in paths:
            assert ask(listen, path).status == 200, path
        assert ask(listen, "/head.txt", "HEAD", headers={"Cookie": "a=b"}).status == 200
        assert len(Recorder.asked) == len(paths) + 1
        for method, target, headers in Recorder.asked:
            headers = {name.lower(): value for name, value in headers.items()}
            signed = ["host", "x-amz-content-sha256", "x-amz-date"]
            signed += ["x-amz-security-token"] if token else []
            assert headers.get("x-amz-security-token") == token
            assert headers["x-amz-content-sha256"] == hashlib.sha256(b"").hexdigest()
            auth = S3SigV4Auth(Credentials("ID", made["AWS_SECRET_ACCESS_KEY"], token), "s3", "eu-central-1")
            request = AWSRequest(
                method, f"http://127.0.0.1:{at}{target}", headers={name: headers[name] for name in signed}
            )
            request.context["timestamp"] = headers["x-amz-date"]
            signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
            said = headers["authorization"]
            assert said.endswith(f"SignedHeaders={';'.join(signed)}, Signature={signature}"), (target, said)
    server.shutdown()
