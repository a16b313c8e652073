"""grpcio as a caller: grpc_client.py ADDRESS. Prints what it saw as JSON."""

import json
import queue
import sys
import uuid

import grpc

channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.max_receive_message_length", 16 << 20)])


def method(kind, name):
    return getattr(channel, kind)(f"/test.Echo/{name}")


def text(message):
    return message.decode("latin-1") if len(message) < 200 else f"{len(message)} bytes"


def metadata(pairs):
    return sorted((k, v.hex() if isinstance(v, bytes) else v) for k, v in pairs or () if k.startswith("x-"))


def outcome(call):
    return [str(call.code()), call.details(), metadata(call.trailing_metadata())]


def failed(call):
    try:
        return text(call())
    except grpc.RpcError as error:
        return outcome(error)


def unary():
    sent = (("x-text", "a b"), ("x-two", "1"), ("x-two", "2"), ("x-raw-bin", b"\x00\r\n\xff"))
    message, call = method("unary_unary", "Unary").with_call(b"hello ", metadata=sent, timeout=10)
    return [text(message), metadata(call.initial_metadata()), outcome(call)]


def bidi():
    """Each message is answered before the next one is sent."""
    seen, turns = [], queue.Queue()

    def messages():
        for number in range(5):
            yield b"message %d" % number
            turns.get(timeout=10)

    call = method("stream_stream", "Bidi")(messages(), timeout=10)
    for message in call:
        seen.append(text(message))
        turns.put(None)
    return [seen, outcome(call)]


def server_stream():
    call = method("unary_stream", "ServerStream")(b"100", timeout=10)
    return [[len(message) for message in call], outcome(call)]


def fail_later():
    call = method("unary_stream", "FailLater")(b"", timeout=10)
    seen = []
    try:
        seen.extend(map(text, call))
    except grpc.RpcError:
        pass
    return [seen, outcome(call)]


def cancel():
    name = uuid.uuid4().bytes
    call = method("unary_stream", "Hang")(name, timeout=30)
    first = text(next(call))
    call.cancel()
    return [first, str(call.code()), text(method("unary_unary", "WasLeft")(name, timeout=10))]


def deadline():
    name = uuid.uuid4().bytes
    call = method("unary_stream", "Hang")(name, timeout=0.5)
    first = text(next(call))
    try:
        next(call)
    except grpc.RpcError as error:
        return [first, str(error.code()), text(method("unary_unary", "WasLeft")(name, timeout=10))]


CASES = {
    "unary": unary,
    "unary, 5 MiB": lambda: text(method("unary_unary", "Unary")(bytes(5 << 20), timeout=20)),
    "empty message": lambda: text(method("unary_unary", "Unary")(b"", timeout=10)),
    "client streaming": lambda: text(method("stream_unary", "ClientStream")(iter([b"a", b"", b"c" * 70]), timeout=10)),
    "server streaming": server_stream,
    "bidirectional streaming": bidi,
    "trailers only": lambda: failed(lambda: method("unary_unary", "Fail")(b"", timeout=10)),
    "error after a message": fail_later,
    "unknown method": lambda: failed(lambda: method("unary_unary", "Nothing")(b"", timeout=10)),
    "cancellation": cancel,
    "deadline": deadline,
}
print(json.dumps({name: case() for name, case in CASES.items()}))
