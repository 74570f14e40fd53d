"""docs/recipes/grpc.md: a server and a client of grpcio."""

import pathlib
import sys

import grpc

from ports import ports

from .machine import HOST, expect, found
from .recipe import Recipe, adapted

APPLICATIONS = pathlib.Path(__file__).parents[1] / "applications"
sys.path.append(str(APPLICATIONS))
import rpc  # noqa: E402


def follow(machine):
    recipe = Recipe("grpc")
    port, secure, admin = ports(3)
    log = machine.folder / "server.log"
    server = machine.process(
        "server", [sys.executable, APPLICATIONS / "rpc.py"], lambda: "http://" in log.read_text()
    )
    chain, key = machine.certificate()
    machine.weir_serves(adapted(recipe.block("weir.toml"), {
        "http://127.0.0.1:50051": found(r"(http://\S+)", log.read_text()),
        "0.0.0.0:443": f"{HOST}:{secure}", '"api.example.com"': f'"{HOST}"',
        "/etc/weir/api.example.com.pem": chain, "/etc/weir/api.example.com.key": key,
    }), port, admin)
    target, roots = f"{HOST}:{secure}", chain.read_bytes()

    rpc.work_as_direct(expect, "gRPC", target, roots)
    print("  ok  calls of every kind")

    with channel(target, roots) as calls:
        call = calls.unary_unary(f"/{rpc.SERVICE}/Whoami")
        for who in ("", "ann", "bob", ""):
            metadata = [("authorization", f"Bearer {who}"), ("cookie", f"session={who}")]
            said = call(b"", timeout=20, metadata=metadata if who else [])
            expect("each caller is known to the server", said.decode() == who, said)
    print("  ok  callers are told apart")

    server.stop()
    with channel(target, roots) as calls:
        try:
            calls.unary_unary(f"/{rpc.SERVICE}/Unary")(b"", timeout=20)
            expect("a call without a server fails", False, "it did not")
        except grpc.RpcError as error:
            down = error.code() == grpc.StatusCode.UNAVAILABLE
            expect("the server is unavailable", down, error)
    print("  ok  a server that is down is unavailable")


def channel(target, roots):
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots))
