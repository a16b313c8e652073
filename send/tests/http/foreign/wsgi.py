"""What a WSGI server makes of a request, in a line of stdout."""


def app(environ, start_response):
    try:
        environ["wsgi.input"].read()
    finally:
        words = environ["REQUEST_METHOD"], environ["RAW_URI"], environ.get("HTTP_HOST", "")
        # In one piece: another thread may print, too.
        print(" ".join(words) + "\n", end="", flush=True)
    start_response("200 OK", [("X-Seen", environ["RAW_URI"]), ("Content-Length", "2")])
    return [b"ok"]
