"""`h2` as a caller: h2_client.py ADDRESS. Prints what it saw as JSON."""

import json
import socket
import sys

from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated, DataReceived, InformationalResponseReceived, ResponseReceived, StreamEnded,
    StreamReset, TrailersReceived,
)

HOST, PORT = sys.argv[1].split(":")


class Caller:
    """One connection."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, PORT), timeout=10)
        self.h2 = H2Connection()
        self.h2.initiate_connection()
        self.flush()
        self.seen = {}

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def request(self, method, path, body=None, trailers=None, fields=(), end=True):
        stream = self.h2.get_next_available_stream_id()
        self.seen[stream] = {"headers": [], "body": "", "trailers": []}
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "caller:1"), (":path", path)]
        self.h2.send_headers(stream, pseudo + list(fields), end_stream=end and body is None and trailers is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=end and trailers is None)
        if trailers is not None:
            self.h2.send_headers(stream, trailers, end_stream=True)
        self.flush()
        return stream

    def until(self, stream, kinds):
        """Reads on until an event of these kinds comes for the stream."""
        while True:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the connection ended")
            found = False
            for event in self.h2.receive_data(data):
                self.note(event)
                found |= isinstance(event, kinds) and event.stream_id == stream
            self.flush()
            if found:
                return self.seen[stream]

    def note(self, event):
        if isinstance(event, ConnectionTerminated):
            raise EOFError(f"GOAWAY {event.error_code}")
        seen = self.seen.get(getattr(event, "stream_id", None))
        if seen is None:
            return
        if isinstance(event, ResponseReceived):
            fields = [(k.decode(), v.decode("latin-1")) for k, v in event.headers]
            seen["status"] = int(fields[0][1])
            seen["headers"] = fields[1:]
        elif isinstance(event, DataReceived):
            seen["body"] += event.data.decode("latin-1")
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            seen["trailers"] = [(k.decode(), v.decode("latin-1")) for k, v in event.headers]
        elif isinstance(event, StreamReset):
            seen["reset"] = int(event.error_code)

    def answer(self, stream):
        return self.until(stream, (StreamEnded, StreamReset))


def call(*what, **more):
    caller = Caller()
    return caller.answer(caller.request(*what, **more))


def many_at_once():
    caller = Caller()
    streams = [caller.request("GET", f"/stream/{number}") for number in range(50)]
    for stream in streams:
        if not any(key == "status" for key in caller.seen[stream]) or not caller.seen[stream]["body"]:
            caller.answer(stream)
    return [caller.seen[stream]["status"] for stream in streams]


def beside_a_waiting_one():
    """One stream that waits does not hold up another."""
    caller = Caller()
    waiting = caller.request("GET", "/wait?id=beside")
    caller.answer(caller.request("GET", "/signal?id=beside"))
    return caller.seen[waiting] if caller.seen[waiting]["body"] else caller.answer(waiting)


def reset_and_go_on():
    caller = Caller()
    waiting = caller.request("GET", "/wait?id=never")
    caller.h2.reset_stream(waiting, 8)
    return caller.answer(caller.request("GET", "/a"))


def answered_before_the_body():
    caller = Caller()
    stream = caller.request("POST", "/mirror", body=b"first", end=False)
    caller.until(stream, DataReceived)
    first = caller.seen[stream]["body"]
    caller.h2.send_data(stream, b", second", end_stream=True)
    caller.flush()
    return [first, caller.answer(stream)]


CASES = {
    "get": lambda: call("GET", "/a"),
    "post": lambda: call("POST", "/a", body=b"body", fields=[("content-length", "4")]),
    "post without length": lambda: call("POST", "/a", body=b"body"),
    "request trailers": lambda: call("POST", "/a", body=b"body", trailers=[("x-sum", "4")]),
    "trailers without a body": lambda: call("POST", "/a", trailers=[("x-sum", "0")]),
    "response trailers": lambda: call("GET", "/trailers", fields=[("te", "trailers")]),
    "cookie crumbs": lambda: call("GET", "/a", fields=[("cookie", "a=1"), ("cookie", "b=2")]),
    "never indexed": lambda: call("GET", "/a", fields=[("authorization", "Bearer x")]),
    "odd path": lambda: call("GET", "//a/%2F/..;/b?"),
    "options *": lambda: call("OPTIONS", "*"),
    "head": lambda: call("HEAD", "/data"),
    "204": lambda: call("GET", "/none"),
    "many at once": many_at_once,
    "beside a waiting one": beside_a_waiting_one,
    "reset": reset_and_go_on,
    "answered before the body": answered_before_the_body,
}
print(json.dumps({name: case() for name, case in CASES.items()}))
