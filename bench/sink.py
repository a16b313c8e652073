"""An HTTP/1.1 server that reads request bodies and answers 200: `sink.py PORT`.

It reads no body for `/stall`, and on a connection that was upgraded it writes and does not read.
"""

import re
import select
import socketserver
import sys


class Upload(socketserver.BaseRequestHandler):
    """One connection; bodies come with `Content-Length`."""

    def handle(self):
        buffer, held = bytearray(256 << 10), b""
        while True:
            while b"\r\n\r\n" not in held:
                data = self.request.recv(65536)
                if not data:
                    return
                held += data
            head, held = held.split(b"\r\n\r\n", 1)
            length = re.search(rb"(?i)^content-length: *(\d+)", head, re.M)
            if head.startswith(b"PUT /stall "):
                return self.wait_for_the_end()
            if re.search(rb"(?i)^upgrade: *websocket", head, re.M):
                return self.write_to_the_end()
            left = int(length[1]) if length else 0
            held, left = held[left:], left - min(left, len(held))
            while left:
                count = self.request.recv_into(buffer, min(left, len(buffer)))
                if not count:
                    return
                left -= count
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def wait_for_the_end(self):
        poll = select.poll()
        poll.register(self.request, select.POLLRDHUP)
        poll.poll()

    def write_to_the_end(self):
        self.request.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
                             b"Upgrade: websocket\r\n\r\n")
        try:
            while True:
                self.request.sendall(bytes(64 << 10))
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


Server(("127.0.0.1", int(sys.argv[1])), Upload).serve_forever()
