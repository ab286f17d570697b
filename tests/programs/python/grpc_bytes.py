"""The server and a client of weft.test.Bytes in grpcio.

grpc_bytes.py serve PORT
grpc_bytes.py check HOST:PORT
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVICE = "weft.test.Bytes"
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
ended = 0


def echo(request, context):
    received = {key: value for key, value in context.invocation_metadata()}
    header = [("x-header", received["x-sent"])] if "x-sent" in received else []
    header += [("x-data-bin", received["x-data-bin"])] if "x-data-bin" in received else []
    context.send_initial_metadata(header)
    return request


def fail(request, context):
    context.set_trailing_metadata([("x-trailer", "failed")])
    context.abort(grpc.StatusCode.NOT_FOUND, f"no such thing: {request.decode()}")


def wait(request, context):
    global ended
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait(30)
    ended += 1
    return b""


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def total(requests, context):
    return str(sum(len(request) for request in requests)).encode()


def chat(requests, context):
    yield from requests


def serve(port):
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Wait": grpc.unary_unary_rpc_method_handler(wait),
        "Ended": grpc.unary_unary_rpc_method_handler(lambda request, context: str(ended).encode()),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server = grpc.server(ThreadPoolExecutor(300), options=OPTIONS)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    assert server.add_insecure_port(f"[::]:{port}") == port
    server.start()
    server.wait_for_termination()


def expect_code(call, *codes):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() in codes, error
        return error
    raise AssertionError(f"no error instead of {codes}")


def check(where):
    with grpc.insecure_channel(where, options=OPTIONS + [("grpc.enable_http_proxy", 0)]) as channel:
        unary = lambda method: channel.unary_unary(f"/{SERVICE}/{method}")
        metadata = [("x-sent", "one"), ("x-data-bin", b"\x00\x01\xff\n")]
        answer, call = unary("Echo").with_call(b"hello", metadata=metadata, timeout=30)
        header = dict(call.initial_metadata())
        assert answer == b"hello", answer
        assert header["x-header"] == "one", header
        assert header["x-data-bin"] == b"\x00\x01\xff\n", header
        large = b"0123456789abcdef" * (1 << 20)
        assert unary("Echo")(large, timeout=30) == large

        counted = list(channel.unary_stream(f"/{SERVICE}/Count")(b"1000", timeout=30))
        assert counted == [str(number).encode() for number in range(1000)]
        assert channel.stream_unary(f"/{SERVICE}/Sum")((bytes(1000) for _ in range(1000)), timeout=30) == b"1000000"

        def one_by_one(answered):
            for number in range(100):
                yield str(number).encode()
                assert answered.wait(10)
                answered.clear()
        answered = threading.Event()
        for number, answer in enumerate(channel.stream_stream(f"/{SERVICE}/Chat")(one_by_one(answered), timeout=30)):
            assert answer == str(number).encode()
            answered.set()
        assert number == 99

        error = expect_code(lambda: unary("Fail")(b"weft", timeout=30), grpc.StatusCode.NOT_FOUND)
        assert error.details() == "no such thing: weft", error
        assert dict(error.trailing_metadata())["x-trailer"] == "failed", error
        expect_code(lambda: unary("Nothing")(b"", timeout=30), grpc.StatusCode.UNIMPLEMENTED)

        def ends_wait(call, *codes):
            before = unary("Ended")(b"", timeout=30)
            begun = time.monotonic()
            expect_code(call, *codes)
            assert time.monotonic() - begun < 3, "the client waited"
            while unary("Ended")(b"", timeout=30) == before:
                assert time.monotonic() - begun < 8, "the server did not notice"
                time.sleep(0.02)
        # At the deadline, a server in tonic says CANCELLED.
        codes = grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED
        ends_wait(lambda: unary("Wait")(b"", timeout=0.3), *codes)

        def cancelled():
            call = unary("Wait").future(b"", timeout=30)
            threading.Timer(0.3, call.cancel).start()
            try:
                call.result()
            except grpc.FutureCancelledError:
                assert call.code() == grpc.StatusCode.CANCELLED
                raise call
        ends_wait(cancelled, grpc.StatusCode.CANCELLED)

        calls = [unary("Echo").future(str(number).encode(), timeout=30) for number in range(200)]
        assert all(call.result() == str(number).encode() for number, call in enumerate(calls))
    print("good")


{"serve": lambda port: serve(int(port)), "check": check}[sys.argv[1]](sys.argv[2])
