"""An ASGI application that answers each request with what uvicorn saw of it.

uvicorn keeps the order of header lines and their bytes, and writes names in lower case. The target is told as path and query:
a lone question mark is lost, and with httptools the authority of an absolute one.
"""

import hashlib

from seen import encoded, note, pairs


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    digest, length, complete = hashlib.sha256(), 0, False
    while not complete:
        event = await receive()
        if event["type"] != "http.request":
            break
        digest.update(event.get("body", b""))
        length += len(event.get("body", b""))
        complete = not event.get("more_body", False)
    query = scope["query_string"]
    line = note(
        {
            "method": encoded(scope["method"]),
            "target": encoded(scope["raw_path"] + (b"?" + query if query else b"")),
            "headers": pairs(scope["headers"]),
            "body": {"length": length, "sha256": digest.hexdigest(), "complete": complete},
        }
    )
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(line)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": line})
