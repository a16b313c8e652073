"""What is done to a peer: small requests, bulk, callers that are idle and callers that stall."""

import json
import os
import re
import socket
import struct
import subprocess
import threading
import time

GIB = 1 << 30
SMALL, LARGE = "/small", "/1g"
HERE = os.path.dirname(os.path.abspath(__file__))


def works(port):
    """Whether a small request through the port is answered with 200."""
    try:
        with request(port, SMALL, method="POST", body=b"x") as connection:
            return read_head(connection)[0] in (200, 405)
    except OSError:
        return False


def small_gets(port, connections, seconds, close=False, ports=()):
    """Closed loop: each connection sends the next request when it has the answer (wrk). Given
    `ports`, a thread for each calls that instead, with its share of the connections."""
    command = ["wrk", f"-t{len(ports) or 1}", f"-c{connections}", f"-d{seconds}s", "--timeout", "8s",
               "-s", f"{HERE}/wrk.lua"]
    if close:
        command += ["-H", "Connection: close"]
    output = subprocess.run([*command, f"http://127.0.0.1:{port}{SMALL}"],
                            capture_output=True, text=True,
                            env={**os.environ, "WRK_PORTS": " ".join(map(str, ports))})
    found = re.search(r"^RESULT (.*)$", output.stdout, re.M)
    return result(output, found and found[1])


def steady_gets(port, connections, per_second, seconds):
    """At a fixed rate, with the latency counted from when a request was due."""
    output = subprocess.run([f"{os.environ['ISTHMUS_BIN']}/examples/steady-calls",
                             f"127.0.0.1:{port}", SMALL, str(connections), str(per_second),
                             str(seconds)], capture_output=True, text=True)
    return result(output, None if output.returncode else output.stdout)


def result(output, found):
    """The JSON that a program has `found`, or why there is nothing to show."""
    if not found:
        said = " ".join(output.stderr.split())
        return {"failed": said or f"{output.args[0]} ended with status {output.returncode}"}
    values = json.loads(found)
    return values if values["requests"] else {"failed": "no request was answered"}


def download(port, seconds=60, ignore=0):
    """One request for 1 GiB, broken off after `seconds`. `late` is the rate in bytes per second
    after the first `ignore` seconds."""
    return Download(port).read(seconds, ignore)


class Download:
    """One request for 1 GiB."""

    def __init__(self, port):
        self.connection, self.stopped, self.bytes = request(port, LARGE), False, 0

    def read(self, seconds, ignore=0):
        begin, buffer, early = time.monotonic(), bytearray(1 << 20), None
        _, rest = read_head(self.connection)
        self.bytes = len(rest)
        while self.bytes < GIB and not self.stopped and time.monotonic() - begin < seconds:
            count = self.connection.recv_into(buffer)
            if not count:
                break
            self.bytes += count
            if early is None and time.monotonic() - begin >= ignore:
                early = (time.monotonic(), self.bytes)
        end = time.monotonic()
        self.connection.close()
        late = (self.bytes - early[1]) / (end - early[0]) if early and end > early[0] else 0
        return {"bytes": self.bytes, "seconds": end - begin, "late": late}


class Downloads:
    """Requests for 1 GiB, one after the other, in the background, for the time of a `with`."""

    def __init__(self, port):
        self.port, self.current, self.ended, self.bytes = port, None, False, 0
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.begin = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        if self.current:
            self.current.stopped = True
        self.thread.join()
        self.seconds = time.monotonic() - self.begin

    def run(self):
        while not self.ended:
            self.current = Download(self.port)
            self.bytes += self.current.read(60)["bytes"]


def upload(port, path):
    """1 GiB in one request."""
    begin = time.monotonic()
    with request(port, "/up", method="PUT", length=GIB) as connection, open(path, "rb") as file:
        connection.sendfile(file)
        status, _ = read_head(connection)
    return {"bytes": GIB if status == 200 else 0, "seconds": time.monotonic() - begin}


def idle_callers(port, count):
    """Connections that have had an answer and are kept."""
    connections = []
    for _ in range(count):
        connection = request(port, SMALL)
        connection.recv(65536)
        connections.append(connection)
    return connections


def stalled_callers(port, count):
    """Connections that have asked for 1 GiB and read nothing."""
    return [request(port, LARGE, buffer=64 << 10) for _ in range(count)]


def stalled_uploads(port, count):
    """Connections that send 1 GiB to a target that does not read, as far as that goes."""
    callers = [request(port, "/stall", method="PUT", length=GIB) for _ in range(count)]
    fill(callers)
    return callers


def stalled_websockets(port, count):
    """Upgraded connections on which both sides write and none reads."""
    upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n"
    callers = [request(port, "/", fields=upgrade, buffer=64 << 10) for _ in range(count)]
    for caller in callers:
        if not caller.recv(12).endswith(b" 101"):
            raise OSError("the target does not upgrade")
    fill(callers)
    return callers


def stalled_streams(port, count):
    """As many HTTP/2 streams of one connection that have asked for 1 GiB and give no credit."""
    def frame(kind, flags, stream, payload):
        return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload

    def literal(index, text):
        return bytes([index, len(text)]) + text.encode()

    connection = socket.create_connection(("127.0.0.1", port), 20)
    # A window of 2 GiB for the connection: what stalls are the streams.
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
                       + frame(8, 0, 0, struct.pack("!I", (1 << 31) - 65536)))
    # Static table: 2 is GET, 6 is http; 4 and 1 name :path and :authority.
    head = b"\x82\x86" + literal(4, LARGE) + literal(1, f"127.0.0.1:{port}")
    for number in range(count):
        connection.sendall(frame(1, 0x5, 2 * number + 1, head))
    come, wanted = 0, count * 65535
    while come < wanted:
        come += len(connection.recv(1 << 20))
    return [connection]


STALLED = {"readers": ("http", stalled_callers), "uploads": ("sink", stalled_uploads),
           "websockets": ("sink", stalled_websockets), "streams": ("http", stalled_streams)}


class Stalled:
    """Callers of a kind of `STALLED` for the time of a `with`."""

    def __init__(self, kind, peer, count):
        port, self.open = STALLED[kind]
        self.port, self.count = getattr(peer, port), count

    def __enter__(self):
        self.callers = self.open(self.port, self.count)

    def __exit__(self, *_):
        """With a reset: an orderly end would wait behind what was not read."""
        for caller in self.callers:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.close()


def fill(connections):
    """Writes until nothing has gone for a second."""
    block, quiet = bytes(64 << 10), time.monotonic() + 1
    for connection in connections:
        connection.setblocking(False)
    while time.monotonic() < quiet:
        for connection in connections:
            try:
                connection.send(block)
                quiet = time.monotonic() + 1
            except BlockingIOError:
                pass
        time.sleep(0.01)


def request(port, path, method="GET", body=b"", length=None, buffer=None, fields=""):
    """Opens a connection and sends a request; the body's rest, if `length` is more, is yours."""
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}"
    if method != "GET":
        head += f"Content-Length: {len(body) if length is None else length}\r\n"
    connection.sendall(head.encode() + b"\r\n" + body)
    return connection


def read_head(connection):
    """The status of the answer, and what has come of its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return 0, b""
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), rest
