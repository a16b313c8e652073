"""`websockets` as a caller: websocket_client.py ADDRESS. Prints what it saw as JSON."""

import hashlib
import json
import socket
import sys
import time
import uuid

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

URL = f"ws://{sys.argv[1]}"


def open_(path="/", **more):
    return connect(URL + path, max_size=4 << 20, proxy=None, open_timeout=10, **more)


def echo(message, **more):
    with open_(**more) as connection:
        connection.send(message)
        answer = connection.recv(timeout=20)
        same = answer == message and type(answer) is type(message)
        return [same, connection.protocol.extensions != [], connection.subprotocol]


def fragments():
    with open_() as connection:
        connection.send(["in ", "three ", "parts"])
        return connection.recv(timeout=10)


def pings():
    with open_() as connection:
        ours = connection.ping(b"from the client").wait(10)
        connection.send("ping")
        return [ours, connection.recv(timeout=10)]


def closed_by_server(request):
    with open_() as connection:
        connection.send(request)
        try:
            return connection.recv(timeout=10)
        except ConnectionClosed as closed:
            return [closed.rcvd.code, closed.rcvd.reason]


def closed_by_client():
    path = f"/{uuid.uuid4()}"
    with open_(path) as connection:
        connection.close(4001, "enough")
    return how(path)


def dropped_by_client():
    """Without a closing handshake: the origin learns of it all the same."""
    path = f"/{uuid.uuid4()}"
    with open_(path) as connection:
        connection.send("x")
        connection.recv(timeout=10)
        connection.socket.shutdown(socket.SHUT_RDWR)
    return how(path)


def how(path):
    """How the origin saw the connection with this path end."""
    with open_() as other:
        deadline = time.monotonic() + 10
        answer = "not yet"
        while answer == "not yet" and time.monotonic() < deadline:
            other.send(f"how {path}")
            answer = other.recv(timeout=10)
        return answer


def in_turn():
    with open_(compression=None) as connection:
        answers = []
        for number in range(20):
            connection.send(f"{number}")
            answers.append(connection.recv(timeout=10))
        return answers


big = hashlib.shake_128(b"isthmus").digest(1 << 20)
CASES = {
    "text": lambda: echo("h\u00e9llo \U0001f600"),
    "binary": lambda: echo(bytes(range(256))),
    "empty": lambda: echo(""),
    "1 MiB": lambda: echo(big, compression=None),
    "1 MiB, compressed": lambda: echo(big),
    "fragments": fragments,
    "subprotocol": lambda: echo("x", subprotocols=["none", "second"]),
    "pings": pings,
    "closed by the server": lambda: closed_by_server("close 4002 so it is"),
    "closed as going away": lambda: closed_by_server("close 1001 "),
    "closed by the client": closed_by_client,
    "dropped by the client": dropped_by_client,
    "in turn": in_turn,
}
print(json.dumps({name: case() for name, case in CASES.items()}))
