"""httpx as a caller: httpx_client.py ADDRESS 1|2. Prints what it saw as JSON."""

import hashlib
import json
import sys
import threading
import uuid

import httpx

URL, VERSION = f"http://{sys.argv[1]}", sys.argv[2]


def caller():
    return httpx.Client(base_url=URL, http1=VERSION == "1", http2=VERSION == "2", timeout=10, trust_env=False)


client, other = caller(), caller()


def seen(response):
    headers = [(k.decode(), v.decode("latin-1")) for k, v in response.headers.raw]
    body = response.content
    short = body.decode("latin-1") if len(body) < 50_000 else f"{len(body)} {hashlib.sha256(body).hexdigest()}"
    return {"status": response.status_code, "headers": headers, "body": short}


def call(method, path, **more):
    return lambda: seen(client.request(method, path, **more))


def pieces():
    for number in range(10):
        yield b"piece %d, " % number * 1000


def events():
    """Allows each event only once the one before is here."""
    name, got = uuid.uuid4(), []
    with client.stream("GET", f"/events?id={name}") as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                other.get(f"/signal?id={name} {len(got)}")
                got.append(line)
    return got


def long_poll():
    name, got = uuid.uuid4(), {}
    waiting = threading.Thread(target=lambda: got.update(call("GET", f"/wait?id={name}")()))
    waiting.start()
    other.get(f"/signal?id={name}")
    waiting.join()
    return got


CASES = {
    "get": call("GET", "/a"),
    "post": call("POST", "/a", content=b"x" * 100_000),
    "post in chunks": call("POST", "/a", content=pieces()),
    "put in chunks to a mirror": call("PUT", "/mirror", content=pieces()),
    "get with a body": call("GET", "/a", content=b"body"),
    "delete with a body": call("DELETE", "/a", content=b"body"),
    "empty post": call("POST", "/a"),
    "empty post in chunks": call("POST", "/a", content=iter(())),
    "head": call("HEAD", "/data"),
    "data": call("GET", "/data"),
    "range": call("GET", "/data", headers={"range": "bytes=100-199"}),
    "204": call("GET", "/none"),
    "304": call("GET", "/data", headers={"if-none-match": '"data"'}),
    "cookies": call("GET", "/cookies"),
    "request cookies": call("GET", "/a", headers=[("cookie", "b=1"), ("x-a", "1"), ("x-a", "2")]),
    "many fields": call("GET", "/many"),
    "large field": call("GET", "/a", headers={"x-large": "v" * 30_000}),
    "obs-text": call("GET", "/a", headers=[(b"x-obs", b"caf\xe9")]),
    "trailers": call("GET", "/trailers"),
    "early answer": call("POST", "/early", content=b"x" * 1000),
    "options": call("OPTIONS", "/a"),
    "odd method": call("PROPFIND", "/a"),
    "events": events,
    "long poll": long_poll,
}
print(json.dumps({name: case() for name, case in CASES.items()}))
