"""A gRPC server and the calls of a client, without generated code: messages are bytes.

rpc.py serves on a port that the system chooses, and prints where.
"""

import concurrent.futures
import time

import grpc

SERVICE = "test.Echo"
LARGE = 3 << 20
STREAMED = 100
# Larger than any message here; the default of clients and servers is 4 MiB.
OPTIONS = [("grpc.max_receive_message_length", 8 << 20), ("grpc.max_send_message_length", 8 << 20)]


def unary(request, context):
    if request == b"missing":
        context.set_trailing_metadata([("reason", "not here")])
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
    if request == b"slow":
        time.sleep(5)
    context.set_trailing_metadata([("checked", "yes")])
    return request


def stream(request, context):
    for number in range(STREAMED):
        yield request + str(number).encode()


def chat(requests, context):
    for request in requests:
        yield b"re: " + request


def whoami(_, context):
    told = dict(context.invocation_metadata())
    bearer, cookie = told.get("authorization", ""), told.get("cookie", "")
    names = {bearer.removeprefix("Bearer "), cookie.removeprefix("session=")}
    return " and ".join(sorted(names)).encode()


def serve():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=OPTIONS)
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Whoami": grpc.unary_unary_rpc_method_handler(whoami),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"http://127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def work_as_direct(expect, what, target, roots):
    """Every kind of call behaves over `target` as it does without anything in between."""
    credentials = grpc.ssl_channel_credentials(roots)
    with grpc.secure_channel(target, credentials, options=OPTIONS) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Unary")
        for size in (0, 5, LARGE):
            sent = b"x" * size
            answer, ended = call.with_call(sent, timeout=20)
            expect(f"{what}: {size} bytes", answer == sent, len(answer))
            trailers = dict(ended.trailing_metadata())
            expect(f"{what}: trailers", trailers.get("checked") == "yes", trailers)
        for request, status in [
            (b"missing", grpc.StatusCode.NOT_FOUND),
            (b"slow", grpc.StatusCode.DEADLINE_EXCEEDED),
        ]:
            try:
                call(request, timeout=1)
                expect(f"{what}: {request} fails", False, "it did not")
            except grpc.RpcError as error:
                expect(f"{what}: {request}", error.code() == status, error)
                if status == grpc.StatusCode.NOT_FOUND:
                    expect(f"{what}: details", error.details() == "no such thing", error)
                    trailers = dict(error.trailing_metadata())
                    expect(f"{what}: trailers", trailers.get("reason") == "not here", trailers)
        streamed = list(channel.unary_stream(f"/{SERVICE}/Stream")(b"n", timeout=20))
        expected = [b"n" + str(number).encode() for number in range(STREAMED)]
        expect(f"{what}: server stream", streamed == expected, streamed)
        talk = channel.stream_stream(f"/{SERVICE}/Chat")
        heard = []

        def said():
            # Each message follows the answer to the one before: both directions are open at once.
            for number in range(5):
                while len(heard) < number:
                    time.sleep(0.001)
                yield str(number).encode()

        for answer in talk(said(), timeout=20):
            heard.append(answer)
        expect(f"{what}: both ways", heard == [b"re: %d" % number for number in range(5)], heard)


if __name__ == "__main__":
    serve()
