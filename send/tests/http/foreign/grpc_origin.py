"""A gRPC origin with raw bytes for messages. Prints its port as its only line."""

import threading
from concurrent import futures

import grpc

ended = {}
lock = threading.Lock()


def end_of(name):
    with lock:
        return ended.setdefault(name, threading.Event())


def unary(request, context):
    """Tells which metadata came, and sends some of its own first and last."""
    sent = [(k, v) for k, v in context.invocation_metadata() if k.startswith("x-") and "forwarded" not in k]
    context.send_initial_metadata((("x-first", "1"), ("x-first-bin", b"\x00\xff\x80")))
    context.set_trailing_metadata((("x-last", "2"), ("x-last-bin", b"\x00\x01,\xfe")))
    return request + repr(sorted(sent)).encode()


def client_stream(requests, context):
    return b"+".join(requests)


def server_stream(request, context):
    for number in range(int(request)):
        yield b"%d" % number * 1000
    context.set_trailing_metadata((("x-last", "stream"),))


def bidi(requests, context):
    for request in requests:
        yield request[::-1]


def fail(request, context):
    """Without a message: the status comes in a head that is the end, too."""
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: \u00e9 %")


def fail_later(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "after one")


def hang(request, context):
    """Sends one message and waits for the caller to leave."""
    context.add_callback(end_of(request).set)
    yield b"%d" % (0 < (context.time_remaining() or 0) < 60)
    end_of(request).wait(10)


def was_left(request, context):
    return b"%d" % end_of(request).wait(10)


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLater": grpc.unary_stream_rpc_method_handler(fail_later),
    "Hang": grpc.unary_stream_rpc_method_handler(hang),
    "WasLeft": grpc.unary_unary_rpc_method_handler(was_left),
}

server = grpc.server(
    futures.ThreadPoolExecutor(16),
    handlers=[grpc.method_handlers_generic_handler("test.Echo", METHODS)],
    options=[("grpc.max_receive_message_length", 16 << 20)],
)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
