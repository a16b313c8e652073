"""A WebSocket origin. Prints its port as its only line."""

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

closed = {}


def handle(connection):
    """Echoes; `close CODE REASON` closes so, and `how PATH` tells how a connection was closed."""
    path = connection.request.path
    try:
        for message in connection:
            if isinstance(message, str) and message.startswith("close "):
                _, code, reason = message.split(" ", 2)
                connection.close(int(code), reason)
            elif isinstance(message, str) and message.startswith("how "):
                connection.send(closed.get(message[4:], "not yet"))
            elif message == "ping":
                connection.send(f"pong {connection.ping(b'from the server').wait(10)}")
            else:
                connection.send(message)
    except ConnectionClosed:
        pass
    finally:
        closed[path] = f"{connection.close_code} {connection.close_reason}"


def choose(_, offered):
    return "second" if "second" in offered else None


with serve(handle, "127.0.0.1", 0, select_subprotocol=choose, max_size=4 << 20) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
