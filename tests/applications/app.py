"""An application that answers with the cookies that it reads, as JSON."""

import http.cookies
import json


def app(environ, start_response):
    cookies = http.cookies.SimpleCookie(environ.get("HTTP_COOKIE", ""))
    read = {name: cookie.value for name, cookie in cookies.items()}
    body = json.dumps(read).encode()
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    # The body of a POST is read to its end.
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ["PATH_INFO"].startswith("/stored"):
        fields += [("Cache-Control", "max-age=600"), ("Vary", "Cookie")]
    start_response("200 OK", fields)
    return [body]
