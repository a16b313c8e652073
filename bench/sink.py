"""An HTTP/1.1 server that reads request bodies and answers 200: `sink.py PORT`."""

import re
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
            left = int(length[1]) if length else 0
            held, left = held[left:], left - min(left, len(held))
            while left:
                count = self.request.recv_into(buffer, min(left, len(buffer)))
                if not count:
                    return
                left -= count
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


Server(("127.0.0.1", int(sys.argv[1])), Upload).serve_forever()
