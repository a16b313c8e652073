"""What an ASGI server makes of a request, in a line of stdout."""


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while True:
        event = await receive()
        if event["type"] == "http.disconnect" or not event.get("more_body"):
            break
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    host = dict(scope["headers"]).get(b"host", b"")
    print(scope["method"], target.decode("latin-1"), host.decode("latin-1"), flush=True)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-seen", target), (b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
