"""A WSGI application that answers each request with what gunicorn saw of it.

The header lines are those of gunicorn's own request object, in their order, with names in upper case; the environment is what an
application goes by (PEP 3333): there `A_B` and `A-B` would be one name.
"""

import hashlib
import threading

from seen import encoded, note, pairs

current = threading.local()


def application(environ, start_response):
    digest, length, complete = hashlib.sha256(), 0, True
    try:
        while piece := environ["wsgi.input"].read(65536):
            digest.update(piece)
            length += len(piece)
    except Exception as error:  # whatever gunicorn calls a body that ends too early or is no body
        print(f"body: {error!r}", flush=True)
        complete = False
    announced = environ.get("CONTENT_LENGTH", "")
    if announced.isdigit() and int(announced) != length:
        complete = False
    line = note(
        {
            "method": encoded(environ["REQUEST_METHOD"]),
            "target": encoded(environ["RAW_URI"]),
            "headers": pairs(current.request.headers),
            "trailers": pairs(current.request.trailers),
            "environment": pairs((name, value) for name, value in environ.items() if isinstance(value, str)),
            "body": {"length": length, "sha256": digest.hexdigest(), "complete": complete},
        }
    )
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(line)))])
    return [line]
